@0x9b6f1f6d2a51e101;
# Takes orders on COM2; part of no system but the tests'.

using Manifest = import "../../../schema/manifest.capnp";

const testHook :Manifest.Entry = (
  name = "test-hook",
  priority = 25,
  quotas = (frames = 512, handles = 64, threads = 1),
  grants = [
    (name = "com2", ioPorts = (first = 0x2f8, count = 8)),
    (name = "control", supervisor = control),
    (name = "status", supervisor = status),
    (name = "system-info", kernel = systemInfo),
  ],
);
