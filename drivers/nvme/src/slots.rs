//! What is in flight on one queue, by command identifier: a shadow that the device cannot write.

use alloc::vec::Vec;

/// Bits of an identifier that are the slot's number; the others count its uses.
const INDEX_BITS: u32 = 10;
const INDEX_MASK: u16 = (1 << INDEX_BITS) - 1;

/// The most slots. The last number is left out, so that no identifier is 0xffff, which means "none" [NVMe-2.1 4.1].
const MAXIMUM: u16 = INDEX_MASK;

struct Slot<T> {
    /// Count of uses, as it stands in identifiers.
    uses: u16,
    content: Option<T>,
}

/// Commands in flight.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u16>,
}

impl<T> Slots<T> {
    /// Room for so many commands.
    pub fn new(count: u16) -> Self {
        let count = count.min(MAXIMUM);
        Self {
            slots: (0..count).map(|_| Slot { uses: 0, content: None }).collect(),
            free: (0..count).rev().collect(),
        }
    }

    /// Whether another command has room.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Commands in flight.
    #[cfg(test)]
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a command in; its identifier. Gives it back when there is no room.
    pub fn insert(&mut self, content: T) -> Result<u16, T> {
        let Some(index) = self.free.pop() else { return Err(content) };
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return Err(content) };
        slot.content = Some(content);
        Ok(slot.uses << INDEX_BITS | index)
    }

    /// The command with an identifier that the device gave, if it is in flight.
    pub fn get_mut(&mut self, identifier: u16) -> Option<&mut T> {
        self.slot(identifier)?.content.as_mut()
    }

    /// Takes the command with an identifier that the device gave out, if it is in flight.
    pub fn take(&mut self, identifier: u16) -> Option<T> {
        let slot = self.slot(identifier)?;
        let content = slot.content.take()?;
        slot.uses = slot.uses.wrapping_add(1);
        self.free.push(identifier & INDEX_MASK);
        Some(content)
    }

    /// Gives the command with this identifier another one in the same slot, so that an answer to the old one is none.
    pub fn renew(&mut self, identifier: u16) -> Option<u16> {
        let slot = self.slot(identifier)?;
        slot.uses = slot.uses.wrapping_add(1);
        Some(slot.uses << INDEX_BITS | identifier & INDEX_MASK)
    }

    /// The identifiers of all commands in flight, and the commands.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut T)> {
        // There are at most `MAXIMUM` slots.
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| {
            Some((slot.uses << INDEX_BITS | index as u16, slot.content.as_mut()?))
        })
    }

    fn slot(&mut self, identifier: u16) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(usize::from(identifier & INDEX_MASK))?;
        (slot.uses << INDEX_BITS == identifier & !INDEX_MASK && slot.content.is_some()).then_some(slot)
    }
}

/// The number of the slot that an identifier names.
pub const fn index(identifier: u16) -> u16 {
    identifier & INDEX_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_good_once() {
        let mut slots = Slots::new(2);
        let first = slots.insert('a').expect("room");
        let second = slots.insert('b').expect("room");
        assert_eq!(slots.insert('c'), Err('c'));
        assert_eq!((slots.take(first), slots.take(first)), (Some('a'), None));
        let third = slots.insert('d').expect("room again");
        assert_ne!(third, first, "the same slot, another identifier");
        assert_eq!(slots.take(first), None);
        assert_eq!((slots.get_mut(second).copied(), slots.in_flight()), (Some('b'), 2));
        for wild in [2, 3, 1023, 0xffff, third ^ 1 << INDEX_BITS] {
            assert_eq!(slots.take(wild), None);
        }
        let renewed = slots.renew(third).expect("in flight");
        assert_eq!((slots.take(third), index(renewed), slots.take(renewed)), (None, index(third), Some('d')));
    }

    #[test]
    fn identifiers_wrap() {
        let mut slots = Slots::new(5000);
        for round in 0..200 {
            let identifier = slots.insert(round).expect("room");
            assert_ne!(identifier, 0xffff);
            assert_eq!(slots.take(identifier), Some(round));
        }
        let all: Vec<_> = std::iter::from_fn(|| slots.insert(0).ok()).collect();
        assert_eq!((all.len(), slots.iter_mut().count()), (1023, 1023));
    }
}
