@0x9b6f1f6d2a51e112;
# Scripts of reads and writes on two namespaces at once.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/nvme.capnp".nvme;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-nvme-two",
  entries = [
    .nvme,
    ( name = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "2"), (name = "largest", value = "300")],
      grants = [(name = "disk", export = (process = "nvme", name = "disk"))] ),
    ( name = "block-test-2", binary = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "3"), (name = "largest", value = "40")],
      grants = [(name = "disk", export = (process = "nvme", name = "disk-2"))] ),
  ],
);
