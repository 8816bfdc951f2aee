//! I/O port instructions.

use core::arch::asm;

macro_rules! port {
    ($read:ident, $write:ident, $type:ty, $register:tt) => {
        /// Reads a port.
        ///
        /// # Safety
        /// Reading the port must have no effect that breaks memory safety.
        #[inline]
        pub unsafe fn $read(port: u16) -> $type {
            let value: $type;
            // SAFETY: its effect is the caller's promise. Not `nomem`: the access orders memory that a device reads.
            unsafe {
                asm!(concat!("in ", $register, ", dx"), out($register) value, in("dx") port,
                     options(nostack, preserves_flags));
            }
            value
        }

        /// Writes a port.
        ///
        /// # Safety
        /// The write must have no effect that breaks memory safety (a device that starts DMA, for one).
        #[inline]
        pub unsafe fn $write(port: u16, value: $type) {
            // SAFETY: as for reading.
            unsafe {
                asm!(concat!("out dx, ", $register), in("dx") port, in($register) value,
                     options(nostack, preserves_flags));
            }
        }
    };
}

port!(read_u8, write_u8, u8, "al");
port!(read_u16, write_u16, u16, "ax");
port!(read_u32, write_u32, u32, "eax");
