@0x9b6f1f6d2a51d001;
# error: manifest: name "My Manifest" is not 1 to 31 bytes of a-z, 0-9 and '-'

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "My Manifest", entries = [(name = "a")]);
