@0x9b6f1f6d2a51d029;
# error: manifest: start-up needs form a cycle: b -> c -> d -> b

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "x", export = (process = "b", name = "x"))]),
  (name = "b", exports = ["x"], grants = [(name = "x", export = (process = "c", name = "x"))]),
  (name = "c", exports = ["x"], grants = [(name = "x", export = (process = "d", name = "x"))]),
  (name = "d", exports = ["x"], grants = [(name = "x", export = (process = "b", name = "x"))]),
]);
