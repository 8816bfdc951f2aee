@0x9b6f1f6d2a51e105;
# A network stack on a card whose driver breaks the rules of the rings.

using import "../../schema/manifest.capnp".Manifest;
using Grant = import "../../schema/manifest.capnp".Grant;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "hostile-nic",
  entries = [
    .virtioNet,
    (name = "hostile-nic", exports = ["nic"],
      grants = [(name = "nic", export = (process = "virtio-net", name = "nic"))]),
    (name = "netstack", exports = ["network"], priority = 15, arguments = [(name = "address", value = "dhcp")],
      quotas = (frames = 2048, handles = 1024, threads = 1),
      grants = [(name = "nic", export = (process = "hostile-nic", name = "nic"))]),
    .remoteSessionWebUi,
  ],
);
