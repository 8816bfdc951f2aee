@0x9b6f1f6d2a51d011;
# error: process "a": name "a" is used twice

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a"),
  (name = "a"),
]);
