@0x9b6f1f6d2a51d031;
# error: process "a", grant "x": ISA line 16 is not 0 to 15

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "x", isaInterrupt = 16)])]);
