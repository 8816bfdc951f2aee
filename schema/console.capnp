@0x9b6f1f6d2a51c010;
# A terminal that programs share with the kernel's log.

struct ConsoleCounters {
  receivedBytes @0 :UInt64;
  sentBytes @1 :UInt64;
  droppedBytes @2 :UInt64;    # received while the buffer was full: nobody read
  overruns @3 :UInt64;        # times that the device lost bytes because the driver came too late
  lineErrors @4 :UInt64;      # bytes with a wrong parity or stop bit, and breaks
  interrupts @5 :UInt64;
}

interface Console {
  # One terminal, served by its driver, which also writes the kernel's log to it. One client at a time: opening again ends the
  # session before.

  open @0 () -> (session :ConsoleSession);

  info @1 () -> (driver :Text, present :Bool, counters :ConsoleCounters);
  # `present` is false where the machine has no such device: output is then dropped, and no input comes.
}

interface ConsoleSession {
  # All methods answer `disconnected` once the session has ended. Dropping it ends the session, and removes its line.

  write @0 (data :Data);
  # At most 1024 bytes of output; a line feed begins a new line. Answers when the driver has buffered them, which waits while its
  # buffer is full: this is how a client is held to the speed of the line. Output that ends without a line feed is completed
  # with one before anything else is written. Errors: `failed` for more than 1024 bytes.

  read @1 () -> (data :Data, dropped :UInt64);
  # Waits for input, and answers with at most 512 bytes of it, as they came; or with no bytes and how many were lost at this point,
  # since nobody read them in time. Errors: `overloaded` while another call waits.

  setLine @2 (text :Text, cursor :UInt16);
  # Shows one line below all output, as one that is being edited: it stays last when output and log lines come. The cursor
  # stands before column `cursor`, from 0. At most 255 characters of printable ASCII; others are shown as '?'. It should be shorter than a
  # row of the terminal. An empty text shows none.

  endLine @3 ();
  # Makes the line that `setLine` shows a part of the output, as it is.
}
