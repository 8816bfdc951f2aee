@0x9b6f1f6d2a51c005;
# Devices as the kernel hands them out: PCI functions, registers, interrupts, DMA memory, I/O ports.
#
# All that is opened through one `PciFunction` belongs to that claim. When the claim ends (the last
# capability of the function is gone, or `PciInventory.revoke`), the kernel makes the function quiet in this
# order: mask its vectors, clear bus master, reset it, unmap its registers everywhere, wait, free its DMA
# memory. Every object that was opened through it then answers `disconnected`.

using Ipc = import "ipc.capnp";
using Memory = import "memory.capnp";

struct PciAddress {
  segment @0 :UInt16;
  bus @1 :UInt8;
  device @2 :UInt8;    # 0 to 31
  function @3 :UInt8;  # 0 to 7
}

enum BarKind { none @0; memory32 @1; memory64 @2; io @3; }

struct Bar {
  kind @0 :BarKind;
  address @1 :UInt64;
  size @2 :UInt64;      # bytes
  prefetchable @3 :Bool;
}

enum InterruptKind { none @0; line @1; msi @2; msix @3; }

struct PciFunctionInfo {
  address @0 :PciAddress;
  vendor @1 :UInt16;
  device @2 :UInt16;
  subsystemVendor @3 :UInt16;
  subsystem @4 :UInt16;
  class @5 :UInt32;       # class, subclass, programming interface: 0x020000 is Ethernet
  revision @6 :UInt8;
  bars @7 :List(Bar);     # always six; the upper half of a 64-bit BAR is `none`
  interruptKind @8 :InterruptKind;  # the best that the function offers
  interruptCount @9 :UInt16;
  owner @10 :UInt32;      # process that holds the claim, 0 when free or between owners
  claimed @11 :Bool;
  isolated @12 :Bool;     # an IOMMU keeps its DMA inside the pools of its claim
  refused @13 :UInt64;    # accesses and interrupts of it that the IOMMU refused since power-on, as far as it recorded them
}

interface PciInventory {
  # All PCI functions of the machine, and the right to claim them.

  list @0 (start :UInt32) -> (functions :List(PciFunctionInfo), next :UInt32);
  # A part of the list from index `start`; `next` is 0 at the end.

  claim @1 (address :PciAddress) -> (function :PciFunction);
  # Errors: `failed` when there is no such function, when it is a bridge; `overloaded` while another holds it or
  # while it is being reset (try again after 10 ms).

  revoke @2 (address :PciAddress);
  # Ends the claim of this function at once, whoever holds it. Errors: `failed` when there is no such function. A
  # function that nobody holds is no error.

  onRefusal @3 (signaller :Ipc.Signaller);
  # Signals when the IOMMU refused what a function asked for; `refused` in the list says which. Signals come at a bounded rate,
  # however many refusals there are. There is one such signaller; another replaces it.
}

interface PciFunction {
  # One claimed function.

  info @0 () -> (info :PciFunctionInfo);

  readConfig @1 (offset :UInt16, width :UInt8) -> (value :UInt32);
  # Reads 1, 2 or 4 bytes of configuration space, naturally aligned.

  capability @2 (id :UInt8, start :UInt16) -> (offset :UInt16);
  # Finds the next capability with this id after `start` (0 for the first); 0 when there is none.

  bar @3 (index :UInt8) -> (mmio :DeviceMmio);
  # The registers behind a memory BAR, less the pages that hold the MSI-X table or PBA.

  ports @4 (index :UInt8) -> (ports :IoPort);
  # The ports behind an I/O BAR.

  interrupt @5 (kind :InterruptKind, index :UInt16) -> (interrupt :Interrupt);
  # Opens one vector, masked and not bound. Errors: `failed` for a kind or index that the function
  # does not offer, or when another kind is open already; `overloaded` when no vector is free, or when the I/O APIC line
  # has another owner: lines are not shared.

  dmaPool @6 (maximumPages :UInt32) -> (pool :DmaPool);
  # A pool of at most so many pages, within the DMA quota of the process. Its pages come back when the claim has ended.

  setBusMaster @7 (enabled :Bool);
  # Lets the function start DMA. Off after a claim.

  reset @8 () -> (method :Text);
  # Reserved: always `unimplemented`. A reset takes time that a call does not; a function is reset when its claim ends, so
  # drop it and claim it again.

  withoutDma @9 () -> (function :PciFunction);
  # The same claim as an object whose `setBusMaster(true)` and `dmaPool` answer `failed`.
}

interface DeviceMmio {
  # A validated range of device registers, mapped by `AddressSpace.map`.

  info @0 () -> (pages :UInt32, offset :UInt32, length :UInt64, physicalAddress :UInt64);
  # `length` bytes of registers start `offset` bytes into the first mapped page.

  readOnly @1 () -> (mmio :DeviceMmio);
  slice @2 (offset :UInt64, length :UInt64) -> (mmio :DeviceMmio);
  # A part of it, whole pages: `offset` and `length` must be multiples of 4096.
}

interface Interrupt {
  # One MSI-X or MSI vector, or one I/O APIC line.

  bind @0 (signaller :Ipc.Signaller);
  # Signals at every interrupt from now on, and unmasks. A line is masked at each interrupt until
  # `acknowledge`. A message interrupt is masked after 1024 interrupts without one.

  acknowledge @1 ();
  mask @2 ();
  unmask @3 ();
  info @4 () -> (kind :InterruptKind, vector :UInt8, count :UInt64, dropped :UInt64, processor :UInt32);
}

interface DmaPool {
  # Pinned, zeroed memory that one device may reach.

  allocate @0 (pages :UInt32) -> (memory :Memory.MemoryObject, busAddress :UInt64);
  # Memory that is contiguous for the device: byte i of it is at `busAddress` + i. Behind an IOMMU only the devices of this
  # claim find anything there.
  # Errors: `overloaded` when the pool, the quota or the machine has no such run.

  usage @1 () -> (usedPages :UInt32, maximumPages :UInt32, mode :Text);
  # `mode` is "direct" (no IOMMU: a driver that can start DMA is trusted) or "vt-d".
}

interface IoPort {
  # A range of I/O ports. Offsets count from its start.

  read @0 (offset :UInt16, width :UInt8) -> (value :UInt32);
  write @1 (offset :UInt16, width :UInt8, value :UInt32);
  # `width` is 1, 2 or 4 bytes. Errors: `failed` outside the range.
  # The system calls `port_read` and `port_write` do the same without a message.

  info @2 () -> (first :UInt16, count :UInt32);

  logCursor @3 () -> (cursor :UInt64);
  # Only for a range that holds the first serial port (0x3f8). While somebody holds such a range the kernel does not touch the
  # port; this is where its output of the log stopped, a cursor of `KernelLog.read`. Errors: `failed` for another range.

  logWritten @4 (cursor :UInt64);
  # Says that the log was written to the port up to there. When the last capability of the range is gone, the kernel writes
  # on from there itself. A cursor that goes back or is not reached yet changes nothing. Errors: as of `logCursor`.
}

interface IoPortManager {
  # The right to hand out legacy port ranges. Ports of PCI configuration, interrupt controllers
  # and of the kernel's own timers are refused.
  claim @0 (first :UInt16, count :UInt16) -> (ports :IoPort);
}

interface LegacyInterruptManager {
  # The right to open ISA interrupt lines (0 to 15) through the I/O APIC with the MADT's overrides.
  open @0 (irq :UInt8) -> (interrupt :Interrupt);
}
