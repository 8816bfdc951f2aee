@0x9b6f1f6d2a51d043;
# error: process "a", grant "x": it is restarted with "b", but its policy is never

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", restart = (kind = never), grants = [(name = "x", export = (process = "b", name = "x", withProvider = true))]),
  (name = "b", exports = ["x"]),
]);
