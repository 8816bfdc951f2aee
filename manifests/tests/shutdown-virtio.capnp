@0x9b6f1f6d2a51e142;
# The prompt, and virtio devices of which each has something left to do in the end.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/diag.capnp".diag;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/uart.capnp".uart;
using import "../pieces/virtio-net.capnp".virtioNet;
using Manifests = import "../../schema/manifest.capnp";

const quotas :Manifests.Quotas = (frames = 512, handles = 128, threads = 1);
# Smaller than usual: the machine has room for both.
const driverQuotas :Manifests.Quotas = (frames = 1024, handles = 128, threads = 1, dmaPages = 1024);

const manifest :Manifest = (
  name = "shutdown-virtio",
  entries = [
    .uart, .diag, .virtioNet, .netstack,
    (name = "virtio-blk", priority = 20, quotas = .driverQuotas, exports = ["disk"],
      grants = [(name = "device", device = (vendor = 0x1af4, devices = [0x1001, 0x1042], dma = trusted))]),
    (name = "virtio-scsi", priority = 20, quotas = .driverQuotas, exports = ["disk"],
      grants = [(name = "device", device = (vendor = 0x1af4, devices = [0x1004, 0x1048], dma = trusted))]),
    (name = "farewell", quotas = .quotas,
      grants = [(name = "network", export = (process = "netstack", name = "network"))]),
    (name = "unflushed-blk", binary = "unflushed", quotas = .quotas,
      grants = [(name = "disk", export = (process = "virtio-blk", name = "disk"))]),
    (name = "unflushed-scsi", binary = "unflushed", quotas = .quotas,
      grants = [(name = "disk", export = (process = "virtio-scsi", name = "disk"))]),
  ],
);
