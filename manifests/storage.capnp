@0x9b6f1f6d2a51e022;
# The default system, with the driver of an NVMe disk and the disk's partitions for services that store something.

using import "../schema/manifest.capnp".Manifest;
using import "pieces/diag.capnp".diag;
using import "pieces/netstack.capnp".netstack;
using import "pieces/nvme.capnp".nvme;
using import "pieces/partitions.capnp".partitions;
using import "pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "pieces/uart.capnp".uart;
using import "pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "storage",
  entries = [.uart, .diag, .virtioNet, .netstack, .remoteSessionWebUi, .nvme, .partitions],
);
