//! A bitmap of physical page frames: one bit a frame, set while the frame is free.

/// Frames of one contiguous range of physical memory, allocated singly or in contiguous runs.
///
/// Single frames are taken from the low end, at a moving hint; runs are searched from the high end, so that
/// they find room when memory is fragmented by single frames.
#[derive(Debug)]
pub struct FrameBitmap<'a> {
    words: &'a mut [u64],
    frames: usize,
    free: usize,
    hint: usize,
}

impl<'a> FrameBitmap<'a> {
    /// Words of bitmap that `frames` frames need.
    pub const fn words_for(frames: usize) -> usize {
        frames.div_ceil(64)
    }

    /// A bitmap in which no frame is free. Frames that `words` has no bits for are left out.
    pub fn new(words: &'a mut [u64], frames: usize) -> Self {
        words.fill(0);
        let frames = frames.min(words.len().saturating_mul(64));
        Self { words, frames, free: 0, hint: 0 }
    }

    /// Number of free frames.
    pub const fn free_frames(&self) -> usize {
        self.free
    }

    /// Whether this frame is free; `false` outside the range.
    pub fn is_free(&self, frame: usize) -> bool {
        frame < self.frames && self.words.get(frame / 64).is_some_and(|word| word & (1 << (frame % 64)) != 0)
    }

    /// Makes `count` frames from `start` on free. Frames outside the range are ignored, and so are those that
    /// are free already: the number that became free is returned.
    pub fn release(&mut self, start: usize, count: usize) -> usize {
        let end = start.saturating_add(count).min(self.frames);
        let mut released = 0;
        let mut frame = start;
        while frame < end {
            let index = frame / 64;
            let bits = (64 - frame % 64).min(end - frame);
            let mask = mask(frame % 64, bits);
            if let Some(word) = self.words.get_mut(index) {
                released += (mask & !*word).count_ones() as usize;
                *word |= mask;
            }
            frame += bits;
        }
        self.free += released;
        self.hint = self.hint.min(start / 64);
        released
    }

    /// Takes one free frame.
    pub fn allocate(&mut self) -> Option<usize> {
        if self.free == 0 {
            return None;
        }
        let index =
            (self.hint..self.words.len()).find(|&index| self.words.get(index).is_some_and(|w| *w != 0))?;
        self.hint = index;
        let word = self.words.get_mut(index)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        self.free -= 1;
        Some(index * 64 + bit)
    }

    /// Takes `count` contiguous frames below `limit`, the first at a multiple of `alignment` frames.
    pub fn allocate_run(&mut self, count: usize, alignment: usize, limit: usize) -> Option<usize> {
        let limit = limit.min(self.frames);
        if count == 0 || alignment == 0 || count > self.free || count > limit {
            return None;
        }
        let mut start = (limit - count) / alignment * alignment;
        loop {
            match self.last_taken(start, count) {
                None => {
                    self.take(start, count);
                    return Some(start);
                }
                // The run has to end at or before the taken frame.
                Some(taken) => start = self.free_end(taken).checked_sub(count)? / alignment * alignment,
            }
        }
    }

    /// The first taken frame of the run, `None` when all are free.
    fn last_taken(&self, start: usize, count: usize) -> Option<usize> {
        let mut frame = start;
        while frame < start + count {
            let bits = (64 - frame % 64).min(start + count - frame);
            let missing = mask(frame % 64, bits) & !self.words.get(frame / 64).copied().unwrap_or(0);
            if missing != 0 {
                return Some(frame / 64 * 64 + missing.trailing_zeros() as usize);
            }
            frame += bits;
        }
        None
    }

    /// Where a free run before a taken frame may end: large taken parts are passed over by the word.
    fn free_end(&self, taken: usize) -> usize {
        let word = |index: usize| self.words.get(index).copied().unwrap_or(0);
        let mut index = taken / 64;
        if word(index) & !(u64::MAX << (taken % 64)) != 0 {
            return taken;
        }
        while index > 0 && word(index - 1) == 0 {
            index -= 1;
        }
        index * 64
    }

    fn take(&mut self, start: usize, count: usize) {
        let mut frame = start;
        while frame < start + count {
            let bits = (64 - frame % 64).min(start + count - frame);
            if let Some(word) = self.words.get_mut(frame / 64) {
                *word &= !mask(frame % 64, bits);
            }
            frame += bits;
        }
        self.free -= count;
    }
}

/// `bits` ones (1 to 64) from bit `first` on.
const fn mask(first: usize, bits: usize) -> u64 {
    (u64::MAX >> (64 - bits)) << first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(words: &mut [u64], frames: usize) -> FrameBitmap<'_> {
        let mut bitmap = FrameBitmap::new(words, frames);
        assert_eq!(bitmap.release(0, frames), frames);
        bitmap
    }

    #[test]
    fn hands_out_every_frame_once() {
        let mut words = [0; 4];
        let mut bitmap = full(&mut words, 200);
        let mut seen = [false; 200];
        while let Some(frame) = bitmap.allocate() {
            assert!(!core::mem::replace(&mut seen[frame], true));
        }
        assert!(seen.iter().all(|&taken| taken));
        assert_eq!(bitmap.free_frames(), 0);
    }

    #[test]
    fn ignores_double_release_and_frames_outside() {
        let mut words = [0; 2];
        let mut bitmap = full(&mut words, 100);
        assert_eq!(bitmap.release(0, 100), 0);
        assert_eq!(bitmap.release(90, usize::MAX), 0);
        assert_eq!(bitmap.free_frames(), 100);
    }

    #[test]
    fn runs_are_aligned_contiguous_and_below_the_limit() {
        let mut words = [0; 8];
        let mut bitmap = full(&mut words, 512);
        let run = bitmap.allocate_run(70, 16, 256).unwrap();
        assert_eq!(run % 16, 0);
        assert!(run + 70 <= 256);
        assert!((run..run + 70).all(|frame| !bitmap.is_free(frame)));
        assert_eq!(bitmap.free_frames(), 512 - 70);
        bitmap.release(run, 70);
        assert_eq!(bitmap.free_frames(), 512);
    }

    #[test]
    fn runs_are_found_below_large_taken_parts() {
        for taken in [1, 63, 64, 65, 400, 447, 448, 449, 502] {
            let mut words = [0; 8];
            let mut bitmap = full(&mut words, 512);
            assert_eq!(bitmap.allocate_run(taken, 1, 512), Some(512 - taken));
            assert_eq!(bitmap.allocate_run(10, 1, 512), Some(512 - taken - 10), "{taken}");
            assert_eq!(bitmap.allocate_run(512, 1, 512), None);
        }
    }

    #[test]
    fn runs_find_the_only_gap() {
        let mut words = [0; 4];
        let mut bitmap = FrameBitmap::new(&mut words, 256);
        bitmap.release(61, 10);
        bitmap.release(100, 3);
        assert_eq!(bitmap.allocate_run(10, 1, 256), Some(61));
        assert_eq!(bitmap.allocate_run(4, 1, 256), None);
        assert_eq!(bitmap.allocate_run(0, 1, 256), None);
        assert_eq!(bitmap.allocate_run(3, 1, 256), Some(100));
    }
}
