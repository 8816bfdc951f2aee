//! A binary heap of deadlines whose entries can be removed before they are due.

use alloc::vec::Vec;

/// What a heap entry stands for: it remembers where in the heap its entry is.
pub trait TimerKey {
    /// Called whenever the entry moves; `None` when it has left the heap.
    fn set_position(&self, position: Option<usize>);
    /// What the last [`TimerKey::set_position`] said.
    fn position(&self) -> Option<usize>;
}

/// Deadlines in the order in which they come due. It never allocates on its own: a full heap refuses, and the owner decides.
#[derive(Debug)]
pub struct TimerHeap<K> {
    entries: Vec<(u64, K)>,
}

impl<K: TimerKey> Default for TimerHeap<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: TimerKey> TimerHeap<K> {
    /// An empty heap without capacity.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Makes room for as many entries again, at least 16; `false` when there is no memory.
    pub fn reserve_more(&mut self) -> bool {
        self.entries.try_reserve(self.entries.len().max(16)).is_ok()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.0)
    }

    /// Adds an entry; gives the key back when the reserved capacity is used up.
    pub fn insert(&mut self, deadline: u64, key: K) -> Result<(), K> {
        if self.entries.len() == self.entries.capacity() {
            return Err(key);
        }
        let position = self.entries.len();
        key.set_position(Some(position));
        self.entries.push((deadline, key));
        self.sift_up(position);
        Ok(())
    }

    /// Removes the entry at the position that its key remembers.
    pub fn remove(&mut self, position: usize) -> Option<K> {
        if position >= self.entries.len() {
            return None;
        }
        let (_, key) = self.entries.swap_remove(position);
        key.set_position(None);
        if position < self.entries.len() {
            self.note(position);
            let position = self.sift_up(position);
            self.sift_down(position);
        }
        Some(key)
    }

    /// Removes the first entry if it is due at `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<K> {
        if self.next_deadline()? > now { None } else { self.remove(0) }
    }

    fn note(&self, position: usize) {
        if let Some((_, key)) = self.entries.get(position) {
            key.set_position(Some(position));
        }
    }

    fn deadline(&self, position: usize) -> u64 {
        self.entries.get(position).map_or(u64::MAX, |entry| entry.0)
    }

    fn sift_up(&mut self, mut position: usize) -> usize {
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.deadline(parent) <= self.deadline(position) {
                break;
            }
            self.entries.swap(parent, position);
            self.note(position);
            position = parent;
        }
        self.note(position);
        position
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            if left >= self.entries.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.entries.len() && self.deadline(right) < self.deadline(left) {
                right
            } else {
                left
            };
            if self.deadline(position) <= self.deadline(child) {
                break;
            }
            self.entries.swap(position, child);
            self.note(position);
            position = child;
        }
        self.note(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};

    #[derive(Debug)]
    struct Key(Cell<Option<usize>>);

    impl TimerKey for Rc<Key> {
        fn set_position(&self, position: Option<usize>) {
            self.0.set(position);
        }
        fn position(&self) -> Option<usize> {
            self.0.get()
        }
    }

    #[test]
    fn random_inserts_and_removes_keep_order_and_positions() {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        let mut heap = TimerHeap::new();
        while heap.entries.capacity() < 64 {
            assert!(heap.reserve_more());
            heap.entries.reserve(64);
        }
        let mut live: Vec<(u64, Rc<Key>)> = Vec::new();
        for _ in 0..2_000 {
            if live.len() < 64 && random() % 3 != 0 {
                let (deadline, key) = (random() % 100, Rc::new(Key(Cell::new(None))));
                heap.insert(deadline, key.clone()).unwrap();
                live.push((deadline, key));
            } else if !live.is_empty() {
                let (_, key) = live.swap_remove(random() as usize % live.len());
                assert!(Rc::ptr_eq(&heap.remove(key.position().unwrap()).unwrap(), &key));
                assert_eq!(key.position(), None);
            }
            assert_eq!(heap.next_deadline(), live.iter().map(|entry| entry.0).min());
            for (deadline, key) in &live {
                assert_eq!(heap.entries[key.position().unwrap()].0, *deadline);
            }
        }
    }

    #[test]
    fn only_due_entries_are_popped_and_a_full_heap_refuses() {
        let mut heap = TimerHeap::new();
        assert!(heap.reserve_more());
        let key = || Rc::new(Key(Cell::new(None)));
        while heap.insert(10, key()).is_ok() {}
        assert!(heap.pop_due(9).is_none());
        assert!(heap.pop_due(10).is_some());
        assert!(heap.insert(5, key()).is_ok());
        assert_eq!(heap.next_deadline(), Some(5));
    }
}
