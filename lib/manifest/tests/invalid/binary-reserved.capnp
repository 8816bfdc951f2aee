@0x9b6f1f6d2a51d016;
# error: process "a": binary "init" is the first process's alone

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", binary = "init")]);
