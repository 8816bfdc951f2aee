@0x9b6f1f6d2a51e131;
# Streams bytes over TCP; part of no system but the tests'.

using Manifest = import "../../../schema/manifest.capnp";

const grants :List(Manifest.Grant) = [
  (name = "network", export = (process = "netstack", name = "network")),
];

const streamServer :Manifest.Entry = (
  name = "stream-server",
  quotas = (frames = 1024, handles = 128, threads = 1),
  grants = .grants,
  exports = ["load"],
);
