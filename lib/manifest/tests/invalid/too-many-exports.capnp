@0x9b6f1f6d2a51d005;
# error: process "a": 17 exports are more than the 16 allowed

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", exports = ["x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x"])]);
