@0x9b6f1f6d2a51e003;
# The page that shows the live system, on the process "netstack".

using Manifest = import "../../schema/manifest.capnp";

const remoteSessionWebUi :Manifest.Entry = (
  name = "remote-session-web-ui",
  priority = 10,
  heartbeatMilliseconds = 2000,
  arguments = [(name = "port", value = "8080")],
  quotas = (frames = 2048, handles = 1024, threads = 1),
  grants = [
    (name = "network", export = (process = "netstack", name = "network")),
    (name = "system-info", kernel = systemInfo),
    (name = "kernel-log", kernel = kernelLog),
    (name = "status", supervisor = status),
    (name = "pci", supervisor = pciList),
  ],
);
