@0x9b6f1f6d2a51e119;
# A script of reads and writes on one partition, granted by its name.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/nvme.capnp".nvme;
using Piece = import "../pieces/partitions.capnp";
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-partitions",
  entries = [
    .nvme,
    ( name = "partitions", quotas = .Piece.quotas, exports = ["data"],
      grants = [(name = "disk", export = (process = "nvme", name = "disk"))] ),
    ( name = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "8")],
      grants = [(name = "disk", export = (process = "partitions", name = "data"))] ),
  ],
);
