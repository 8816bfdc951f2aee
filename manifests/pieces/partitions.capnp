@0x9b6f1f6d2a51e008;
# The partitions of the NVMe driver's disk. What a system uses of them is in `exports`: "partition-N" by number, others
# by their names on the disk.

using Manifest = import "../../schema/manifest.capnp";

const quotas :Manifest.Quotas = (frames = 512, handles = 128, threads = 1);

const partitions :Manifest.Entry = (
  name = "partitions",
  priority = 15,
  heartbeatMilliseconds = 2000,
  quotas = .quotas,
  grants = [(name = "disk", export = (process = "nvme", name = "disk"))],
  exports = ["partition-1", "partition-2"],
);
