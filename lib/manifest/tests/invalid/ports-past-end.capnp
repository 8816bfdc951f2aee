@0x9b6f1f6d2a51d02f;
# error: process "a", grant "x": ports 0xfff8-0x10000 end past port 0xffff

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "x", ioPorts = (first = 0xfff8, count = 9))])]);
