@0x9b6f1f6d2a51e005;
# The driver of NVMe controllers: the first that the machine has.

using Manifest = import "../../schema/manifest.capnp";

const quotas :Manifest.Quotas = (frames = 1024, handles = 256, threads = 1, dmaPages = 4096);

const grants :List(Manifest.Grant) = [
  # Most clouds give no IOMMU: the driver is trusted with all memory there, and the log says so.
  (name = "device", device = (class = 0x010802, dma = trusted)),
  # To know the number of processors.
  (name = "system-info", kernel = systemInfo),
];

const nvme :Manifest.Entry = (
  name = "nvme",
  priority = 20,
  heartbeatMilliseconds = 2000,
  quotas = .quotas,
  grants = .grants,
  # Each namespace by its number, and the one that the argument `disk` chooses.
  exports = ["disk", "disk-1", "disk-2"],
);
