@0x9b6f1f6d2a51e117;
# Scripts of reads and writes on two disks of a virtio SCSI host at once.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/virtio-scsi.capnp".virtioScsi;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-virtio-scsi",
  entries = [
    .virtioScsi,
    ( name = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "6")],
      grants = [(name = "disk", export = (process = "virtio-scsi", name = "disk"))] ),
    ( name = "block-test-2", binary = "block-test", quotas = .Test.quotas, restart = .Test.restart,
      arguments = [(name = "seed", value = "7"), (name = "largest", value = "40")],
      grants = [(name = "disk", export = (process = "virtio-scsi", name = "disk-2"))] ),
  ],
);
