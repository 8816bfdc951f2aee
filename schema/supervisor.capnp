@0x9b6f1f6d2a51c009;
# What init offers to the processes that it starts.

using Manifest = import "manifest.capnp";
using Ipc = import "ipc.capnp";
using Memory = import "memory.capnp";
using Process = import "process.capnp";
using System = import "system.capnp";

struct StartInfo {
  # Mapped read-only into a new process, as a message of one segment.
  process @0 :Text;                # its name in the manifest
  arguments @1 :List(Manifest.Argument);
  grants @2 :List(StartGrant);
  ownProcess @3 :UInt32;           # handle of its OwnProcess
  clock @4 :ClockParameters;
  imageEnd @5 :UInt64;             # first free address behind its image
}

struct StartGrant {
  name @0 :Text;
  handle @1 :UInt32;               # 0: optional and not there
}

struct ClockParameters { multiplier @0 :UInt64; shift @1 :UInt8; base @2 :UInt64; }

interface Supervisor {
  # Granted to every process under the name "supervisor".

  export @0 (name :Text, capability :AnyPointer);
  # Offers a capability under one of the names that the process's manifest entry exports. Offering it
  # again replaces it. Errors: `failed` for a name that the entry does not export.

  acquire @1 (name :Text) -> (capability :AnyPointer);
  # The current capability behind one of the process's own `export` grants. When the process that exports it is being
  # restarted, the answer waits until it has exported again: this is how a client
  # reconnects after `disconnected`. Errors: `failed` for a name that is no such grant; `disconnected` once init has given up on that process.

  attend @2 (signaller :Ipc.Signaller);
  # Says where the process wants to be signalled when init wants to hear from it. The runtime does so at the start of every
  # process. Whoever was told before is signalled no more.

  alive @3 (problem :Text) -> (stop :Bool);
  # The answer to such a signal. A process that finds something wrong with itself (a device that answers no more) says what
  # in `problem`: that counts as a heartbeat that was missed. `stop` asks it to end in its own time, with code 0.
}

enum ProcessState {
  waiting @0;   # for the exports that it needs
  running @1;
  restarting @2;
  stopped @3;   # ended, and its policy says to leave it
  failed @4;    # init gave up on it; `problem` says why
}

struct ProcessStatus {
  name @0 :Text;
  id @1 :UInt32;                   # the kernel's number of the running process, 0 for none
  state @2 :ProcessState;
  restarts @3 :UInt32;
  problem @4 :Text;                # the last fault or failure in words, empty when there was none
  grants @5 :List(GrantStatus);
  exports @6 :List(Text);
  lastExit @7 :Process.ExitReport;
  moreGrants @8 :UInt16;           # grants that had no room in the message
}

struct GrantStatus {
  name @0 :Text;
  from @1 :Text;                   # "kernel", "init", or the exporting process
  what @2 :Text;                   # the object in words: "PciFunction 00:02.0", "Nic", "ports 0x3f8-0x3ff"
}

interface SupervisorStatus {
  processes @0 (start :UInt32) -> (processes :List(ProcessStatus), next :UInt32);
  # All manifest entries, in order, in parts; `next` is 0 at the end. The first entry is init itself.
  manifest @1 () -> (name :Text, settled :Bool);
  # `settled` is true once every process runs and offers what it exports, or will never run. It stays true.

  crashes @2 (start :UInt32) -> (crashes :List(Crash), next :UInt32);
  # The ends of processes that were no exit with code 0, from number `start` on, the oldest first; `next` continues, and is 0 at
  # the end. init keeps the last 4 of each process, and 32 of all.
}

struct Crash {
  # What can be shown to anybody who may see the processes: no register and no word of memory but addresses of code. Of calls:
  # who, to or by whom, and which method.
  number @0 :UInt32;               # counts up from 1
  process @1 :Text;
  id @2 :UInt32;                   # the kernel's number of the process that ended
  nanoseconds @3 :UInt64;          # monotonic time when it was noticed
  livedNanoseconds @4 :UInt64;
  restarts @5 :UInt32;             # of the process before this end
  cause @6 :Text;                  # in words
  instruction @7 :UInt64;          # where the first thread was
  trace @8 :List(UInt64);          # words of its stack that are addresses in the program's code: likely return addresses, the
                                   # innermost first, at most 16
  kinds @9 :List(UInt16);          # capabilities held, by the number of the `System.ObjectKind`
  threads @10 :UInt16;             # of which `CrashEvidence` has more
  calls @11 :UInt16;               # that were in flight, at most 8 are known
  inFlight @12 :List(CallInFlight);
  lastCalls @13 :List(LastCalls);  # of each thread of which there is evidence
}

struct CallInFlight {
  # `Process.CallEvidence` without the message.
  kind @0 :Process.CallKind;
  process @1 :Text;                # the other side, empty when it is not known
  interface @2 :UInt64;
  method @3 :UInt16;
}

struct LastCalls {
  # The calls of a thread's `Process.ThreadEvidence`: those that it received and made last. The interface is 0 when there was none.
  thread @0 :UInt32;
  receivedInterface @1 :UInt64;
  receivedMethod @2 :UInt16;
  receivedAnswered @3 :Bool;       # or given up
  madeInterface @4 :UInt64;
  madeMethod @5 :UInt16;
}

interface CrashEvidence {
  # The rest of what is known of a crash. Registers, stacks and messages hold what the process had in them, keys and other people's data
  # included: whoever has this can read them. Errors: `failed` when the crash is not kept any more.

  thread @0 (crash :UInt32, thread :UInt16) -> (thread :Process.ThreadEvidence);
  holdings @1 (crash :UInt32) -> (kinds :List(UInt16), handles :List(System.HandleInfo), calls :List(Process.CallEvidence),
                                 names :List(ProcessName));
  # As `Process.holdings`; `names` are those that the process numbers in them had at that time, as far as they are known.
}

struct ProcessName { id @0 :UInt32; name @1 :Text; }

interface SupervisorControl {
  kill @0 (name :Text);
  # Kills the process of this name at once; its restart policy applies.

  # The rest is for debugging and fault injection: it makes a process hang, or spoils what it has in memory, to see that
  # the others live on. What `init` itself is doing cannot be touched. Errors of all: `failed` for a name that is not in the
  # manifest or does not run now, and those of the kernel's methods of the same names.

  pause @1 (name :Text);
  # `Process.pause`.
  resume @2 (name :Text);
  # `Process.resume`.
  read @3 (name :Text, address :UInt64, length :UInt32) -> (data :Data);
  # `AddressSpace.read`, of at most 3800 bytes.
  write @4 (name :Text, address :UInt64, data :Data);
  # `AddressSpace.write`, of at most 3800 bytes.
  mappings @5 (name :Text, start :UInt64) -> (mappings :List(Memory.MappingInfo), next :UInt64);
  # `AddressSpace.mappings`.
}
