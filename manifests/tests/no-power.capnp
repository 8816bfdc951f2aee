@0x9b6f1f6d2a51e152;
# The prompt alone, without the right to reboot and halt, and without a network to ask.

using Manifest = import "../../schema/manifest.capnp";
using import "../pieces/uart.capnp".uart;

const manifest :Manifest.Manifest = (
  name = "no-power",
  entries = [
    .uart,
    (name = "diag", quotas = (frames = 1024, handles = 128, threads = 1), grants = [
      (name = "console", export = (process = "uart", name = "console")),
    ]),
  ],
);
