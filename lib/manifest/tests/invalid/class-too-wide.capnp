@0x9b6f1f6d2a51d02c;
# error: process "a", grant "device": class 0x1020000 has more than 24 bits

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "device", device = (class = 0x01020000))])]);
