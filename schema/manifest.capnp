@0x9b6f1f6d2a51c008;
# A boot manifest: which processes run, with which quotas, and who holds what.
#
# Manifests are constants of these types in Cap'n Proto's own text (folder `manifests`), compiled by
# `capnp eval`. The host tool checks a manifest before it is packed; init checks it again.

using Device = import "device.capnp";

struct Manifest {
  name @0 :Text;
  entries @1 :List(Entry);
}

struct Entry {
  # One process. Fields that are left out take the defaults shown.
  name @0 :Text;                   # 1 to 31 bytes of a-z, 0-9 and '-', unique in the manifest
  binary @1 :Text;                 # a binary of the boot package; the entry's name when empty
  arguments @2 :List(Argument);
  priority @3 :UInt8 = 10;         # 1 to 30
  quotas @4 :Quotas;
  grants @5 :List(Grant);
  exports @6 :List(Text);          # names that this process offers to others, unique inside it
  restart @7 :RestartPolicy;
  heartbeatMilliseconds @8 :UInt32 = 0;
  # How often init wants to hear from the process, 50 to 60000; 0: never. A process that did not answer four times in a row
  # though it could have run is killed, and its restart policy applies.
}

struct Argument { name @0 :Text; value @1 :Text; }

struct Quotas {
  frames @0 :UInt32 = 512;         # 4 KiB pages
  handles @1 :UInt16 = 128;
  threads @2 :UInt16 = 2;
  dmaPages @3 :UInt32 = 0;
}

struct Grant {
  # One capability that the process starts with, under `name`.
  name @0 :Text;
  union {
    export @1 :Export;             # what another process exports
    device @2 :DeviceMatch;        # one PCI function, as PciFunction
    ioPorts @3 :IoPortRange;       # as IoPort
    isaInterrupt @4 :UInt8;        # ISA line 0 to 15, as Interrupt
    kernel @5 :KernelObject;       # one of the kernel's own objects
    supervisor @6 :SupervisorPart; # what init itself offers
  }
}

struct Export {
  process @0 :Text;
  name @1 :Text;
  optional @2 :Bool = false;       # the process starts without waiting for it, and asks for it by `Supervisor.acquire`
  withProvider @3 :Bool = false;
  # When the process that exports it ends, this one is ended too, and started again once the export is back; that does not count
  # against its restart policy. Without it the holder lives on and reconnects by `Supervisor.acquire`.
}

struct DeviceMatch {
  # Matches one of the functions that fit every field that is set, in address order and whether claimed
  # or not, so that a process that is started again gets the same one.
  vendor @0 :UInt16 = 0xffff;      # 0xffff: any
  devices @1 :List(UInt16);        # empty: any
  class @2 :UInt32 = 0xffffffff;   # class << 16 | subclass << 8 | interface; 0xffffffff: any
  index @3 :UInt16 = 0;            # which of the functions that fit
  optional @4 :Bool = false;       # the process starts without it when the machine has none
  dma @5 :DmaMode = none;
}

enum DmaMode {
  none @0;     # the driver may not start DMA: bus master stays off
  isolated @1; # only behind an IOMMU
  trusted @2;  # without an IOMMU the driver can reach all memory, and the manifest accepts that
}

struct IoPortRange { first @0 :UInt16; count @1 :UInt16; }

enum KernelObject {
  log @0;            # LogWriter (every process is given one as "log" anyway)
  kernelLog @1;      # KernelLog: reads the log
  systemInfo @2;
  clock @3;
  power @4;
  processManager @5;
  pciInventory @6;
}

enum SupervisorPart {
  status @0;      # SupervisorStatus: names, states, restarts, grants, crashes
  control @1;     # SupervisorControl: kills, pauses, and reads and writes memory, of any process of the manifest
  bootPackage @2; # the boot package, as a sealed MemoryObject
  pciList @3;     # a PciInventory that lists, and refuses every claim
  shutdown @5;    # Power, by init: the processes are asked to end, in order, before the machine does
  evidence @4;    # CrashEvidence: registers, stacks and messages of processes that crashed, whatever is in them
}

struct RestartPolicy {
  kind @0 :Kind = always;
  maximum @1 :UInt16 = 1000;       # restarts in `windowSeconds` before init gives up
  windowSeconds @2 :UInt16 = 60;
  backOffMilliseconds @3 :UInt16 = 10; # before the first restart; doubles for each that follows within a second, up to 1 s
  enum Kind { always @0; onFailure @1; never @2; }
}
