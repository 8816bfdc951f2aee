//! The newest bytes of a log, read by cursor.

/// A byte ring of log lines. Positions count all bytes ever written, so that a reader knows what it missed.
#[derive(Debug)]
pub struct LogRing<const SIZE: usize> {
    bytes: [u8; SIZE],
    written: u64,
}

/// What one read gave.
#[derive(Debug, PartialEq, Eq)]
pub struct LogRead {
    /// Bytes that were copied.
    pub length: usize,
    /// Cursor for the next read.
    pub next: u64,
    /// Bytes between the cursor and the first byte that was copied, which had been overwritten.
    pub lost: u64,
}

impl<const SIZE: usize> Default for LogRing<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SIZE: usize> LogRing<SIZE> {
    /// An empty ring.
    pub const fn new() -> Self {
        Self { bytes: [0; SIZE], written: 0 }
    }

    /// The cursor behind all that was written.
    pub const fn end(&self) -> u64 {
        self.written
    }

    /// Appends bytes over the oldest ones.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(slot) = self.bytes.get_mut((self.written % SIZE as u64) as usize) {
                *slot = byte;
            }
            self.written += 1;
        }
    }

    /// Copies whole lines from `cursor` on into `buffer`; a line that is longer than the buffer is cut into parts.
    pub fn read(&self, cursor: u64, buffer: &mut [u8]) -> LogRead {
        let oldest = self.written.saturating_sub(SIZE as u64);
        let cursor = cursor.min(self.written);
        let mut start = cursor.max(oldest);
        if start > cursor {
            // The line at the seam has lost its beginning.
            while start < self.written && self.at(start) != b'\n' {
                start += 1;
            }
            start = (start + 1).min(self.written);
        }
        let length = ((self.written - start) as usize).min(buffer.len());
        for (slot, position) in buffer.iter_mut().zip(start..).take(length) {
            *slot = self.at(position);
        }
        let whole = buffer.get(..length).and_then(|text| text.iter().rposition(|&byte| byte == b'\n'));
        let length = if length < buffer.len() { length } else { whole.map_or(length, |end| end + 1) };
        LogRead { length, next: start + length as u64, lost: start - cursor }
    }

    fn at(&self, position: u64) -> u8 {
        self.bytes.get((position % SIZE as u64) as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_lines_in_parts() {
        let mut ring = LogRing::<64>::new();
        ring.write(b"one\ntwo\nthree\n");
        let mut buffer = [0; 9];
        let read = ring.read(0, &mut buffer);
        assert_eq!((&buffer[..read.length], read.lost), (&b"one\ntwo\n"[..], 0));
        let read = ring.read(read.next, &mut buffer);
        assert_eq!(&buffer[..read.length], b"three\n");
        assert_eq!(ring.read(read.next, &mut buffer), LogRead { length: 0, next: 14, lost: 0 });
    }

    #[test]
    fn overwritten_lines_are_counted_and_the_cut_one_left_out() {
        let mut ring = LogRing::<16>::new();
        ring.write(b"0123456789\nabcdef\nxyz\n");
        let mut buffer = [0; 64];
        let read = ring.read(0, &mut buffer);
        assert_eq!((&buffer[..read.length], read.lost), (&b"abcdef\nxyz\n"[..], 11));
        assert_eq!(ring.read(u64::MAX, &mut buffer).length, 0);
    }
}
