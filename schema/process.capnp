@0x9b6f1f6d2a51c003;
# Processes and threads.

using Memory = import "memory.capnp";
using Ipc = import "ipc.capnp";
using System = import "system.capnp";
using Time = import "time.capnp";

struct Quota {
  # The most that one process may have. Reaching a limit is the error `overloaded`.
  frames @0 :UInt32;    # memory, in 4 KiB pages: user pages, page tables and kernel objects
  handles @1 :UInt16;   # entries of the handle table, 16 to 4096
  threads @2 :UInt16;   # threads, at least 1
  dmaPages @3 :UInt32;  # pinned device memory, in 4 KiB pages
}

struct Usage {
  # What one process has now, in the units of `Quota`.
  frames @0 :UInt32;
  handles @1 :UInt16;
  threads @2 :UInt16;
  dmaPages @3 :UInt32;
  processorNanoseconds @4 :UInt64;
}

enum ExitCause {
  running @0;  # it has not ended
  exited @1;   # by the system call exit; `code` is its argument
  fault @2;    # by a processor exception; `code` is the vector number
  killed @3;   # by `Process.kill`
}

struct ExitReport {
  # Why a process ended. The registers are those of the thread that faulted.
  cause @0 :ExitCause;
  code @1 :Int64;
  thread @2 :UInt32;
  instructionAddress @3 :UInt64;
  faultAddress @4 :UInt64;
  stackPointer @5 :UInt64;
  errorCode @6 :UInt64;  # what the processor pushed with the exception, 0 when it pushes none
}

interface ProcessManager {
  # The right to make processes.

  create @0 (name :Text, quota :Quota, priority :UInt8) -> (process :Process);
  # Makes an empty process: no threads, no capabilities, nothing mapped. `name` (1 to 31 bytes) is
  # what logs and inventories show. `priority` is 0 (idle) to 31 and bounds that of its threads.
  # Dropping the last capability of a process that still runs does not end it.
  # The quota is a limit, not a reservation, and is charged to nobody: who holds this capability decides how memory is shared out.
}

interface Process {
  # Full control over one process; held by its supervisor.

  addressSpace @0 () -> (space :Memory.AddressSpace);

  grant @1 (capability :AnyPointer) -> (handle :UInt32);
  # Copies a capability into the process's handle table; returns its number there.

  grantOwnProcess @2 () -> (handle :UInt32);
  # Puts the process's own `OwnProcess` into its handle table; returns its number there.

  start @3 (entry :UInt64, stackTop :UInt64, messageBuffer :UInt64, arguments :List(UInt64)) -> (thread :Thread);
  # Starts a thread at `entry` in user mode with up to six arguments in rdi, rsi, rdx, rcx, r8, r9.
  # Its message buffer (one page) is mapped at `messageBuffer`, and it is bound to a new
  # notification of its own (see `OwnProcess.notification`).

  kill @4 ();
  # Ends the process at whatever instruction it is. Returns at once; `onExit` tells when all it had
  # has been taken back. Killing a process that has ended is no error.

  status @5 () -> (id :UInt32, report :ExitReport, usage :Usage, quota :Quota, reaped :Bool,
               paused :Bool, running :UInt16, ready :UInt16);
  # `reaped` is true once every handle, mapping and device of it has been released. `running` threads are on a processor
  # now, `ready` ones would run if it were their turn, or are held back by a pause; the others wait.

  onExit @6 (signaller :Ipc.Signaller);
  # Signals once when the process has been reaped, at once if that has happened. One per process.

  memory @7 (pages :UInt32) -> (memory :Memory.MemoryObject);
  # New zeroed memory, charged to this process (not to the caller), so that a supervisor can
  # build its image within its quota.

  pause @8 ();
  # Stops all threads of the process, each at the instruction where it is. A thread that waits stays waiting: what it waits for
  # reaches it as ever, but it does not go on. Calls of the process wait like those of a slow server. Returns at once;
  # threads on other processors have stopped when `status` says that none is running. For debuggers and fault injection.
  # Pausing a paused process, or one that has ended, is no error; killing a paused one ends it.

  resume @9 ();
  # Lets the threads of a paused process go on. No error when it is not paused.

  # What a process was doing when it ended, and what it held then; kept until the last capability of the process is gone.
  # A process that exited with code 0 leaves nothing, and while one runs there is nothing yet. Stacks, registers and messages
  # hold whatever the process had in them, secrets included.

  evidence @10 (thread :UInt16) -> (thread :ThreadEvidence, threads :UInt16);
  # One of the threads that it had, in the order in which they ended: the one that faulted or exited is the first. At most 4 are
  # kept. Errors: `failed` when there is no such one.

  holdings @11 () -> (kinds :List(UInt16), handles :List(System.HandleInfo), calls :List(CallEvidence));
  # Its capabilities: how many of each kind (by the number of the `System.ObjectKind`), and the first 32; and at most 8
  # calls that were in flight.
}

struct ThreadEvidence {
  id @0 :UInt32;
  inSystemCall @1 :Bool;           # only callee-saved registers, the stack pointer and the instruction are the thread's own then
  instruction @2 :UInt64;
  flags @3 :UInt64;
  registers @4 :List(UInt64);      # rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 to r15
  stack @5 :Data;                  # from the stack pointer up, at most 512 bytes
  message @6 :List(UInt64);        # the first words of its message buffer: of what it sent or received last
  receivedInterface @7 :UInt64;    # the call that it received last: 0 when it received none
  receivedMethod @8 :UInt16;
  receivedAnswered @9 :Bool;       # or given up
  madeInterface @10 :UInt64;       # the call that it made last, of a process or of the kernel, answered or not: 0 when it made none
  madeMethod @11 :UInt16;
}

enum CallKind {
  made @0;      # by the process, not answered
  received @1;  # by the process, and not answered by it
}

struct CallEvidence {
  # A call in flight.
  kind @0 :CallKind;
  process @1 :UInt32;              # the other side, 0 when it is not known: who received a call that was made
  badge @2 :UInt64;                # of a call that waited for its receiver, else 0
  interface @3 :UInt64;
  method @4 :UInt16;
  message @5 :List(UInt64);        # the first words of the request
}

interface Thread {
  # One schedulable context.

  status @0 () -> (id :UInt32, running :Bool, processorNanoseconds :UInt64);
  setPriority @1 (priority :UInt8);
  # Errors: `failed` above the process's own priority.
}

interface OwnProcess {
  # What every process may do for and to itself, within its quotas.

  endpoint @0 () -> (endpoint :Ipc.Endpoint);
  notification @1 () -> (notification :Ipc.Notification);
  # The notification that the calling thread's `receive` waits on.
  call @2 (bits :UInt64, buffer :UInt64) -> (call :Ipc.Call);
  # Makes a Call whose message buffer (one page) is mapped at `buffer` and whose completion sets
  # `bits` of the calling thread's notification. Closing it unmaps the buffer.
  memory @3 (pages :UInt32) -> (memory :Memory.MemoryObject);
  addressSpace @4 () -> (space :Memory.AddressSpace);
  startThread @5 (entry :UInt64, stackTop :UInt64, messageBuffer :UInt64, arguments :List(UInt64)) -> (thread :Thread);
  # As `Process.start`.
  timer @6 () -> (timer :Time.Timer);
  usage @7 () -> (id :UInt32, usage :Usage, quota :Quota);
}
