//! Internet checksums [RFC 1071], verified when a frame is classified and filled in when it is sent.
//!
//! smoltcp can do both, two bytes at a time. For bulk data the checksum is the most expensive
//! step of the stack, so it is told to leave them, and they are summed here eight bytes at a time.

use smoltcp::wire::Ipv4Address;

/// A sum in progress, in native byte order: the ones' complement sum does not depend on it [RFC 1071 2(B)].
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds one native-endian word with end-around carry.
    fn add_word(self, word: u64) -> Self {
        let (sum, carry) = self.0.overflowing_add(word);
        // Cannot wrap again: after a carry the sum is at most `u64::MAX - 1`.
        Self(sum.wrapping_add(u64::from(carry)))
    }

    /// Adds a block of eight words, the carry of each going into the next: one instruction a word.
    fn add_block(self, block: &[u8; 64]) -> Self {
        let (words, _) = block.as_chunks::<8>();
        let (mut sum, mut carry) = (self.0, false);
        for word in words {
            let (partial, first) = sum.overflowing_add(u64::from_ne_bytes(*word));
            let (total, second) = partial.overflowing_add(u64::from(carry));
            (sum, carry) = (total, first | second);
        }
        Self(sum).add_word(u64::from(carry))
    }

    /// Adds bytes that start at an even offset of the summed data.
    #[must_use]
    pub fn with(mut self, data: &[u8]) -> Self {
        let (blocks, rest) = data.as_chunks::<64>();
        for block in blocks {
            self = self.add_block(block);
        }
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            self = self.add_word(u64::from_ne_bytes(*word));
        }
        // A sum of 16-bit words is the same wherever in the 64 bits they are added.
        let (words, last) = rest.as_chunks::<2>();
        for word in words {
            self = self.add_word(u64::from(u16::from_ne_bytes(*word)));
        }
        match last {
            // An odd last byte is padded with a zero byte.
            [byte] => self.add_word(u64::from(u16::from_ne_bytes([*byte, 0]))),
            _ => self,
        }
    }

    /// Adds the pseudo-header of TCP and UDP [RFC 9293 3.1].
    #[must_use]
    pub fn with_pseudo_header(
        self,
        source: Ipv4Address,
        destination: Ipv4Address,
        protocol: u8,
        length: u16,
    ) -> Self {
        let [high, low] = length.to_be_bytes();
        let words = [source.octets(), destination.octets(), [0, protocol, high, low]];
        words.into_iter().fold(self, |sum, word| sum.add_word(u64::from(u32::from_ne_bytes(word))))
    }

    /// The sum folded to 16 bits, in network order when stored with `to_ne_bytes`.
    fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        // Four folds of 64 bits leave at most 16; the cast drops zeros.
        sum as u16
    }

    /// Whether data that holds its own checksum is intact.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.fold() == u16::MAX
    }

    /// The sum to store for somebody who adds the rest to it.
    #[must_use]
    pub fn partial(self) -> [u8; 2] {
        self.fold().to_ne_bytes()
    }

    /// The checksum to store over the field that was zero while summing.
    #[must_use]
    pub fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, two bytes at a time.
    fn reference(data: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in data.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !(sum as u16)
    }

    #[test]
    fn agrees_with_the_definition_at_every_length() {
        let data: Vec<u8> = (0..1600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in 0..data.len() {
            let data = &data[..length];
            assert_eq!(Sum::default().with(data).checksum(), reference(data).to_be_bytes(), "{length} bytes");
        }
    }

    #[test]
    fn carries_wrap_around() {
        assert_eq!(Sum::default().with(&[0xff; 4096]).checksum(), [0, 0]);
        assert!(Sum::default().with(&[0xff; 30]).is_valid());
        assert!(!Sum::default().with(&[0; 64]).is_valid());
    }

    #[test]
    fn a_known_ipv4_header_is_valid() {
        // The example of RFC 1071's widely used companion: 172.16.10.99 to 172.16.10.12.
        let header = [
            0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10, 0x0a, 0x63,
            0xac, 0x10, 0x0a, 0x0c,
        ];
        assert!(Sum::default().with(&header).is_valid());
    }

    #[test]
    fn the_pseudo_header_counts_once() {
        let (a, b) = (Ipv4Address::new(10, 0, 2, 15), Ipv4Address::new(10, 0, 2, 2));
        let whole = [10, 0, 2, 15, 10, 0, 2, 2, 0, 17, 0, 9, b'x'];
        let sum = Sum::default().with_pseudo_header(a, b, 17, 9).with(b"x");
        assert_eq!(sum.checksum(), reference(&whole).to_be_bytes());
    }
}
