@0x9b6f1f6d2a51d01d;
# error: process "a": quota of 17 handles is not 18 to 4096 (16 and one for each grant)

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", quotas = (handles = 17), grants = [(name = "b", kernel = clock), (name = "c", kernel = power)])]);
