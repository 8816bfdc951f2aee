@0x9b6f1f6d2a51e010;
# The first serial port: the terminal of the kernel's log and of the prompt.

using Manifest = import "../../schema/manifest.capnp";

const uartGrants :List(Manifest.Grant) = [
  (name = "ports", ioPorts = (first = 0x3f8, count = 8)),
  (name = "interrupt", isaInterrupt = 4),
  (name = "kernel-log", kernel = kernelLog),
];

const uart :Manifest.Entry = (
  name = "uart",
  priority = 20,
  heartbeatMilliseconds = 2000,
  quotas = (frames = 256, handles = 64, threads = 1),
  grants = .uartGrants,
  exports = ["console"],
);
