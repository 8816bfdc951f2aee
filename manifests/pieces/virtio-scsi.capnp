@0x9b6f1f6d2a51e007;
# The driver of virtio SCSI hosts, legacy (0x1004) and modern (0x1048).

using Manifest = import "../../schema/manifest.capnp";

const virtioScsi :Manifest.Entry = (
  name = "virtio-scsi",
  priority = 20,
  heartbeatMilliseconds = 2000,
  quotas = (frames = 1024, handles = 128, threads = 1, dmaPages = 4096),
  grants = [
    # Most clouds give no IOMMU: the driver is trusted with all memory there, and the log says so.
    (name = "device", device = (vendor = 0x1af4, devices = [0x1004, 0x1048], dma = trusted)),
  ],
  exports = ["disk", "disk-1", "disk-2"],
);
