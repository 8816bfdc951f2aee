@0x9b6f1f6d2a51e106;
# Names a program that does not exist.

using import "../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "missing-binary", entries = [(name = "ghost")]);
