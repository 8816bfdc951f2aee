@0x9b6f1f6d2a51e141;
# The prompt, a disk, and a process that can be made to hang.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/diag.capnp".diag;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/nvme.capnp".nvme;
using import "../pieces/uart.capnp".uart;
using import "../pieces/virtio-net.capnp".virtioNet;
using import "pieces/test-hook.capnp".testHook;

const manifest :Manifest = (
  name = "shutdown",
  entries = [.uart, .diag, .virtioNet, .netstack, .nvme, .testHook, (name = "test-echo", exports = ["echo"])],
);
