@0x9b6f1f6d2a51e139;
# Faults of a disk's driver while blocks are written and read; it has its device by the manifest.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/virtio-scsi.capnp".virtioScsi;
using Faults = import "pieces/faults.capnp";
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "faults-virtio-scsi",
  entries = [
    .virtioScsi,
    ( name = "block-load", quotas = .Test.quotas, restart = .Test.restart, arguments = .Faults.blockArguments,
      grants = [(name = "disk", export = (process = "virtio-scsi", name = "disk"))], exports = ["load"] ),
    .Faults.blockHook,
  ],
);
