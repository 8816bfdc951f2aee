//! Which sockets are to be served: those with news, those whose time has come, and those that wait for the NIC or a neighbour.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::time::Duration;

use crate::deadlines::Deadlines;

/// In the queue.
const QUEUED: u8 = 1;
/// Waits for a send buffer or a NIC.
const PARKED: u8 = 2;
/// May wait for a neighbour's hardware address.
const STALLED: u8 = 4;

/// How far off a time must be to be left standing when it moves away.
const LAZY: Duration = Duration::from_millis(100);

/// The work of a fixed number of items, by index. Each is in each list at most once, so nothing grows.
pub struct Work {
    queue: VecDeque<usize>,
    parked: Vec<usize>,
    stalled: Vec<usize>,
    marks: Vec<u8>,
    deadlines: Deadlines,
}

impl Work {
    /// No work, for items 0 to `items` - 1.
    pub fn new(items: usize) -> Self {
        Self {
            queue: VecDeque::with_capacity(items),
            parked: Vec::with_capacity(items),
            stalled: Vec::with_capacity(items),
            marks: vec![0; items],
            deadlines: Deadlines::new(items),
        }
    }

    /// Queues an item, unless it is queued already.
    #[inline]
    pub fn add(&mut self, item: usize) {
        if self.mark(item, QUEUED) {
            self.queue.push_back(item);
        }
    }

    /// Queues every item.
    pub fn add_all(&mut self) {
        for item in 0..self.marks.len() {
            self.add(item);
        }
    }

    /// Sets or clears the time at which an item is queued by itself. An earlier time that is still a while off is left to
    /// come: retransmission times move with each ACK, and being queued once too often now and then costs less.
    #[inline]
    pub fn set_deadline(&mut self, item: usize, deadline: Option<Duration>, now: Duration) {
        if let Some(set) = self.deadlines.get(item)
            && set > now + LAZY
            && deadline.is_none_or(|deadline| deadline > set)
        {
            return;
        }
        self.deadlines.set(item, deadline);
    }

    /// Clears the time at which an item is queued by itself.
    pub fn clear_deadline(&mut self, item: usize) {
        self.deadlines.set(item, None);
    }

    /// Notes that an item waits until the NIC has room.
    pub fn park(&mut self, item: usize) {
        if self.mark(item, PARKED) {
            self.parked.push(item);
        }
    }

    /// Notes that an item could not send, probably because its neighbour is not known yet.
    pub fn stall(&mut self, item: usize) {
        if self.mark(item, STALLED) {
            self.stalled.push(item);
        }
    }

    /// Whether some item waits until the NIC has room.
    pub fn is_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Queues all items that wait for the NIC.
    pub fn unpark(&mut self) {
        while let Some(item) = self.parked.pop() {
            self.clear(item, PARKED);
            self.add(item);
        }
    }

    /// Queues all items that may wait for a neighbour.
    pub fn unstall(&mut self) {
        while let Some(item) = self.stalled.pop() {
            self.clear(item, STALLED);
            self.add(item);
        }
    }

    /// Queues all items whose time has come.
    pub fn add_due(&mut self, now: Duration) {
        while let Some(item) = self.deadlines.take_due(now) {
            // The tree may have more leaves than there are items, but none beyond is ever set.
            self.add(item);
        }
    }

    /// Takes the next item out of the queue.
    pub fn next(&mut self) -> Option<usize> {
        let item = self.queue.pop_front()?;
        self.clear(item, QUEUED);
        Some(item)
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The earliest time at which an item is queued by itself.
    pub fn earliest(&self) -> Option<Duration> {
        self.deadlines.earliest()
    }

    /// Sets a mark; false when it was set, or there is no such item.
    fn mark(&mut self, item: usize, mark: u8) -> bool {
        match self.marks.get_mut(item) {
            Some(marks) if *marks & mark == 0 => {
                *marks |= mark;
                true
            }
            _ => false,
        }
    }

    fn clear(&mut self, item: usize, mark: u8) {
        if let Some(marks) = self.marks.get_mut(item) {
            *marks &= !mark;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_deadlines_move_only_closer() {
        let at = Duration::from_millis;
        let mut work = Work::new(1);
        for (deadline, earliest) in [
            (Some(1000), 1000),
            (Some(1200), 1000),
            (None, 1000),
            (Some(500), 500),
            (Some(50), 50),
            (Some(300), 300),
        ] {
            work.set_deadline(0, deadline.map(at), Duration::ZERO);
            assert_eq!(work.earliest(), Some(at(earliest)), "{deadline:?}");
        }
        work.clear_deadline(0);
        assert_eq!(work.earliest(), None);
    }

    #[test]
    fn each_item_is_queued_once() {
        let mut work = Work::new(4);
        work.add(1);
        work.park(1);
        work.park(1);
        work.stall(1);
        work.set_deadline(1, Some(Duration::from_secs(1)), Duration::ZERO);
        work.unpark();
        work.unstall();
        work.add_due(Duration::from_secs(1));
        work.add(9);
        assert_eq!(work.next(), Some(1));
        assert_eq!(work.next(), None);
        assert!(!work.is_parked() && work.earliest().is_none());
        work.add_all();
        assert_eq!(core::iter::from_fn(|| work.next()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
