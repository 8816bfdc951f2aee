@0x9b6f1f6d2a51e102;
# The default system, and beside it processes that each do one thing that the processor refuses.

using import "../../schema/manifest.capnp".Manifest;
using Policy = import "../../schema/manifest.capnp".RestartPolicy;
using import "../pieces/netstack.capnp".netstack;
using import "../pieces/remote-session-web-ui.capnp".remoteSessionWebUi;
using import "../pieces/virtio-net.capnp".virtioNet;

const once :Policy = (kind = never);
const thrice :Policy = (kind = always, maximum = 2, windowSeconds = 60, backOffMilliseconds = 20);

const manifest :Manifest = (
  name = "faults",
  entries = [
    .virtioNet, .netstack, .remoteSessionWebUi,
    (name = "read", binary = "faulty", arguments = [(name = "fault", value = "read")], restart = .thrice),
    (name = "read-null", binary = "faulty", arguments = [(name = "fault", value = "read-null")], restart = .once),
    (name = "read-kernel", binary = "faulty", arguments = [(name = "fault", value = "read-kernel")], restart = .once),
    (name = "read-non-canonical", binary = "faulty", arguments = [(name = "fault", value = "read-non-canonical")], restart = .once),
    (name = "write-code", binary = "faulty", arguments = [(name = "fault", value = "write-code")], restart = .once),
    (name = "execute-data", binary = "faulty", arguments = [(name = "fault", value = "execute-data")], restart = .once),
    (name = "execute-stack", binary = "faulty", arguments = [(name = "fault", value = "execute-stack")], restart = .once),
    (name = "privileged", binary = "faulty", arguments = [(name = "fault", value = "privileged")], restart = .once),
    (name = "port", binary = "faulty", arguments = [(name = "fault", value = "port")], restart = .once),
    (name = "divide", binary = "faulty", arguments = [(name = "fault", value = "divide")], restart = .once),
    (name = "invalid", binary = "faulty", arguments = [(name = "fault", value = "invalid")], restart = .once),
    (name = "overflow", binary = "faulty", arguments = [(name = "fault", value = "overflow")], restart = .once),
    (name = "panic", binary = "faulty", arguments = [(name = "fault", value = "panic")], restart = .once),
    (name = "error", binary = "faulty", arguments = [(name = "fault", value = "error")], restart = .once),
  ],
);
