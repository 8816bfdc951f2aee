@0x9b6f1f6d2a51d02d;
# error: process "b", grant "card": vendor 0x1af4, device 0x1000 or 0x1041 is the same function as that of process "a", grant "device"

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [
  (name = "a", grants = [(name = "device", device = (vendor = 0x1af4, devices = [0x1041, 0x1000]))]),
  (name = "b", grants = [(name = "card", device = (vendor = 0x1af4, devices = [0x1000, 0x1041], optional = true))]),
]);
