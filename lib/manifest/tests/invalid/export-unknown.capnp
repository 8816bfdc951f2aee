@0x9b6f1f6d2a51d025;
# error: process "a", grant "nic": process "b" does not export "nick", it exports "nic", "link"

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "nic", export = (process = "b", name = "nick"))]),
  (name = "b", exports = ["nic", "link"]),
]);
