//! Device registers in memory, reached by volatile accesses of their exact width.

use core::ptr::NonNull;

/// A mapped window of device registers. Copies name the same registers; who writes what is for the
/// owner of the copies to agree on.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the pointer is only used for volatile accesses to device registers, which are mapped for
// all processors alike; a data race on them is the device's to order and not memory unsafety.
unsafe impl Send for Registers {}
// SAFETY: as for `Send`.
unsafe impl Sync for Registers {}

macro_rules! accessors {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads the register at `offset`; all ones where the window has no such register, as a bus does.
        #[inline]
        pub fn $read(&self, offset: usize) -> $type {
            match self.pointer::<$type>(offset) {
                // SAFETY: `pointer` checked that the aligned register lies inside the window, which `new` was promised to be mapped.
                Some(pointer) => unsafe { pointer.read_volatile() },
                None => <$type>::MAX,
            }
        }

        /// Writes the register at `offset`; nothing happens where the window has no such register.
        #[inline]
        pub fn $write(&self, offset: usize, value: $type) {
            if let Some(pointer) = self.pointer::<$type>(offset) {
                // SAFETY: as for reading.
                unsafe { pointer.write_volatile(value) }
            }
        }
    };
}

impl Registers {
    /// Names the registers at `base`.
    ///
    /// # Safety
    /// `length` bytes from `base` are device registers (or, in tests, memory that nothing else
    /// borrows), mapped as long as any copy of the value lives.
    pub const unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length }
    }

    /// Bytes in the window.
    pub const fn length(&self) -> usize {
        self.length
    }

    accessors!(read_u8, write_u8, u8);
    accessors!(read_u16, write_u16, u16);
    accessors!(read_u32, write_u32, u32);
    accessors!(read_u64, write_u64, u64);

    #[inline]
    fn pointer<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>())?;
        let address = self.base.as_ptr().wrapping_add(offset).cast::<T>();
        (end <= self.length && address.is_aligned()).then_some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_outside_the_window_or_unaligned_reach_nothing() {
        let mut memory = [0u64; 2];
        let base = NonNull::new(memory.as_mut_ptr().cast::<u8>()).unwrap();
        // SAFETY: the array outlives the value and is not used while it is.
        let registers = unsafe { Registers::new(base, 12) };
        registers.write_u32(8, 0x1122_3344);
        registers.write_u32(12, 0xffff_ffff);
        registers.write_u16(1, 0xffff);
        assert_eq!(registers.read_u32(8), 0x1122_3344);
        assert_eq!(registers.read_u32(12), u32::MAX);
        assert_eq!(registers.read_u32(2), u32::MAX);
        assert_eq!(registers.read_u32(usize::MAX), u32::MAX);
        assert_eq!(registers.read_u8(11), 0x11);
        assert_eq!(memory, [0, 0x1122_3344]);
    }
}
