@0x9b6f1f6d2a51e020;
# Measures calls, system calls and process starts; run by `make bench`.

using import "../schema/manifest.capnp".Manifest;

const manifest :Manifest = (
  name = "bench",
  entries = [
    ( name = "bench-echo", exports = ["echo"] ),
    ( name = "bench-raw", exports = ["raw"] ),
    # So that the boot package holds it; the benchmark starts it again and again.
    ( name = "bench-null", restart = (kind = never) ),
    ( name = "bench", quotas = (frames = 2048, handles = 256), restart = (kind = never), grants = [
        ( name = "echo", export = (process = "bench-echo", name = "echo") ),
        ( name = "raw", export = (process = "bench-raw", name = "raw") ),
        ( name = "process-manager", kernel = processManager ),
        ( name = "clock", kernel = clock ),
        ( name = "power", kernel = power ),
        ( name = "boot-package", supervisor = bootPackage ),
    ] ),
  ],
);
