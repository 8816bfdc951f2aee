@0x9b6f1f6d2a51e150;
# A load of writes on an NVMe driver that waits a second, and no longer, before it aborts a command.

using Manifest = import "../../schema/manifest.capnp";
using Nvme = import "../pieces/nvme.capnp";
using import "pieces/test-hook.capnp".testHook;
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "block-nvme-stall",
  entries = [
    ( name = "nvme", priority = 20, quotas = Nvme.quotas, grants = Nvme.grants,
      arguments = [(name = "patience-seconds", value = "1")], exports = ["disk"] ),
    .testHook,
    ( name = "block-load", quotas = .Test.quotas, restart = .Test.restart,
      grants = [(name = "disk", export = (process = "nvme", name = "disk"))] ),
  ],
);
