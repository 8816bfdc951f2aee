//! The memory map: page-aligned, sorted, without overlaps.

use core::fmt;

use arrayvec::ArrayVec;

use crate::PAGE_SIZE;

/// Ranges that can be added.
const MAXIMUM_RANGES: usize = 160;

/// Entries that the finished map can have: each range has two ends.
pub const MAXIMUM_ENTRIES: usize = 2 * MAXIMUM_RANGES;

/// A range of physical addresses, `end` not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
}

impl Range {
    /// Length in bytes; 0 for a range that ends before it starts.
    pub const fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the two have an address in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether `other` lies wholly inside.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The whole pages that it touches.
    pub const fn outward(self) -> Self {
        let end = self.end.checked_next_multiple_of(PAGE_SIZE);
        Self {
            start: page_down(self.start),
            end: if let Some(end) = end { end } else { page_down(u64::MAX) },
        }
    }

    /// The whole pages that lie in it.
    const fn inward(self) -> Self {
        let start = self.start.checked_next_multiple_of(PAGE_SIZE);
        Self { start: if let Some(start) = start { start } else { u64::MAX }, end: page_down(self.end) }
    }
}

/// The page boundary at or below an address.
const fn page_down(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

/// What a range is for. Where ranges overlap, the later kind of this list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Free memory.
    Usable,
    /// The loader, its page tables and its answers.
    BootloaderReclaimable,
    /// The kernel and the modules.
    ExecutableAndModules,
    /// ACPI tables, free once they were read.
    AcpiReclaimable,
    /// Memory that the firmware keeps across sleep.
    AcpiNvs,
    /// Not memory, or the firmware's.
    Reserved,
    /// Memory with faults.
    BadMemory,
}

impl Kind {
    /// The number of the kind in the Limine protocol [LIMINE, memory map feature].
    pub const fn limine_type(self) -> u64 {
        match self {
            Self::Usable => 0,
            Self::Reserved => 1,
            Self::AcpiReclaimable => 2,
            Self::AcpiNvs => 3,
            Self::BadMemory => 4,
            Self::BootloaderReclaimable => 5,
            Self::ExecutableAndModules => 6,
        }
    }
}

/// One range and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which addresses.
    pub range: Range,
    /// What for.
    pub kind: Kind,
}

/// A list of finished entries.
pub type Entries = ArrayVec<Entry, MAXIMUM_ENTRIES>;

/// Ranges as they were told, in any order and with overlaps.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    ranges: ArrayVec<Entry, MAXIMUM_RANGES>,
}

/// There is no room for another range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the memory map has too many entries")
    }
}

impl MemoryMap {
    /// A map of nothing.
    pub const fn new() -> Self {
        Self { ranges: ArrayVec::new_const() }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a range; free memory is rounded to the pages inside it, everything else to those that it touches.
    pub fn add(&mut self, range: Range, kind: Kind) -> Result<(), Full> {
        let range = if kind == Kind::Usable { range.inward() } else { range.outward() };
        if range.length() == 0 {
            return Ok(());
        }
        self.ranges.try_push(Entry { range, kind }).map_err(|_| Full)
    }

    /// End of the highest range that is memory.
    pub fn memory_end(&self) -> u64 {
        let memory = |entry: &&Entry| !matches!(entry.kind, Kind::Reserved | Kind::BadMemory);
        self.ranges.iter().filter(memory).map(|entry| entry.range.end).max().unwrap_or(0)
    }

    /// Resolves the overlaps and merges neighbours of one kind.
    pub fn finish(&self) -> Entries {
        let mut bounds: ArrayVec<u64, MAXIMUM_ENTRIES> =
            self.ranges.iter().flat_map(|entry| [entry.range.start, entry.range.end]).collect();
        bounds.sort_unstable();
        let mut entries = Entries::new();
        for pair in bounds.windows(2) {
            let &[start, end] = pair else { continue };
            let Some(kind) = self.kind_of(Range { start, end }) else { continue };
            match entries.last_mut() {
                Some(last) if last.kind == kind && last.range.end == start => last.range.end = end,
                // Cannot be full: there are fewer pairs than bounds.
                _ => drop(entries.try_push(Entry { range: Range { start, end }, kind })),
            }
        }
        entries
    }

    /// The first free range of `length` bytes inside `window`.
    pub fn find_free(&self, length: u64, window: Range) -> Option<Range> {
        self.finish().iter().filter(|entry| entry.kind == Kind::Usable).find_map(|entry| {
            let start = entry.range.start.max(window.start);
            let end = start.checked_add(length)?;
            (end <= entry.range.end.min(window.end)).then_some(Range { start, end })
        })
    }

    /// The strongest kind that covers a range which no bound divides.
    fn kind_of(&self, range: Range) -> Option<Kind> {
        if range.length() == 0 {
            return None;
        }
        self.ranges.iter().filter(|entry| entry.range.contains(range)).map(|entry| entry.kind).max()
    }
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u64, u64, Kind)]) -> MemoryMap {
        let mut map = MemoryMap::new();
        for (start, end, kind) in ranges {
            map.add(Range { start: *start, end: *end }, *kind).expect("room");
        }
        map
    }

    fn list(map: &MemoryMap) -> Vec<(u64, u64, Kind)> {
        map.finish().iter().map(|entry| (entry.range.start, entry.range.end, entry.kind)).collect()
    }

    #[test]
    fn rounds_free_memory_inward_and_the_rest_outward() {
        let map = map(&[(0, 0x9fc00, Kind::Usable), (0x9fc00, 0xa0000, Kind::Reserved)]);
        assert_eq!(list(&map), [(0, 0x9f000, Kind::Usable), (0x9f000, 0xa0000, Kind::Reserved)]);
    }

    #[test]
    fn the_stronger_kind_wins_and_splits() {
        let map = map(&[
            (0x0, 0x10000, Kind::Usable),
            (0x4000, 0x6000, Kind::ExecutableAndModules),
            (0x5000, 0x7000, Kind::Reserved),
        ]);
        assert_eq!(
            list(&map),
            [
                (0, 0x4000, Kind::Usable),
                (0x4000, 0x5000, Kind::ExecutableAndModules),
                (0x5000, 0x7000, Kind::Reserved),
                (0x7000, 0x10000, Kind::Usable),
            ]
        );
    }

    #[test]
    fn merges_neighbours_in_any_order() {
        let map = map(&[
            (0x3000, 0x5000, Kind::Usable),
            (0x1000, 0x3000, Kind::Usable),
            (0x2000, 0x4000, Kind::Usable),
        ]);
        assert_eq!(list(&map), [(0x1000, 0x5000, Kind::Usable)]);
    }

    #[test]
    fn survives_ranges_at_the_end_of_the_address_space() {
        let map = map(&[(u64::MAX - 10, u64::MAX, Kind::Reserved), (u64::MAX - 10, u64::MAX, Kind::Usable)]);
        assert_eq!(list(&map), [], "less than a page is left of both");
    }

    #[test]
    fn finds_free_memory_around_what_is_taken() {
        let map = map(&[(0, 0x80000, Kind::Usable), (0x11000, 0x12000, Kind::BootloaderReclaimable)]);
        let window = Range { start: 0x10000, end: 0x100000 };
        assert_eq!(map.find_free(0x1000, window), Some(Range { start: 0x10000, end: 0x11000 }));
        assert_eq!(map.find_free(0x2000, window), Some(Range { start: 0x12000, end: 0x14000 }));
        assert_eq!(map.find_free(0x70000, window), None);
    }

    #[test]
    fn says_when_it_is_full() {
        let mut map = MemoryMap::new();
        let range = Range { start: 0, end: 0x1000 };
        for _ in 0..MAXIMUM_RANGES {
            map.add(range, Kind::Usable).expect("room");
        }
        assert_eq!(map.add(range, Kind::Usable), Err(Full));
    }
}
