@0x9b6f1f6d2a51d01c;
# error: process "a": quota of 63 frames is less than the 64 that any process needs

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", quotas = (frames = 63))]);
