@0x9b6f1f6d2a51d00f;
# error: process "kernel": name "kernel" is reserved

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "kernel", binary = "b")]);
