@0x9b6f1f6d2a51d041;
# error: process "a": heartbeat of 60001 ms is not 50 to 60000; 0 says none

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", heartbeatMilliseconds = 60001)]);
