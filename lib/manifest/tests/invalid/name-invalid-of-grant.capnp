@0x9b6f1f6d2a51d00e;
# error: process "a", grant "the clock": name "the clock" is not 1 to 31 bytes of a-z, 0-9 and '-'

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "the clock", kernel = clock)])]);
