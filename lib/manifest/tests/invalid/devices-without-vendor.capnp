@0x9b6f1f6d2a51d02a;
# error: process "a", grant "device": devices are given without their vendor

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "device", device = (devices = [0x1000], class = 0x020000))])]);
