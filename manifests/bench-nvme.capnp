@0x9b6f1f6d2a51e021;
# Measures reads and writes of a disk behind the NVMe driver; run by `make bench`.

using import "../schema/manifest.capnp".Manifest;
using import "pieces/nvme.capnp".nvme;

const manifest :Manifest = (
  name = "bench-nvme",
  entries = [
    .nvme,
    ( name = "bench-block", quotas = (frames = 2048, handles = 128), restart = (kind = never), grants = [
        ( name = "disk", export = (process = "nvme", name = "disk") ),
    ] ),
  ],
);
