@0x9b6f1f6d2a51d042;
# error: process "a", grant "x": it is restarted with "b", but does not wait for it

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "x", export = (process = "b", name = "x", optional = true, withProvider = true))]),
  (name = "b", exports = ["x"]),
]);
