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
    ( name = "bench-net", quotas = (frames = 2048, handles = 1024), grants = [
        ( name = "network", export = (process = "netstack", name = "network") ),
    ] ),
  ],
);
