@0x9b6f1f6d2a51e151;
# The default system with a network stack that crashes until init gives up on it.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/diag.capnp".diag;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/uart.capnp".uart;
using import "../pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "crashed-netstack",
  entries = [
    .uart, .diag, .virtioNet, .remoteSessionWebUi,
    (name = "netstack", binary = "faulty", arguments = [(name = "fault", value = "read")],
      exports = ["network"], restart = (maximum = 4)),
  ],
);
