@0x9b6f1f6d2a51e011;
# The prompt on the console of the process "uart".

using Manifest = import "../../schema/manifest.capnp";

const diagGrants :List(Manifest.Grant) = [
  (name = "console", export = (process = "uart", name = "console")),
  (name = "system-info", kernel = systemInfo),
  (name = "kernel-log", kernel = kernelLog),
  (name = "status", supervisor = status),
  # Shows registers, stacks and messages of processes that crashed, secrets included, to whoever reaches the serial port.
  (name = "evidence", supervisor = evidence),
  (name = "pci", supervisor = pciList),
  # Not waited for: the prompt is there to find out why there is no network.
  (name = "network", export = (process = "netstack", name = "network", optional = true)),
  # Lets whoever reaches the serial port reboot and halt. Leave it out, and those commands say so.
  (name = "power", supervisor = shutdown),
];

const diag :Manifest.Entry = (
  name = "diag",
  priority = 12,
  heartbeatMilliseconds = 2000,
  quotas = (frames = 1024, handles = 128, threads = 1),
  grants = .diagGrants,
);
