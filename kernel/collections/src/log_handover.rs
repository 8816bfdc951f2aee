//! Who writes the log to the console port, and how far it was written.

/// The console port between the kernel and drivers that take turns.
///
/// ```text
///   kernel writes --claim--> driver writes, and notes how far --last release--> kernel writes on from there
/// ```
///
/// A driver's successor may claim the port before the last copy of the predecessor's capability is gone: claims are counted.
#[derive(Debug, Default)]
pub struct LogHandover {
    claims: u32,
    /// The cursor up to which the port has the log; meaningful while there are claims.
    written: u64,
}

impl LogHandover {
    /// The kernel writes.
    pub const fn new() -> Self {
        Self { claims: 0, written: 0 }
    }

    /// Whether the kernel writes to the port.
    pub const fn is_with_kernel(&self) -> bool {
        self.claims == 0
    }

    /// A driver takes the port; `end` is the cursor behind all that was logged.
    pub fn claim(&mut self, end: u64) {
        if self.claims == 0 {
            self.written = end;
        }
        self.claims = self.claims.saturating_add(1);
    }

    /// Where a driver that has just taken the port goes on.
    pub const fn cursor(&self) -> u64 {
        self.written
    }

    /// The driver has written up to `cursor`. What is impossible is ignored: drivers are not trusted.
    pub fn note(&mut self, cursor: u64, end: u64) {
        if (self.written..=end).contains(&cursor) {
            self.written = cursor;
        }
    }

    /// A driver lets go. When it was the last, the cursor from which the kernel goes on.
    pub fn release(&mut self) -> Option<u64> {
        if self.claims == 0 {
            return None;
        }
        self.claims -= 1;
        (self.claims == 0).then_some(self.written)
    }

    /// The kernel takes the port whoever holds it, for its last words; the cursor from which it goes on, if it did not have it.
    pub fn take_back(&mut self) -> Option<u64> {
        (core::mem::take(&mut self.claims) > 0).then_some(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_or_doubled_when_a_driver_comes_and_goes() {
        let mut handover = LogHandover::new();
        assert!(handover.is_with_kernel());
        handover.claim(100);
        assert!(!handover.is_with_kernel());
        assert_eq!(handover.cursor(), 100);
        handover.note(150, 200);
        assert_eq!(handover.release(), Some(150));
        assert!(handover.is_with_kernel());
        handover.claim(300);
        assert_eq!(handover.cursor(), 300);
    }

    #[test]
    fn a_driver_cannot_note_what_cannot_be() {
        let mut handover = LogHandover::new();
        handover.claim(100);
        for impossible in [0, 99, 201, u64::MAX] {
            handover.note(impossible, 200);
            assert_eq!(handover.cursor(), 100);
        }
    }

    #[test]
    fn a_successor_may_come_before_the_predecessor_is_gone() {
        let mut handover = LogHandover::new();
        handover.claim(100);
        handover.note(120, 130);
        handover.claim(140);
        assert_eq!(handover.cursor(), 120);
        assert_eq!(handover.release(), None);
        assert!(!handover.is_with_kernel());
        assert_eq!(handover.release(), Some(120));
        assert_eq!(handover.release(), None);
    }

    #[test]
    fn the_last_words_are_the_kernels() {
        let mut handover = LogHandover::new();
        assert_eq!(handover.take_back(), None);
        handover.claim(10);
        handover.claim(20);
        assert_eq!(handover.take_back(), Some(10));
        assert!(handover.is_with_kernel());
    }
}
