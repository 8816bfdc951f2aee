@0x9b6f1f6d2a51d019;
# error: process "a", argument "x": value holds the control character '\n'

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", arguments = [(name = "x", value = "one\ntwo")])]);
