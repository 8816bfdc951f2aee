//! A bounded table whose entries are named by index and generation, so that a stale name finds nothing.

use alloc::vec::Vec;

/// The name of an entry. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    index: u16,
    generation: u32,
}

impl Id {
    /// Place in the table: below its capacity.
    pub fn index(self) -> usize {
        self.index.into()
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A table of at most `capacity` entries.
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u16>,
    capacity: usize,
}

impl<T> Table<T> {
    /// An empty table. Capacities above 65536 are cut to that.
    pub fn new(capacity: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), capacity: capacity.min(1 << 16) }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All indexes in use are below this.
    pub fn extent(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no entry can be added.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Adds an entry; gives it back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<Id, T> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => match u16::try_from(self.slots.len()) {
                Ok(index) if self.slots.len() < self.capacity => {
                    self.slots.push(Slot { generation: 0, value: None });
                    index
                }
                _ => return Err(value),
            },
        };
        // The index is that of a slot that exists: freed, or just pushed.
        let slot = &mut self.slots[usize::from(index)];
        slot.value = Some(value);
        Ok(Id { index, generation: slot.generation })
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    /// An entry.
    pub fn get(&self, id: Id) -> Option<&T> {
        self.slots.get(id.index()).filter(|slot| slot.generation == id.generation)?.value.as_ref()
    }

    /// An entry.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)?.value.as_mut()
    }

    /// The name of the entry at an index, if there is one.
    pub fn id_at(&self, index: usize) -> Option<Id> {
        let slot = self.slots.get(index)?;
        slot.value.as_ref()?;
        Some(Id { index: u16::try_from(index).ok()?, generation: slot.generation })
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        (0u16..).zip(&self.slots).filter_map(|(index, slot)| {
            slot.value.as_ref().map(|value| (Id { index, generation: slot.generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_names_find_nothing() {
        let mut table = Table::new(2);
        let first = table.insert('a').unwrap();
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b').unwrap();
        assert_eq!(first.index(), second.index());
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&'b'));
        assert_eq!(table.id_at(0), Some(second));
    }

    #[test]
    fn a_full_table_gives_the_entry_back() {
        let mut table = Table::new(1);
        let id = table.insert(1).unwrap();
        assert!(table.is_full());
        assert_eq!(table.insert(2), Err(2));
        table.remove(id);
        assert!(table.is_empty() && table.insert(3).is_ok());
        assert_eq!(table.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [3]);
    }
}
