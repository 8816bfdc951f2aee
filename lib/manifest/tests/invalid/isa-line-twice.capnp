@0x9b6f1f6d2a51d032;
# error: process "b", grant "y": ISA line 4 is also that of process "a", grant "x"

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "x", isaInterrupt = 4)]),
  (name = "b", grants = [(name = "y", isaInterrupt = 4)]),
]);
