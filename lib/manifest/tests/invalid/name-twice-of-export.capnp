@0x9b6f1f6d2a51d013;
# error: process "a", export "x": name "x" is used twice

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", exports = ["x", "x"])]);
