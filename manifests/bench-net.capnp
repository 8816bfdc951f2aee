@0x9b6f1f6d2a51e02f;
# Serves HTTP, echo, discard and source to clients outside; run by `make bench`.

using import "../schema/manifest.capnp".Manifest;
using import "pieces/netstack.capnp".netstackStatic;
using import "pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "bench-net",
  entries = [
    .virtioNet,
    .netstackStatic,
    # As important as driver and stack, so that each does all that it can before the next one runs (docs/architecture.md, 11).
    ( name = "bench-net", priority = 20, quotas = (frames = 2048, handles = 1024), grants = [
        ( name = "network", export = (process = "netstack", name = "network") ),
    ] ),
  ],
);
