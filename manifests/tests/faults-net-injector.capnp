@0x9b6f1f6d2a51e134;
# Faults of the network card's driver and its device while a stream runs: the injector is between them.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/netstack.capnp".netstackStatic;
using Faults = import "pieces/faults.capnp";

const manifest :Manifest.Manifest = (
  name = "faults-net-injector",
  entries = [
    ( name = "fault-injector", priority = 22, quotas = .Faults.injectorQuotas, grants = .Faults.injectorGrants,
      exports = .Faults.injectorExports,
      arguments = [(name = "kind", value = "virtio-net"), (name = "devices", value = "1000,1041")] ),
    ( name = "virtio-net", priority = 20, heartbeatMilliseconds = 250, quotas = .Faults.driverQuotas,
      grants = .Faults.driverGrants,
      exports = ["nic"], restart = .Faults.often ),
    .netstackStatic,
    .Faults.streamServer,
    .Faults.streamInjectorHook,
  ],
);
