@0x9b6f1f6d2a51e13a;
# Faults of a disk's driver and its device while blocks are written and read: the injector is between them.

using Manifest = import "../../schema/manifest.capnp";
using Faults = import "pieces/faults.capnp";
using Test = import "pieces/block-test.capnp";

const manifest :Manifest.Manifest = (
  name = "faults-virtio-scsi-injector",
  entries = [
    ( name = "fault-injector", priority = 22, quotas = .Faults.injectorQuotas, grants = .Faults.injectorGrants,
      exports = .Faults.injectorExports,
      arguments = [(name = "kind", value = "virtio-disk"), (name = "devices", value = "1004,1048")] ),
    ( name = "virtio-scsi", priority = 20, heartbeatMilliseconds = 250, quotas = .Faults.driverQuotas,
      grants = .Faults.driverGrants,
      # What is lost is noticed soon.
      arguments = [(name = "patience-seconds", value = "1")],
      exports = ["disk"], restart = .Faults.often ),
    ( name = "block-load", quotas = .Test.quotas, restart = .Test.restart, arguments = .Faults.blockArguments,
      grants = [(name = "disk", export = (process = "virtio-scsi", name = "disk"))], exports = ["load"] ),
    .Faults.blockInjectorHook,
  ],
);
