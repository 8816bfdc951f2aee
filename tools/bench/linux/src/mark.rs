//! Marks for QEMU's counting plugin, as the programs of capOS set them (`tests/bench`).

/// Operations between two marks.
const OPERATIONS: usize = 100;

/// Bytes between two marks.
const BYTES: usize = 1 << 20;

/// Tells the plugin that this place was reached; elsewhere an instruction that does nothing.
#[inline(always)]
pub fn mark<const ID: u8>() {
    // SAFETY: a long `nop` with an address that is not accessed.
    unsafe { core::arch::asm!(".byte 0x0f, 0x1f, 0x80, {id}, 0x50, 0xa9, 0x0c", id = const ID) }
}

/// Counts up to the next mark.
#[derive(Default)]
pub struct Marks<const ID: u8> {
    since: usize,
}

impl<const ID: u8> Marks<ID> {
    /// Counts an operation.
    #[inline]
    pub fn operation(&mut self) {
        self.add(1, OPERATIONS);
    }

    /// Counts bytes.
    #[inline]
    pub fn bytes(&mut self, count: usize) {
        self.add(count, BYTES);
    }

    fn add(&mut self, count: usize, each: usize) {
        self.since += count;
        while self.since >= each {
            self.since -= each;
            mark::<ID>();
        }
    }
}
