@0x9b6f1f6d2a51e107;
# The default system, and a driver that ends before it exports what another process needs.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "crash-at-start",
  entries = [
    .virtioNet, .netstack, .remoteSessionWebUi,
    (name = "crashing-driver", binary = "faulty", arguments = [(name = "fault", value = "error")],
      exports = ["block"], restart = (maximum = 4)),
    (name = "needy", binary = "glutton", restart = (kind = never),
      grants = [(name = "block", export = (process = "crashing-driver", name = "block"))]),
  ],
);
