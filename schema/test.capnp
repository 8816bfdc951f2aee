@0x9b6f1f6d2a51c00b;
# What tests and benchmarks of calls talk to. No service of the system uses it.

interface Echo {
  # Gives back what it is given, in every form that a message has.

  enum Failure { failed @0; overloaded @1; disconnected @2; unimplemented @3; }

  echo @0 (value :UInt64) -> (value :UInt64);

  blob @1 (data :Data) -> (data :Data);
  # The same bytes. Errors: `failed` when either message is too large.

  never @2 ();
  # Does not answer.

  fail @3 (kind :Failure, reason :Text);
  # Answers with this error.

  child @4 () -> (echo :Echo);
  # A new object of the same server.

  same @5 (echo :Echo) -> (echo :Echo);
  # The same capability.

  callBack @6 (echo :Echo, value :UInt64) -> (value :UInt64);
  # What `echo` answers.

  objects @7 () -> (count :UInt32, waiting :UInt32);
  # How many objects of the server live, and how many calls of `never` wait in it.

  later @8 (nanoseconds :UInt64) -> (echo :Echo);
  # A new object, after a while.
}

interface Load {
  # A client that works without a pause while faults are injected. It checks all that it gets.

  mark @0 ();
  # Begins to measure pauses anew.

  state @1 () -> (moved :UInt64, sessions :UInt32, longestPause :UInt64, presentPause :UInt64, failure :Text);
  # What it moved so far, in bytes or requests; how many sessions it opened; the longest time since the last `mark` in
  # which one of the ways stood still in which it moves, and the time for which one stands still now, in nanoseconds; what
  # was wrong, empty when all was right. A stream moves in two ways.
}

interface FaultInjector {
  # A process between a driver and its device.

  enum Fault {
    descriptor @0;  # a word of the memory that holds the device's queues
    register @1;    # a register of the device
    interrupt @2;   # an interrupt is not passed on
  }

  inject @0 (fault :Fault, seed :UInt64) -> (what :Text);
  # Does it now, or at the next occasion; the seed decides what exactly. Answers with what was done, in words.
  # Errors: `failed` while the driver has not set its device up.
}
