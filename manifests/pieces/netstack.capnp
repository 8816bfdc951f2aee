@0x9b6f1f6d2a51e002;
# The network stack on the card that the process "virtio-net" exports.

using Manifest = import "../../schema/manifest.capnp";

const netstackGrants :List(Manifest.Grant) = [
  (name = "nic", export = (process = "virtio-net", name = "nic")),
];

const netstackQuotas :Manifest.Quotas = (frames = 4096, handles = 1024, threads = 1);

const netstack :Manifest.Entry = (
  # With an address by DHCP.
  name = "netstack",
  priority = 20,
  heartbeatMilliseconds = 2000,
  arguments = [(name = "address", value = "dhcp")],
  quotas = .netstackQuotas,
  grants = .netstackGrants,
  exports = ["network"],
);

const netstackStatic :Manifest.Entry = (
  # With the address that QEMU's user network gives its guest.
  name = "netstack",
  priority = 20,
  heartbeatMilliseconds = 2000,
  arguments = [(name = "address", value = "10.0.2.15/24"), (name = "gateway", value = "10.0.2.2")],
  quotas = .netstackQuotas,
  grants = .netstackGrants,
  exports = ["network"],
);
