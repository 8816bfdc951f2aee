@0x9b6f1f6d2a51d015;
# error: process "a": binary "../a" is not 1 to 31 bytes of a-z, 0-9 and '-'

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", binary = "../a")]);
