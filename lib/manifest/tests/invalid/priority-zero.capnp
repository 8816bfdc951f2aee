@0x9b6f1f6d2a51d01a;
# error: process "a": priority 0 is not 1 to 30

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", priority = 0)]);
