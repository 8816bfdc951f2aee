@0x9b6f1f6d2a51e153;
# The default system with a serial driver that is not started again, and the test hook.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/uart.capnp".uartGrants;
using import "../pieces/virtio-net.capnp".virtioNet;
using import "pieces/test-hook.capnp".testHook;

const manifest :Manifest = (
  name = "uart-once",
  entries = [
    (name = "uart", priority = 20, grants = .uartGrants, exports = ["console"], restart = (kind = never)),
    .virtioNet, .netstack, .remoteSessionWebUi, .testHook,
  ],
);
