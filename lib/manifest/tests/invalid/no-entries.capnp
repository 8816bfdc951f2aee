@0x9b6f1f6d2a51d002;
# error: manifest: it has no entries

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = []);
