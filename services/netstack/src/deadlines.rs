//! The next deadline of each of a fixed number of slots, and the earliest of all.

use alloc::{vec, vec::Vec};
use core::time::Duration;

/// Place of a slot that has no deadline.
const NOWHERE: u16 = u16::MAX;

/// A binary heap of the slots that have a deadline, earliest first, which knows each slot's place. So a change costs
/// the height of a heap of those only, and few have one at a time.
///
/// ```text
///   heap:    [ 10 ms, slot 3 ][ 15 ms, slot 0 ][ 1 s, slot 7 ]     each entry is no later than those at 2i+1 and 2i+2
///   places:  slot 0 -> 1, slot 3 -> 0, slot 7 -> 2, all others -> nowhere
/// ```
pub struct Deadlines {
    heap: Vec<Entry>,
    places: Vec<u16>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Microseconds.
    at: u64,
    slot: u16,
}

impl Deadlines {
    /// Makes one for `slots` slots (at most 65535), without any deadline.
    pub fn new(slots: usize) -> Self {
        Self { heap: Vec::with_capacity(slots), places: vec![NOWHERE; slots.min(NOWHERE.into())] }
    }

    /// Sets or clears the deadline of one slot. A slot out of range is ignored.
    pub fn set(&mut self, slot: usize, deadline: Option<Duration>) {
        let Some(&place) = self.places.get(slot) else { return };
        let at = deadline.map(microseconds);
        match (at, place) {
            (None, NOWHERE) => {}
            (None, place) => self.remove(place.into()),
            (Some(at), NOWHERE) => {
                // Slots are fewer than 65536, and each is in the heap at most once.
                let entry = Entry { at, slot: slot as u16 };
                self.heap.push(entry);
                self.rise(self.heap.len() - 1, entry);
            }
            (Some(at), place) => self.replace(place.into(), Entry { at, slot: slot as u16 }),
        }
    }

    /// The deadline of one slot.
    pub fn get(&self, slot: usize) -> Option<Duration> {
        let place = usize::from(*self.places.get(slot)?);
        Some(Duration::from_micros(self.heap.get(place)?.at))
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.heap.first()?.at))
    }

    /// Takes one slot whose deadline has come by `now`, and clears it.
    pub fn take_due(&mut self, now: Duration) -> Option<usize> {
        let first = *self.heap.first()?;
        if first.at > microseconds(now) {
            return None;
        }
        self.remove(0);
        Some(first.slot.into())
    }

    /// Takes the entry at a place out: the last one comes in its stead.
    fn remove(&mut self, place: usize) {
        let Some(last) = self.heap.pop() else { return };
        if let Some(removed) = self.heap.get(place) {
            self.places[usize::from(removed.slot)] = NOWHERE;
            self.replace(place, last);
        } else {
            self.places[usize::from(last.slot)] = NOWHERE;
        }
    }

    /// Puts an entry in the stead of the one at a place, and moves it to where it belongs.
    fn replace(&mut self, place: usize, entry: Entry) {
        if entry.at < self.heap[place].at { self.rise(place, entry) } else { self.sink(place, entry) }
    }

    /// Moves an entry from a place towards the front.
    fn rise(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].at <= entry.at {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    /// Moves an entry from a place towards the back.
    fn sink(&mut self, mut place: usize, entry: Entry) {
        loop {
            let left = place * 2 + 1;
            let Some(child) = (left..left + 2)
                .filter(|child| *child < self.heap.len())
                .min_by_key(|child| self.heap[*child].at)
            else {
                break;
            };
            if self.heap[child].at >= entry.at {
                break;
            }
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, entry);
    }

    /// Writes an entry to a place of the heap. All places and slots in here come from the heap itself.
    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[usize::from(entry.slot)] = place as u16;
    }
}

fn microseconds(time: Duration) -> u64 {
    // Saturates after half a million years.
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
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
        assert_eq!((deadlines.get(0), deadlines.get(1)), (Some(MS(30)), None));
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
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (random >> 33) as usize % 100;
            let deadline = (random & 0x30 != 0).then(|| MS(random >> 50));
            deadlines.set(slot, deadline);
            plain[slot] = deadline;
            if random & 0xf00 == 0 {
                let taken = deadlines.take_due(MS(1 << 13));
                let due = taken.map(|slot| plain[slot].take().unwrap());
                assert!(due.is_none_or(|due| plain.iter().flatten().all(|other| *other >= due)));
                assert_eq!(taken.is_none(), plain.iter().flatten().all(|other| *other > MS(1 << 13)));
            }
            assert_eq!(deadlines.earliest(), plain.iter().flatten().min().copied());
            assert_eq!(deadlines.get(slot), plain[slot]);
        }
    }

    #[test]
    fn a_slot_out_of_range_changes_nothing() {
        let mut deadlines = Deadlines::new(2);
        deadlines.set(7, Some(MS(1)));
        assert_eq!((deadlines.earliest(), deadlines.get(7)), (None, None));
    }
}
