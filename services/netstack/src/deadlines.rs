//! The next deadline of each of a fixed number of slots, and the earliest of all.

use alloc::{vec, vec::Vec};
use core::time::Duration;

/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

/// A tournament tree: the leaves are the slots' deadlines in microseconds, each node is the earlier of its two
/// children. Changing one costs the tree's height, reading the earliest costs nothing.
///
/// ```text
///              [1] earliest of all
///          [2]             [3]
///       [4]   [5]       [6]   [7]      <- leaves: slot i is node `leaves + i`
/// ```
pub struct Deadlines {
    nodes: Vec<u64>,
    leaves: usize,
}

impl Deadlines {
    /// Makes one for `slots` slots, without any deadline.
    pub fn new(slots: usize) -> Self {
        let leaves = slots.next_power_of_two().max(2);
        Self { nodes: vec![NEVER; leaves * 2], leaves }
    }

    /// Sets or clears the deadline of one slot. A slot out of range is ignored.
    pub fn set(&mut self, slot: usize, deadline: Option<Duration>) {
        let value = deadline.map_or(NEVER, |time| u64::try_from(time.as_micros()).unwrap_or(NEVER));
        if slot >= self.leaves {
            return;
        }
        let mut node = self.leaves + slot;
        if self.node(node) == value {
            return;
        }
        self.nodes[node] = value;
        while node > 1 {
            node /= 2;
            let earlier = self.node(node * 2).min(self.node(node * 2 + 1));
            if self.node(node) == earlier {
                return;
            }
            self.nodes[node] = earlier;
        }
    }

    /// The deadline of one slot.
    pub fn get(&self, slot: usize) -> Option<Duration> {
        let deadline = *self.nodes.get(self.leaves + slot)?;
        (deadline != NEVER).then(|| Duration::from_micros(deadline))
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<Duration> {
        let earliest = self.node(1);
        (earliest != NEVER).then(|| Duration::from_micros(earliest))
    }

    /// Takes one slot whose deadline has come by `now`, and clears it.
    pub fn take_due(&mut self, now: Duration) -> Option<usize> {
        let now = u64::try_from(now.as_micros()).unwrap_or(NEVER);
        if self.node(1) == NEVER || self.node(1) > now {
            return None;
        }
        let mut node = 1;
        while node < self.leaves {
            node *= 2;
            if self.node(node) > now {
                node += 1;
            }
        }
        let slot = node - self.leaves;
        self.set(slot, None);
        Some(slot)
    }

    /// A node's value. Nodes are numbered from 1 below twice the leaves, which the vector holds.
    fn node(&self, index: usize) -> u64 {
        self.nodes[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn gives_slots_in_order_of_their_deadlines() {
        let mut deadlines = Deadlines::new(5);
        for (slot, at) in [(0, 30), (1, 10), (2, 20), (4, 10)] {
            deadlines.set(slot, Some(MS(at)));
        }
        assert_eq!(deadlines.earliest(), Some(MS(10)));
        assert_eq!(deadlines.take_due(MS(9)), None);
        let mut due: Vec<_> = core::iter::from_fn(|| deadlines.take_due(MS(20))).collect();
        due.sort_unstable();
        assert_eq!(due, [1, 2, 4]);
        assert_eq!(deadlines.earliest(), Some(MS(30)));
        deadlines.set(0, None);
        assert_eq!(deadlines.earliest(), None);
        assert_eq!(deadlines.take_due(Duration::MAX), None);
    }

    #[test]
    fn agrees_with_a_plain_search() {
        let mut deadlines = Deadlines::new(100);
        let mut plain = [None; 100];
        let mut random = 1u64;
        for _ in 0..5000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (random >> 33) as usize % 100;
            let deadline = (random & 0x30 != 0).then(|| MS(random >> 50));
            deadlines.set(slot, deadline);
            plain[slot] = deadline;
            assert_eq!(deadlines.earliest(), plain.iter().flatten().min().copied());
        }
    }

    #[test]
    fn a_slot_out_of_range_changes_nothing() {
        let mut deadlines = Deadlines::new(2);
        deadlines.set(7, Some(MS(1)));
        assert_eq!(deadlines.earliest(), None);
    }
}
