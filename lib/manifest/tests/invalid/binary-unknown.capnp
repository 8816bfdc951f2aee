@0x9b6f1f6d2a51d017;
# error: process "a": there is no binary "virtio-nett"

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", binary = "virtio-nett")]);
