@0x9b6f1f6d2a51e103;
# The default system, and beside it processes that each eat one of their quotas, or are refused what they ask for.

using import "../../schema/manifest.capnp".Manifest;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/virtio-net.capnp".virtioNet;

const manifest :Manifest = (
  name = "quotas",
  entries = [
    .virtioNet, .netstack, .remoteSessionWebUi,
    (name = "frames", binary = "glutton", arguments = [(name = "what", value = "frames")]),
    (name = "handles", binary = "glutton", arguments = [(name = "what", value = "handles")],
      quotas = (frames = 512, handles = 48)),
    (name = "threads", binary = "glutton", arguments = [(name = "what", value = "threads")],
      quotas = (frames = 512, handles = 64, threads = 3)),
    # The interrupt controller's ports are the kernel's.
    (name = "kernel-ports", binary = "glutton", restart = (kind = never),
      grants = [(name = "ports", ioPorts = (first = 0x20, count = 2))]),
    (name = "no-device", binary = "glutton", restart = (kind = never),
      grants = [(name = "device", device = (vendor = 0x1234, devices = [0xfffe]))]),
  ],
);
