@0x9b6f1f6d2a51c001;
# Rendezvous objects: endpoints, facets, notifications and calls in flight.
#
# Every object in this file is made through `OwnProcess` (process.capnp) and charged to the
# process that asked for it. Errors are Cap'n Proto's four kinds with a short reason.

interface Endpoint {
  # A place where calls arrive. The holder of the endpoint itself is the server: it receives
  # (system call `receive`) and mints facets, which are what clients hold and call.

  mint @0 (badge :UInt64) -> (facet :AnyPointer);
  # Makes a facet: a capability whose calls arrive here with `badge`, the server's own number
  # for the object behind it. When the last copy of the facet is gone, the endpoint receives
  # a `released` event with that badge.
  # Errors: `overloaded` when a quota of the process is used up.

  revoke @1 (badge :UInt64);
  # Makes every copy of every facet with this badge, wherever it is, answer `disconnected`
  # from now on. Calls that wait here with that badge are answered `disconnected`.
  # No `released` event follows for a revoked facet.
}

interface Notification {
  # 64 signal bits. Each thread waits on one of these together with an endpoint. Signalling is the
  # system call `signal`; bits stay set until a wait takes them all at once.

  signaller @0 (bits :UInt64) -> (signaller :Signaller);
  # Makes a capability that can set exactly these bits, and nothing else.
}

interface Signaller {
  # The right to set certain bits of one notification, by the system call `signal`, by this method,
  # or by handing it to the kernel (an interrupt, a timer, a process exit).

  signal @0 ();
}

interface Call {
  # One call in flight and its message buffer; used by the system calls `submit` and `cancel`.
  # It has no methods: it is named here so that inventories can name its interface.
}

interface Reply {
  # The one-shot right to answer one call; used by the system calls `reply` and `reply_receive`.
  # It cannot be sent in a message. Closing it answers the call with `disconnected`.
}
