@0x9b6f1f6d2a51e120;
# A driver that reaches for what is not its own, by three of QEMU's `edu` devices; beside it one that may not start
# without an IOMMU.

using import "../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (
  name = "hostile-dma",
  entries = [
    (name = "hostile", binary = "hostile-dma", restart = (kind = never), quotas = (frames = 512, dmaPages = 16),
      grants = [
        (name = "device", device = (vendor = 0x1234, devices = [0x11e8], index = 0, dma = trusted)),
        (name = "victim", device = (vendor = 0x1234, devices = [0x11e8], index = 1, dma = trusted)),
        (name = "system-info", kernel = systemInfo),
      ]),
    (name = "isolated", binary = "hostile-dma", restart = (kind = never), quotas = (frames = 512, dmaPages = 16),
      grants = [(name = "device", device = (vendor = 0x1234, devices = [0x11e8], index = 2, dma = isolated))]),
  ],
);
