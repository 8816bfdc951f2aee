@0x9b6f1f6d2a51d012;
# error: process "a", grant "time": name "time" is used twice

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "time", kernel = clock), (name = "time", kernel = clock)])]);
