@0x9b6f1f6d2a51d036;
# error: process "a": back-off of 0 ms is not 1 to 1000

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", restart = (backOffMilliseconds = 0))]);
