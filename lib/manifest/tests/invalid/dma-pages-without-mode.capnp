@0x9b6f1f6d2a51d023;
# error: process "a": quota of 4 DMA pages, but no device is granted with dma trusted or isolated

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", quotas = (dmaPages = 4), grants = [(name = "device", device = (vendor = 1))])]);
