@0x9b6f1f6d2a51d01f;
# error: process "a": quota of 0 threads is not 1 to 64

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", quotas = (threads = 0))]);
