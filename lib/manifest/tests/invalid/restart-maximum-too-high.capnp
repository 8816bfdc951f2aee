@0x9b6f1f6d2a51d034;
# error: process "a": maximum of 1001 restarts is not 1 to 1000; kind never says none

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", restart = (kind = onFailure, maximum = 1001))]);
