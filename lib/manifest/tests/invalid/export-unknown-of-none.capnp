@0x9b6f1f6d2a51d026;
# error: process "a", grant "nic": process "b" does not export "nic", it exports nothing

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "nic", export = (process = "b", name = "nic"))]),
  (name = "b"),
]);
