//! What the stream test sends: bytes that follow from a seed and a place.
//!
//! The host computes the same by code of its own.

/// Bytes of one word of the sequence.
const WORD: u64 = 8;

/// An endless sequence of bytes, and how far it was used.
pub struct Sequence {
    base: u64,
    position: u64,
}

impl Sequence {
    /// From its start.
    pub fn new(seed: u64) -> Self {
        Self { base: seed.wrapping_mul(0xd129_0d3b_ef4a_1f35), position: 0 }
    }

    /// Bytes that were used.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn word(&self, index: u64) -> [u8; 8] {
        let value = self.base.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (value ^ value >> 29).to_le_bytes()
    }

    /// Fills `target` with the next bytes.
    pub fn fill(&mut self, target: &mut [u8]) {
        self.walk(target, |part, bytes| {
            part.copy_from_slice(bytes);
            true
        });
    }

    /// Whether these are the next bytes; the place of the first that is not, if one is not.
    pub fn check(&mut self, bytes: &mut [u8]) -> Result<(), u64> {
        let start = self.position;
        if self.walk(bytes, |part, bytes| part == bytes) { Ok(()) } else { Err(start) }
    }

    /// Goes over `bytes` in parts that each lie inside one word; false when `visit` once said so.
    fn walk(&mut self, mut bytes: &mut [u8], visit: impl Fn(&mut [u8], &[u8]) -> bool) -> bool {
        let mut all = true;
        while !bytes.is_empty() {
            let skipped = (self.position % WORD) as usize;
            let word = self.word(self.position / WORD);
            let left = word.get(skipped..).unwrap_or_default();
            let length = left.len().min(bytes.len());
            let (part, rest) = bytes.split_at_mut(length);
            all &= visit(part, left.get(..length).unwrap_or_default());
            // A length of at most eight.
            self.position += length as u64;
            bytes = rest;
        }
        all
    }
}
