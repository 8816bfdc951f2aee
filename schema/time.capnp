@0x9b6f1f6d2a51c004;
# Monotonic time, in nanoseconds since the kernel started its clock.

using Ipc = import "ipc.capnp";

interface Clock {
  # Monotonic time, the same on every processor.

  now @0 () -> (nanoseconds :UInt64);

  parameters @1 () -> (multiplier :UInt64, shift :UInt8, base :UInt64);
  # How user code turns the time stamp counter into the same time without a call:
  # nanoseconds = ((tsc - base) * multiplier) >> shift, in 128-bit arithmetic.
}

interface Timer {
  # A one-shot deadline.

  arm @0 (deadline :UInt64, signaller :Ipc.Signaller);
  # Signals once at or after `deadline` (nanoseconds of `Clock`); a deadline in the past signals
  # at once. Arming again replaces what was armed.

  disarm @1 ();
}
