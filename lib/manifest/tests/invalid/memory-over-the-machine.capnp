@0x9b6f1f6d2a51d021;
# error: manifest: the quotas allow 16385 frames and DMA pages together, the machine has 16384

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", quotas = (frames = 16000)),
  (name = "b", quotas = (frames = 284, dmaPages = 101), grants = [
    (name = "device", device = (vendor = 1, dma = isolated))]),
]);
