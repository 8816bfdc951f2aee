@0x9b6f1f6d2a51e000;
# The system that `make run` boots: a prompt on the serial port, and a page on port 8080, from the card up.

using import "../schema/manifest.capnp".Manifest;
using import "pieces/diag.capnp".diag;
using import "pieces/netstack.capnp".netstack;
using import "pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "pieces/uart.capnp".uart;
using import "pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "default",
  entries = [.uart, .diag, .virtioNet, .netstack, .remoteSessionWebUi],
);
