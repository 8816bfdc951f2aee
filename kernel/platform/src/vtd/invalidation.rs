//! Descriptors of the invalidation queue. [VT-d-4.1 6.5.2]

use super::interrupt;

/// What caches must forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalidation {
    /// All context entries.
    Contexts,
    /// The context entries of a domain.
    ContextsOf(u16),
    /// All translations.
    Translations,
    /// The translations of a domain.
    TranslationsOf(u16),
    /// All interrupt entries.
    Interrupts,
    /// One interrupt entry.
    Interrupt(u16),
}

const TYPE_CONTEXT: u64 = 1;
const TYPE_TRANSLATION: u64 = 2;
const TYPE_INTERRUPT: u64 = 4;
const TYPE_WAIT: u64 = 5;

const GLOBAL: u64 = 0b01 << 4;
const DOMAIN: u64 = 0b10 << 4;
const ONE_INTERRUPT: u64 = 1 << 4;

/// A wait descriptor writes its status word, and only after all that came before it is done.
const STATUS_WRITE: u64 = 1 << 5;
const FENCE: u64 = 1 << 6;

impl Invalidation {
    /// The descriptor. `drain` is what the unit can do to let requests on their way finish.
    pub(super) const fn descriptor(self, drain: u64) -> [u64; 2] {
        let low = match self {
            Self::Contexts => TYPE_CONTEXT | GLOBAL,
            Self::ContextsOf(domain) => TYPE_CONTEXT | DOMAIN | (domain as u64) << 16,
            Self::Translations => TYPE_TRANSLATION | GLOBAL | drain,
            Self::TranslationsOf(domain) => TYPE_TRANSLATION | DOMAIN | drain | (domain as u64) << 16,
            Self::Interrupts => TYPE_INTERRUPT,
            Self::Interrupt(index) => TYPE_INTERRUPT | ONE_INTERRUPT | (index as u64) << 32,
        };
        [low, 0]
    }
}

/// The descriptor that writes `status` to an address when all before it are done.
pub(super) const fn wait(status: u32, address: u64) -> [u64; 2] {
    [TYPE_WAIT | STATUS_WRITE | FENCE | (status as u64) << 32, address]
}

/// Entries of the interrupt table: one page, so one for each vector.
pub(super) const INTERRUPT_ENTRIES: u16 = 256;

/// What the interrupt table's register holds beside the address: the size, as an exponent less one, and the mode.
/// [VT-d-4.1 11.4.23.1]
pub(super) const fn interrupt_table_bits(extended: interrupt::Extended) -> u64 {
    const SIZE_256: u64 = 7;
    const EXTENDED: u64 = 1 << 11;
    match extended {
        interrupt::Extended::Off => SIZE_256,
        interrupt::Extended::On => SIZE_256 | EXTENDED,
    }
}
