@0x9b6f1f6d2a51d103;
# Who has the inventory claims devices itself, and may have DMA memory without a device of the manifest's.

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", quotas = (dmaPages = 4), grants = [(name = "inventory", kernel = pciInventory)])]);
