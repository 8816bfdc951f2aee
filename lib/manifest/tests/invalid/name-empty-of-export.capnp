@0x9b6f1f6d2a51d00a;
# error: process "a", export 1 (unnamed): its name is empty

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", exports = [""])]);
