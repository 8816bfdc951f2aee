@0x9b6f1f6d2a51d010;
# error: process "a", grant "log": name "log" is reserved
# error: process "a", grant "supervisor": name "supervisor" is reserved

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "log", kernel = kernelLog), (name = "supervisor", supervisor = status)])]);
