//! Writes the answers to the kernel's requests, as words in bootloader-reclaimable memory.
//!
//! Every structure of the protocol that is used here is a sequence of 64-bit words, except for the tail of a file's
//! description, which stays zero.

use core::fmt;

use crate::{
    HHDM,
    boot_info::{Module, Rsdp},
    memory_map::Entry,
    requests::BaseRevision,
};

/// Words of a file's description: five numbers and addresses, then media type, network address and
/// port, partition, disk id and three UUIDs [LIMINE, file structure].
const FILE_WORDS: usize = 14;

/// Memory that is filled from its start.
pub struct Arena<'a> {
    words: &'a mut [u64],
    used: usize,
    /// Physical address of `words`.
    base: u64,
}

/// There is no room for another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("no room for the answers to the kernel's requests")
    }
}

/// Bytes that hold all answers for a memory map of at most `entries` and `modules` files, with
/// all their texts at their longest.
pub const fn bytes_needed(entries: usize, modules: usize) -> usize {
    let map = entries * 4 * 8;
    let files = modules * (FILE_WORDS * 8 + 8 + 2 * (crate::boot_info::MAXIMUM_TEXT + 8));
    map + files + 4096
}

impl<'a> Arena<'a> {
    /// An arena in memory whose physical address is `base`.
    pub const fn new(words: &'a mut [u64], base: u64) -> Self {
        Self { words, used: 0, base }
    }

    /// Stores words; the kernel will see them at the returned address.
    pub fn words(&mut self, content: &[u64]) -> Result<u64, Full> {
        let end = self.used.checked_add(content.len()).ok_or(Full)?;
        self.words.get_mut(self.used..end).ok_or(Full)?.copy_from_slice(content);
        let address = self.address(self.used);
        self.used = end;
        Ok(address)
    }

    /// Stores a text with a zero behind it.
    pub fn text(&mut self, text: &[u8]) -> Result<u64, Full> {
        let address = self.bytes(text)?;
        if text.len().is_multiple_of(8) {
            self.words(&[0])?;
        }
        Ok(address)
    }

    /// Stores a file's description.
    pub fn file(&mut self, module: &Module) -> Result<u64, Full> {
        let (path, line) = (self.text(&module.path)?, self.text(&module.command_line)?);
        let mut file = [0; FILE_WORDS];
        let head = [0, HHDM + module.range.start, module.range.length(), path, line];
        for (word, value) in file.iter_mut().zip(head) {
            *word = value;
        }
        self.words(&file)
    }

    /// Stores the memory map's answer.
    pub fn memory_map(&mut self, entries: &[Entry]) -> Result<u64, Full> {
        self.list(0, entries, |arena, entry| {
            arena.words(&[entry.range.start, entry.range.length(), entry.kind.limine_type()])
        })
    }

    /// Stores the modules' answer.
    pub fn modules(&mut self, modules: &[Module]) -> Result<u64, Full> {
        self.list(1, modules, Self::file)
    }

    /// Stores the root pointer's answer.
    pub fn rsdp(&mut self, rsdp: &Rsdp, revision: BaseRevision) -> Result<u64, Full> {
        let address = match rsdp {
            Rsdp::At(address) => HHDM + address,
            Rsdp::Copy(bytes) => self.bytes(bytes)?,
        };
        let address = if revision == BaseRevision::Three { address.wrapping_sub(HHDM) } else { address };
        self.words(&[0, address])
    }

    /// Stores the answer of a list: revision, count, and the address of the array of the items' addresses.
    fn list<T>(
        &mut self,
        revision: u64,
        items: &[T],
        mut store: impl FnMut(&mut Self, &T) -> Result<u64, Full>,
    ) -> Result<u64, Full> {
        let first = self.used;
        let end = first.checked_add(items.len()).ok_or(Full)?;
        self.words.get(first..end).ok_or(Full)?;
        self.used = end;
        for (place, item) in (first..end).zip(items) {
            let address = store(self, item)?;
            *self.words.get_mut(place).ok_or(Full)? = address;
        }
        self.words(&[revision, items.len() as u64, self.address(first)])
    }

    /// Where the kernel will see a word.
    const fn address(&self, word: usize) -> u64 {
        HHDM.wrapping_add(self.base).wrapping_add(word as u64 * 8)
    }

    /// Stores bytes, padded with zeros to whole words.
    fn bytes(&mut self, bytes: &[u8]) -> Result<u64, Full> {
        let address = self.address(self.used);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.words(&[u64::from_le_bytes(word)])?;
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests;
