@0x9b6f1f6d2a51e116;
# A script of reads and writes on a virtio block device.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/virtio-blk.capnp".virtioBlk;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-virtio-blk",
  entries = [
    .virtioBlk,
    ( name = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "5")],
      grants = [(name = "disk", export = (process = "virtio-blk", name = "disk"))] ),
  ],
);
