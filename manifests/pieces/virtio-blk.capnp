@0x9b6f1f6d2a51e006;
# The driver of virtio block devices, legacy (0x1001) and modern (0x1042).

using Manifest = import "../../schema/manifest.capnp";

const virtioBlk :Manifest.Entry = (
  name = "virtio-blk",
  priority = 20,
  heartbeatMilliseconds = 2000,
  quotas = (frames = 1024, handles = 128, threads = 1, dmaPages = 4096),
  grants = [
    # Most clouds give no IOMMU: the driver is trusted with all memory there, and the log says so.
    (name = "device", device = (vendor = 0x1af4, devices = [0x1001, 0x1042], dma = trusted)),
  ],
  exports = ["disk"],
);
