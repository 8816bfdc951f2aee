@0x9b6f1f6d2a51e114;
# A script of reads and writes, with the driver's argument interrupts=line.

using Manifest = import "../../schema/manifest.capnp";
using Piece = import "../pieces/nvme.capnp";
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-nvme-line",
  entries = [
    ( name = "nvme", priority = 20, quotas = .Piece.quotas, grants = .Piece.grants, exports = ["disk"],
      arguments = [(name = "interrupts", value = "line")] ),
    ( name = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "4"), (name = "largest", value = "32")],
      grants = [(name = "disk", export = (process = "nvme", name = "disk"))] ),
  ],
);
