@0x9b6f1f6d2a51d01e;
# error: process "a": quota of 4097 handles is not 16 to 4096 (16 and one for each grant)

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", quotas = (handles = 4097))]);
