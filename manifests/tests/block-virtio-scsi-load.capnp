@0x9b6f1f6d2a51e11b;
# A load of writes on a driver that is killed again and again.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/virtio-scsi.capnp".virtioScsi;
using import "pieces/test-hook.capnp".testHook;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-virtio-scsi-load",
  entries = [
    .virtioScsi,
    .testHook,
    ( name = "block-load", quotas = .Test.quotas, restart = .Test.restart,
      grants = [(name = "disk", export = (process = "virtio-scsi", name = "disk"))] ),
  ],
);
