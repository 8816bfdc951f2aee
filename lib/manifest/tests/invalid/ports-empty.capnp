@0x9b6f1f6d2a51d02e;
# error: process "a", grant "uart": range at port 0x3f8 is empty

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "uart", ioPorts = (first = 0x3f8))])]);
