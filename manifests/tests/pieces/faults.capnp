@0x9b6f1f6d2a51e132;
# What the campaigns of faults share; part of no system but the tests'.

using Manifest = import "../../../schema/manifest.capnp";

const hookQuotas :Manifest.Quotas = (frames = 512, handles = 64, threads = 1);

const injectorQuotas :Manifest.Quotas = (frames = 1024, handles = 256, threads = 1, dmaPages = 4096);

const injectorGrants :List(Manifest.Grant) = [(name = "inventory", kernel = pciInventory)];

const injectorExports :List(Text) = ["device", "injector"];

const driverQuotas :Manifest.Quotas = (frames = 1024, handles = 256, threads = 1);

const driverGrants :List(Manifest.Grant) = [
  (name = "device", export = (process = "fault-injector", name = "device")),
];

# A driver is killed more often than any policy would bear.
const often :Manifest.RestartPolicy = (maximum = 1000, windowSeconds = 10);

const streamServer :Manifest.Entry = (
  name = "stream-server",
  quotas = (frames = 1024, handles = 128, threads = 1),
  # The load is not to take the whole processor.
  arguments = [(name = "pause-microseconds", value = "1000")],
  grants = [(name = "network", export = (process = "netstack", name = "network"))],
  exports = ["load"],
);

const streamHook :Manifest.Entry = (
  name = "test-hook",
  priority = 25,
  quotas = .hookQuotas,
  grants = [
    (name = "com2", ioPorts = (first = 0x2f8, count = 8)),
    (name = "control", supervisor = control),
    (name = "status", supervisor = status),
    (name = "system-info", kernel = systemInfo),
    (name = "functions", supervisor = pciList),
    (name = "load", export = (process = "stream-server", name = "load")),
  ],
);

const streamInjectorHook :Manifest.Entry = (
  name = "test-hook",
  priority = 25,
  quotas = .hookQuotas,
  grants = [
    (name = "com2", ioPorts = (first = 0x2f8, count = 8)),
    (name = "control", supervisor = control),
    (name = "status", supervisor = status),
    (name = "system-info", kernel = systemInfo),
    (name = "functions", supervisor = pciList),
    (name = "load", export = (process = "stream-server", name = "load")),
    (name = "injector", export = (process = "fault-injector", name = "injector")),
  ],
);

const blockArguments :List(Manifest.Argument) = [(name = "errors", value = "repeat")];

const blockHook :Manifest.Entry = (
  name = "test-hook",
  priority = 25,
  quotas = .hookQuotas,
  grants = [
    (name = "com2", ioPorts = (first = 0x2f8, count = 8)),
    (name = "control", supervisor = control),
    (name = "status", supervisor = status),
    (name = "system-info", kernel = systemInfo),
    (name = "functions", supervisor = pciList),
    (name = "load", export = (process = "block-load", name = "load")),
  ],
);

const blockInjectorHook :Manifest.Entry = (
  name = "test-hook",
  priority = 25,
  quotas = .hookQuotas,
  grants = [
    (name = "com2", ioPorts = (first = 0x2f8, count = 8)),
    (name = "control", supervisor = control),
    (name = "status", supervisor = status),
    (name = "system-info", kernel = systemInfo),
    (name = "functions", supervisor = pciList),
    (name = "load", export = (process = "block-load", name = "load")),
    (name = "injector", export = (process = "fault-injector", name = "injector")),
  ],
);
