@0x9b6f1f6d2a51c006;
# The kernel log, read-only inventories, and power.

using Device = import "device.capnp";
using Ipc = import "ipc.capnp";
using Process = import "process.capnp";

interface LogWriter {
  # Writes lines to the kernel log as the calling process.
  write @0 (text :Text);
  # One line, at most 1024 bytes; more is cut. Control characters are replaced. The kernel puts time and process name in front.
}

interface KernelLog {
  # Reads the kernel's log ring (the newest 64 KiB of lines).
  read @0 (cursor :UInt64) -> (text :Text, next :UInt64, lost :UInt64);
  # Whole lines from `cursor` on (0: the oldest kept), at most about 3 KiB; `next` continues. `lost` counts bytes that
  # were overwritten before `cursor` could be read.

  follow @1 (signaller :Ipc.Signaller);
  # Signals whenever something was written, from now on and as long as the signaller is held. Several writes may be one signal.
  # Errors: `overloaded` when 8 others follow.
}

struct ProcessInfo {
  id @0 :UInt32;
  name @1 :Text;
  cause @2 :Process.ExitCause;  # `running` while it lives
  usage @3 :Process.Usage;
  quota @4 :Process.Quota;
}

enum ObjectKind {
  process @0; thread @1; memoryObject @2; addressSpace @3; endpoint @4; facet @5; call @6; reply @7;
  notification @8; signaller @9; timer @10; clock @11; pciInventory @12; pciFunction @13; deviceMmio @14;
  interrupt @15; dmaPool @16; ioPort @17; ioPortManager @18; legacyInterruptManager @19; kernelLog @20;
  logWriter @21; systemInfo @22; power @23; processManager @24; ownProcess @25;
}

struct HandleInfo {
  # One entry of a handle table.
  handle @0 :UInt32;
  kind @1 :ObjectKind;
  object @2 :UInt64;   # the object's number; two handles of one object show the same
  server @3 :UInt32;   # facet: the process that minted it; process, thread: the process itself; else 0
  badge @4 :UInt64;    # facet: its badge; pciFunction: segment << 16 | bus << 8 | device << 3 | function
}

struct ProcessorInfo {
  index @0 :UInt32;
  apicId @1 :UInt32;
  idleNanoseconds @2 :UInt64;
  interrupts @3 :UInt64;
}

struct AcpiTableInfo {
  # A table that passed its check; firmware's others are in the log.
  signature @0 :Text;  # four characters
  address @1 :UInt64;  # physical
  length @2 :UInt32;   # bytes
  revision @3 :UInt8;
}

struct InterruptInfo {
  # One interrupt that is open.
  vector @0 :UInt8;
  kind @1 :Device.InterruptKind;
  line @2 :UInt32;       # global system interrupt of a line, 0xffffffff for others
  function @3 :UInt32;   # as the badge of a pciFunction in `HandleInfo`, 0xffffffff for ISA lines
  index @4 :UInt16;      # which of the function's
  object @5 :UInt64;     # its number in `HandleInfo`
  processor @6 :UInt32;
  count @7 :UInt64;      # signalled
  dropped @8 :UInt64;    # arrived while nobody was bound
}

struct TimerInfo {
  # The deadlines that one processor looks after.
  processor @0 :UInt32;
  armed @1 :UInt32;
  nextNanoseconds @2 :UInt64;  # of the earliest, in monotonic time; the largest number when none is armed
}

interface SystemInfo {
  # Read-only views of the machine and of who holds what. Long lists come in parts: pass `next`
  # (0 at the end) as the following `start`.

  summary @0 () -> (version :Text, commit :Text, bootLoader :Text, processors :UInt32, memoryFrames :UInt64,
                    freeFrames :UInt64, uptimeNanoseconds :UInt64, clockSource :Text, clockEvent :Text,
                    machine :Text, dmaMode :Text, kernelFrames :UInt64, interruptMode :Text,
                    dmaFaults :UInt64, interruptFaults :UInt64);
  # `dmaMode` is "direct" (no IOMMU: a driver that can start DMA is trusted) or "vt-d"; `interruptMode` is "direct" or
  # "remapped" (a function raises its own interrupts alone). The faults are requests that the IOMMU refused, at least so
  # many: of those that come at once it does not record all.
  processes @1 (start :UInt32) -> (processes :List(ProcessInfo), next :UInt32);
  handles @2 (process :UInt32, start :UInt32) -> (handles :List(HandleInfo), next :UInt32);
  processors @3 (start :UInt32) -> (processors :List(ProcessorInfo), next :UInt32);

  acpiTables @4 (start :UInt32) -> (tables :List(AcpiTableInfo), next :UInt32);
  interrupts @5 (start :UInt32) -> (interrupts :List(InterruptInfo), next :UInt32, stray :UInt64);
  # By vector. `stray` counts interrupts of vectors that belonged to nobody.
  timers @6 (start :UInt32) -> (timers :List(TimerInfo), next :UInt32, nowNanoseconds :UInt64, counterFrequency :UInt64);
  # By processor. `counterFrequency` is the time stamp counter's, in hertz.
}

interface Power {
  reboot @0 ();
  halt @1 ();
  # Powers the machine off, or stops all processors where it cannot.
}
