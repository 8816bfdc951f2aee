@0x9b6f1f6d2a51d101;
# Each kind of grant once, and every limit at its edge.

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "every-kind-of-grant", entries = [
  (
    name = "driver-of-a-name-of-31-bytes-00",
    binary = "driver",
    priority = 30,
    quotas = (frames = 64, handles = 21, threads = 64, dmaPages = 8),
    grants = [
      (name = "device", device = (vendor = 0x1af4, devices = [0x1000, 0x1041], dma = trusted)),
      (name = "second", device = (vendor = 0x1af4, devices = [0x1000, 0x1041], index = 1, optional = true)),
      (name = "any-nvme", device = (class = 0x010802, optional = true)),
      # No cycle: it does not wait for this.
      (name = "network", export = (process = "stack", name = "network", optional = true)),
      (name = "top-ports", ioPorts = (first = 0xfff8, count = 8)),
    ],
    exports = ["nic", "state"],
    restart = (maximum = 1000, windowSeconds = 1, backOffMilliseconds = 1000),
  ),
  (
    name = "stack",
    priority = 1,
    quotas = (handles = 4096),
    arguments = [(name = "address", value = "dhcp"), (name = "empty")],
    grants = [
      (name = "nic", export = (process = "driver-of-a-name-of-31-bytes-00", name = "nic")),
      (name = "driver-state", export = (process = "driver-of-a-name-of-31-bytes-00", name = "state", optional = true)),
      (name = "uart", ioPorts = (first = 0x3f8, count = 8)),
      (name = "line", isaInterrupt = 15),
      (name = "writer", kernel = log),
      (name = "reader", kernel = kernelLog),
      (name = "system-info", kernel = systemInfo),
      (name = "clock", kernel = clock),
      (name = "power", kernel = power),
      (name = "processes", kernel = processManager),
      (name = "pci", kernel = pciInventory),
      (name = "status", supervisor = status),
      (name = "control", supervisor = control),
      (name = "package", supervisor = bootPackage),
      (name = "pci-list", supervisor = pciList),
    ],
    exports = ["network"],
    restart = (kind = never, maximum = 0, windowSeconds = 0, backOffMilliseconds = 0),
  ),
]);
