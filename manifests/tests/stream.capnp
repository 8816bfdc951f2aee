@0x9b6f1f6d2a51e130;
# A server of streams, and the test hook.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/netstack.capnp".netstackStatic;
using import "../pieces/virtio-net.capnp".virtioNet;
using import "pieces/stream-server.capnp".streamServer;
using import "pieces/test-hook.capnp".testHook;

const manifest :Manifest = (
  name = "stream",
  entries = [.virtioNet, .netstackStatic, .streamServer, .testHook],
);
