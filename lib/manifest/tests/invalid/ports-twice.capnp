@0x9b6f1f6d2a51d030;
# error: process "b", grant "x": ports 0x3ff-0x400 overlap ports 0x3f8-0x3ff of process "a", grant "uart"

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "uart", ioPorts = (first = 0x3f8, count = 8))]),
  (name = "b", grants = [(name = "x", ioPorts = (first = 0x3ff, count = 2))]),
]);
