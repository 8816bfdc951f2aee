//! A table of fixed capacity whose entries are named by index and generation.

use alloc::vec::Vec;

/// The table has no free entry.
#[derive(Debug, PartialEq, Eq)]
pub struct SlotTableFull;

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    generation: u16,
    next_free: u16,
}

/// Entries with 32-bit names: bits 0 to 15 are the index, 16 to 31 a generation that changes each time the
/// entry is emptied. Index 0 is never used, so that 0 names nothing.
#[derive(Debug)]
pub struct SlotTable<T> {
    slots: Vec<Slot<T>>,
    first_free: u16,
    used: u16,
}

impl<T> SlotTable<T> {
    /// A table for at most `capacity` entries (up to 65,535), allocated at once.
    pub fn new(capacity: u16) -> Self {
        let slots = (0..=capacity)
            .map(|index| Slot {
                value: None,
                generation: 0,
                next_free: if index == 0 || index == capacity { 0 } else { index + 1 },
            })
            .collect();
        Self { slots, first_free: u16::from(capacity > 0), used: 0 }
    }

    /// Bytes of memory that a table of this capacity takes.
    pub const fn bytes(capacity: u16) -> usize {
        (capacity as usize + 1) * size_of::<Slot<T>>()
    }

    /// Number of entries in use.
    pub const fn len(&self) -> u16 {
        self.used
    }

    /// Whether no entry is in use.
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Number of entries that can still be added.
    pub fn free(&self) -> usize {
        self.slots.len() - 1 - usize::from(self.used)
    }

    /// Adds an entry and returns its name.
    #[inline(always)]
    pub fn insert(&mut self, value: T) -> Result<u32, SlotTableFull> {
        let index = self.first_free;
        match self.slots.get_mut(usize::from(index)) {
            Some(slot) if index != 0 => {
                self.first_free = slot.next_free;
                slot.value = Some(value);
                self.used += 1;
                Ok(u32::from(index) | u32::from(slot.generation) << 16)
            }
            _ => Err(SlotTableFull),
        }
    }

    /// The entry of this name.
    pub fn get(&self, name: u32) -> Option<&T> {
        let slot = self.slots.get((name & 0xffff) as usize)?;
        if u32::from(slot.generation) == name >> 16 { slot.value.as_ref() } else { None }
    }

    /// Empties the entry of this name.
    pub fn remove(&mut self, name: u32) -> Option<T> {
        self.remove_if(name, |_| true)
    }

    /// Empties the entry of this name if it is of the wanted kind.
    #[inline]
    pub fn remove_if(&mut self, name: u32, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let index = name as u16;
        let slot = self.slots.get_mut(usize::from(index))?;
        if u32::from(slot.generation) != name >> 16 || !slot.value.as_ref().is_some_and(wanted) {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.first_free;
        self.first_free = index;
        self.used -= 1;
        Some(value)
    }

    /// Empties the first entry in use at or after index `start`, and returns where to go on.
    pub fn remove_next(&mut self, start: usize) -> Option<(usize, T)> {
        let (index, name) = self.iter_from(start).next().map(|(name, _)| ((name & 0xffff) as usize, name))?;
        self.remove(name).map(|value| (index + 1, value))
    }

    /// The entries in use with their names, from index `start` on.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().skip(start).filter_map(|(index, slot)| {
            slot.value.as_ref().map(|value| (index as u32 | u32::from(slot.generation) << 16, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_names_count_from_one() {
        let mut table = SlotTable::new(4);
        assert_eq!((table.insert('a'), table.insert('b')), (Ok(1), Ok(2)));
        assert_eq!(table.get(0), None);
        assert_eq!(table.free(), 2);
    }

    #[test]
    fn a_removed_name_stays_dead() {
        let mut table = SlotTable::new(1);
        let first = table.insert(7).unwrap();
        assert_eq!(table.insert(8), Err(SlotTableFull));
        assert_eq!(table.remove(first), Some(7));
        assert_eq!(table.remove(first), None);
        let second = table.insert(9).unwrap();
        assert_ne!(first, second);
        assert_eq!((table.get(first), table.get(second)), (None, Some(&9)));
    }

    #[test]
    fn draining_visits_each_entry_once() {
        let mut table = SlotTable::new(100);
        let names: Vec<u32> = (0..100).map(|value| table.insert(value).unwrap()).collect();
        for name in names.iter().step_by(3) {
            table.remove(*name);
        }
        let (mut start, mut seen) = (0, 0);
        while let Some((next, _)) = table.remove_next(start) {
            (start, seen) = (next, seen + 1);
        }
        assert_eq!(seen, 66);
        assert!(table.is_empty());
        assert_eq!(table.get(u32::MAX), None);
        let empty = SlotTable::<u8>::new(0).insert(1);
        assert_eq!(empty, Err(SlotTableFull));
    }
}
