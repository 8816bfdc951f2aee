@0x9b6f1f6d2a51d014;
# error: process "a", argument "port": name "port" is used twice

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", arguments = [(name = "port", value = "1"), (name = "port", value = "2")])]);
