@0x9b6f1f6d2a51e11a;
# A load of writes on a partition, whose driver is killed again and again.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/nvme.capnp".nvme;
using import "../pieces/partitions.capnp".partitions;
using import "pieces/test-hook.capnp".testHook;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-partitions-load",
  entries = [
    .nvme,
    .partitions,
    .testHook,
    ( name = "block-load", quotas = .Test.quotas, restart = .Test.restart,
      grants = [(name = "disk", export = (process = "partitions", name = "partition-2"))] ),
  ],
);
