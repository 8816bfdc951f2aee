@0x9b6f1f6d2a51c002;
# Memory objects and the address spaces that they are mapped into. A page is 4096 bytes.

enum Protection {
  # What user code may do with a mapping. No mapping is ever both writable and executable.
  read @0;
  readWrite @1;
  readExecute @2;
}

interface MemoryObject {
  # Zeroed pages that can be mapped into address spaces. The pages live until the last
  # capability and the last mapping are gone.

  size @0 () -> (pages :UInt32);

  readOnly @1 () -> (memory :MemoryObject);
  # The same pages as an object that can only be mapped `read` (or `readExecute` once sealed).

  seal @2 ();
  # Gives up writing for ever, for every holder, and so allows `readExecute`.
  # Errors: `failed` while a writable mapping exists. Sealing twice is no error.

  holders @3 () -> (count :UInt32);
  # How many capabilities and mappings of these pages there are anywhere, the caller's own and a device's claim included.
  # Who lent memory out learns by it that nobody else has it any more.
}

interface AddressSpace {
  # The user half of one process's virtual memory: 0x1000 up to 0x7fff_ffff_e000.

  map @0 (memory :AnyPointer, offset :UInt32, pages :UInt32, address :UInt64, protection :Protection);
  # Maps `pages` pages of a `MemoryObject` from page `offset` on, at `address` (page aligned).
  # A `DeviceMmio` is mapped the same way, uncached and never executable, and `readOnly()` views of
  # it never writable.
  # Errors: `failed` for a range that is unaligned, outside the object or the user half, or that
  # overlaps a mapping; for `readExecute` of memory that is not sealed; for `readWrite` of memory
  # that is sealed or read-only. `overloaded` when the page tables would exceed the quota.

  unmap @1 (address :UInt64);
  # Removes the whole mapping that starts at `address`, on every processor, before it returns.

  read @2 (address :UInt64, length :UInt32) -> (data :Data);
  # Copies up to 4000 bytes of mapped memory out, whatever their protection. Threads that run may change them meanwhile.
  # For debuggers and evidence: what a process holds of its own address space shows it nothing new, and that of another one is
  # its supervisor's.
  # Errors: `failed` for more bytes, where nothing is mapped, and for device registers, since reading can change them.

  write @3 (address :UInt64, data :Data);
  # Copies bytes in, where the process itself may write; all of them or none. For debuggers and fault injection.
  # Errors: as `read`; `failed` where the mapping is not `readWrite`, so nothing that was ever executable or sealed changes.

  mappings @4 (start :UInt64) -> (mappings :List(MappingInfo), next :UInt64);
  # What is mapped from address `start` on, by address; `next` continues, and is 0 at the end.
}

struct MappingInfo {
  address @0 :UInt64;
  pages @1 :UInt32;
  protection @2 :Protection;
  device @3 :Bool;     # device registers, which `read` and `write` refuse
}
