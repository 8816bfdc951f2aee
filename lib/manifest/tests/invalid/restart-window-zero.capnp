@0x9b6f1f6d2a51d035;
# error: process "a": window of 0 seconds counts no restarts

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", restart = (windowSeconds = 0))]);
