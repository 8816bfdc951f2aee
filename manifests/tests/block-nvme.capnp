@0x9b6f1f6d2a51e111;
# A script of reads and writes on the first namespace.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/nvme.capnp".nvme;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-nvme",
  entries = [
    .nvme,
    ( name = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      grants = [(name = "disk", export = (process = "nvme", name = "disk"))] ),
  ],
);
