@0x9b6f1f6d2a51e004;
# The default system with the fixed address that QEMU's user network gives its guest, and no DHCP.

using import "../schema/manifest.capnp".Manifest;
using import "pieces/diag.capnp".diag;
using import "pieces/netstack.capnp".netstackStatic;
using import "pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "pieces/uart.capnp".uart;
using import "pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "static-address",
  entries = [.uart, .diag, .virtioNet, .netstackStatic, .remoteSessionWebUi],
);
