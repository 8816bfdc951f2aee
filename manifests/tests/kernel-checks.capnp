@0x9b6f1f6d2a51e104;
# Checks of the kernel from inside.

using import "../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (
  name = "kernel-checks",
  entries = [
    (name = "test-echo", exports = ["echo"]),
    (name = "kernel-checks", restart = (kind = never),
      quotas = (frames = 1024, handles = 256, threads = 8),
      grants = [
        (name = "echo", export = (process = "test-echo", name = "echo")),
        (name = "ports", ioPorts = (first = 0x2f8, count = 8)),
        (name = "kernel-log", kernel = kernelLog),
        (name = "clock", kernel = clock),
        (name = "control", supervisor = control),
        (name = "evidence", supervisor = evidence),
        (name = "status", supervisor = status),
        (name = "boot-package", supervisor = bootPackage),
        (name = "process-manager", kernel = processManager),
        (name = "system-info", kernel = systemInfo),
      ]),
  ],
);
