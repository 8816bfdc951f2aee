@0x9b6f1f6d2a51d022;
# error: process "a", grant "device": dma is trusted, but the quota of DMA pages is 0

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "device", device = (vendor = 1, dma = trusted))])]);
