@0x9b6f1f6d2a51e133;
# Faults of the network's processes while a stream runs; the driver has its device by the manifest.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/netstack.capnp".netstackStatic;
using import "../pieces/uart.capnp".uart;
using import "../pieces/virtio-net.capnp".virtioNet;
using Faults = import "pieces/faults.capnp";

const manifest :Manifest = (
  name = "faults-net",
  entries = [.uart, .virtioNet, .netstackStatic, .Faults.streamServer, .Faults.streamHook],
);
