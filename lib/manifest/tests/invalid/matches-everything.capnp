@0x9b6f1f6d2a51d02b;
# error: process "a", grant "device": it sets neither vendor nor class, so every device fits

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "device", device = (index = 3))])]);
