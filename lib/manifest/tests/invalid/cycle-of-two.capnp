@0x9b6f1f6d2a51d028;
# error: manifest: start-up needs form a cycle: a -> b -> a

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", exports = ["x"], grants = [(name = "y", export = (process = "b", name = "y"))]),
  (name = "b", exports = ["y"], grants = [(name = "x", export = (process = "a", name = "x"))]),
]);
