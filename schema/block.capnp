@0x9b6f1f6d2a51c00c;
# Disks, and parts of disks.
#
# Set-up is by these messages; blocks move through shared memory (crate `ring`, module `block`), without a message each
# and without a copy between the client's buffers and the device.

using Ipc = import "ipc.capnp";
using Memory = import "memory.capnp";

struct BlockCounters {
  reads @0 :UInt64;
  readBlocks @1 :UInt64;
  writes @2 :UInt64;
  writtenBlocks @3 :UInt64;
  otherRequests @4 :UInt64;   # flush, discard, write zeroes
  errors @5 :UInt64;          # requests that were answered by an error
  interrupts @6 :UInt64;      # times that the driver woke for the device or a client
  resets @7 :UInt64;          # of the device, to bring lost requests back
}

struct BlockInfo {
  blockBytes @0 :UInt32;            # a power of two from 512 to 65536
  blocks @1 :UInt64;                # of this object: those of the part, for a part
  maximumBlocks @2 :UInt32;         # of one read or write
  maximumDiscardBlocks @3 :UInt32;  # of one discard; 0: the device has none
  maximumZeroBlocks @4 :UInt32;     # of one write of zeroes; 0: the device has none
  maximumDepth @5 :UInt16;          # of one queue
  maximumBufferBytes @6 :UInt32;    # of one queue
  readOnly @7 :Bool;
  writeCache @8 :Bool;              # written blocks may be lost with the power until a flush
  forcedUnitAccess @9 :Bool;        # a write can be made to bypass that cache; without this it is followed by a flush
  driver @10 :Text;
  model @11 :Text;
  serial @12 :Text;
  firmware @13 :Text;
  name @14 :Text;                   # what the cloud or host calls the disk, empty when it says nothing
  identifier @15 :Text;             # what tells the disk from all others, in the device's own form; may be empty
  counters @16 :BlockCounters;      # of the whole driver
}

interface BlockDevice {
  # A disk, or a part of one: blocks 0 to `blocks` - 1. Who holds this can reach those blocks and nothing else of the disk.

  info @0 () -> (info :BlockInfo);

  open @1 (doorbell :Ipc.Signaller, depth :UInt16, bufferBytes :UInt32) -> (queue :BlockQueue,
      rings :Memory.MemoryObject, buffers :Memory.MemoryObject, doorbell :Ipc.Signaller, depth :UInt16, bufferBytes :UInt32);
  # Opens a queue for at most `depth` requests at once, whose data lies in `bufferBytes` bytes of shared memory. The
  # answer says what there is: both are rounded up to powers of two, and down to the limits. `rings` holds the two
  # rings in the layout of `ring::block`. The driver rings the client's doorbell, and the client the
  # driver's, only when the other said that it sleeps. A request that names memory outside of the buffers, or a tag
  # that is in use, ends the queue. An object has one queue at a time: opening again ends the one before.
  #
  # The buffers are the same memory in every queue of one object while its driver lives, zeroed between them, and go
  # to no other object while anybody else holds or maps them.
  # Errors: `overloaded` when the driver has no room for another queue.

  readOnly @2 () -> (device :BlockDevice);
  # The same blocks as an object that refuses to change them.

  partition @3 (first :UInt64, count :UInt64) -> (device :BlockDevice);
  # Blocks `first` to `first + count - 1` as an object of their own, whose block 0 is `first`.
  # Errors: `failed` when they are not all blocks of this object, or `count` is 0.
}

interface BlockQueue {
  # Dropping it ends the queue. Requests that the device has already are finished; nobody is told.

  ended @0 ();
  # Answers with the error `disconnected` once the queue has ended, whoever ended it: how a client that sleeps on its
  # doorbell learns that its driver is gone. What was not answered until then may or may not have
  # happened, and is to be asked for again.
}
