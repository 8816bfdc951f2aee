@0x9b6f1f6d2a51d007;
# error: process "a", grant "device": 17 device numbers are more than the 16 allowed

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "device", device = (vendor = 1, devices = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]))])]);
