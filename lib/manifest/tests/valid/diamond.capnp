@0x9b6f1f6d2a51d102;
# Two ways from "a" to "d" are no cycle, and neighbouring ports do not overlap.

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "diamond", entries = [
  (name = "a", grants = [(name = "x", export = (process = "b", name = "x")), (name = "y", export = (process = "c", name = "y"))]),
  (name = "b", exports = ["x"], grants = [(name = "z", export = (process = "d", name = "z")), (name = "p", ioPorts = (first = 0x10, count = 1))]),
  (name = "c", exports = ["y"], grants = [(name = "z", export = (process = "d", name = "z")), (name = "p", ioPorts = (first = 0x11, count = 1))]),
  (name = "d", exports = ["z"], restart = (kind = onFailure)),
]);
