@0x9b6f1f6d2a51e100;
# The default system and the test hook.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/diag.capnp".diag;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/uart.capnp".uart;
using import "../pieces/virtio-net.capnp".virtioNet;
using import "pieces/test-hook.capnp".testHook;

const manifest :Manifest = (
  name = "hook",
  entries = [.uart, .diag, .virtioNet, .netstack, .remoteSessionWebUi, .testHook],
);
