@0x9b6f1f6d2a51d0f0;
# error: process "a", grant "nic": there is no process "virtio-net"

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", grants = [(name = "nic", export = (process = "virtio-net", name = "nic", optional = true))])]);
