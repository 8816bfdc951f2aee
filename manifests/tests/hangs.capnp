@0x9b6f1f6d2a51e140;
# The default system and a disk, with fast heartbeats, and beside it processes that hang by themselves, or only seem to.

using import "../../schema/manifest.capnp".Manifest;
using Policy = import "../../schema/manifest.capnp".RestartPolicy;
using Net = import "../pieces/virtio-net.capnp";
using Stack = import "../pieces/netstack.capnp";
using Nvme = import "../pieces/nvme.capnp";
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "pieces/test-hook.capnp".testHook;

const once :Policy = (kind = never);

const manifest :Manifest = (
  name = "hangs",
  entries = [
    (name = "virtio-net", priority = 20, heartbeatMilliseconds = 300, quotas = .Net.virtioNetQuotas,
      grants = .Net.virtioNetGrants, exports = ["nic"]),
    (name = "netstack", priority = 15, heartbeatMilliseconds = 300, arguments = [(name = "address", value = "dhcp")],
      quotas = .Stack.netstackQuotas, grants = .Stack.netstackGrants, exports = ["network"]),
    (name = "nvme", priority = 20, heartbeatMilliseconds = 300, quotas = .Nvme.quotas, grants = .Nvme.grants,
      exports = ["disk", "disk-1", "disk-2"]),
    .remoteSessionWebUi, .testHook,
    # Goes with the disk's driver.
    (name = "follower", binary = "test-echo", exports = ["echo"],
      grants = [(name = "disk", export = (process = "nvme", name = "disk", withProvider = true))]),
    # Computes for longer than a heartbeat lasts, at a priority at which nobody but init and its like gets in.
    (name = "spin", binary = "hang", arguments = [(name = "how", value = "spin")], priority = 30,
      heartbeatMilliseconds = 300, restart = .once),
    (name = "unwell", binary = "hang", arguments = [(name = "how", value = "unwell")],
      heartbeatMilliseconds = 300, restart = .once),
    # Computes all the time, and answers between two steps.
    (name = "busy", binary = "hang", arguments = [(name = "how", value = "busy")], priority = 1,
      heartbeatMilliseconds = 300),
  ],
);
