//! What should be on a disk's image after the script that a guest ran: computed here from the seed alone.
//!
//! This is on purpose not the code that the guest runs (`tests/programs/src/blocks.rs`): both follow the same text.
//!
//! A script is a run of a xorshift generator (13, 7, 17), started with the seed times 0x9e3779b97f4a7c15, lowest bit set.
//! Each step takes three numbers: the first modulo 16 says what is done (0 to 8 write, 9 zeroes, 10 discard, 11 flush,
//! else read), the second modulo the largest step plus 1 how many blocks, the third from where. The key of what a step
//! writes is its number, from 1 on.

/// The key of the block that is written through a part at the end: the disk's last one.
const THROUGH_PART: u64 = 0x7061_7274;

/// What should be in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What this key means.
    Key(u64),
    /// Zeroes.
    Zero,
    /// Anything: it was discarded.
    Any,
}

/// The contents of all blocks after a script.
pub fn play(seed: u64, steps: u32, blocks: u64, largest: u64) -> Vec<Content> {
    let mut contents = vec![Content::Key(0); blocks as usize];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for key in 1..=u64::from(steps) {
        let (kind, count) = (next() % 16, 1 + next() % largest);
        let first = next() % (blocks - count + 1);
        let content = match kind {
            0..=8 => Content::Key(key),
            9 => Content::Zero,
            10 => Content::Any,
            _ => continue,
        };
        for place in &mut contents[first as usize..(first + count) as usize] {
            *place = content;
        }
    }
    if let Some(last) = contents.last_mut() {
        *last = Content::Key(THROUGH_PART);
    }
    contents
}

/// The bytes that a key means in a block.
pub fn fill(block: &mut [u8], key: u64, number: u64) {
    let mixed = key.wrapping_mul(0xd129_0d3b_ef4a_1f35) ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d);
    for (index, word) in (1..).zip(block.chunks_exact_mut(8)) {
        let value = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index));
        word.copy_from_slice(&(value ^ (value >> 29)).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_follow_from_their_seeds() {
        assert_eq!(play(1, 50, 1000, 20), play(1, 50, 1000, 20));
        assert_ne!(play(1, 50, 1000, 20), play(2, 50, 1000, 20));
        let untouched = play(3, 0, 10, 5);
        assert_eq!(untouched[..9], [Content::Key(0); 9]);
        assert_eq!(untouched[9], Content::Key(THROUGH_PART));
    }

    #[test]
    fn contents_tell_keys_and_blocks_apart() {
        let bytes = |key, number| {
            let mut block = [0; 16];
            fill(&mut block, key, number);
            block
        };
        assert_ne!(bytes(1, 0), bytes(2, 0));
        assert_ne!(bytes(1, 0), bytes(1, 1));
        assert_ne!(bytes(0, 0)[..8], bytes(0, 0)[8..]);
    }
}
