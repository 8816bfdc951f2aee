@0x9b6f1f6d2a51e001;
# The driver of virtio network cards, legacy (0x1000) and modern (0x1041).

using Manifest = import "../../schema/manifest.capnp";

const virtioNetQuotas :Manifest.Quotas = (frames = 1024, handles = 128, threads = 1, dmaPages = 1152);

const virtioNetGrants :List(Manifest.Grant) = [
  # Most clouds give no IOMMU: the driver is trusted with all memory there, and the log says so.
  (name = "device", device = (vendor = 0x1af4, devices = [0x1000, 0x1041], dma = trusted)),
];

const virtioNet :Manifest.Entry = (
  name = "virtio-net",
  priority = 20,
  heartbeatMilliseconds = 2000,
  quotas = .virtioNetQuotas,
  grants = .virtioNetGrants,
  exports = ["nic"],
);
