//! Inventories of the machine that `SystemInfo` shows: firmware tables, interrupts, deadlines.

use crate::arch::cpu;
use crate::error::Error;
use crate::machine::TABLES;
use crate::message::{Answer, Params};
use crate::{interrupts, time};
use schema::system_capnp::system_info;

/// Entries of lists in one answer.
const TABLES_PER_ANSWER: usize = 48;
const INTERRUPTS_PER_ANSWER: usize = 40;
const TIMERS_PER_ANSWER: usize = 64;

/// What stands for "none" among lines and functions.
pub const NONE: u32 = u32::MAX;

/// Serves `SystemInfo.acpiTables`.
pub fn list_acpi_tables(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    let start = params.root::<system_info::acpi_tables_params::Owned>()?.get_start() as usize;
    let tables = TABLES.get().map_or(&[][..], |tables| tables.inventory.as_slice());
    let rest = tables.get(start..).unwrap_or_default();
    let part = rest.get(..TABLES_PER_ANSWER).unwrap_or(rest);
    let mut results = answer.root::<system_info::acpi_tables_results::Owned>()?;
    results.set_next(if part.len() < rest.len() { (start + part.len()) as u32 } else { 0 });
    let mut list = results.init_tables(part.len() as u32);
    for (index, table) in part.iter().enumerate() {
        let mut entry = list.reborrow().get(index as u32);
        // Read as graphic ASCII.
        entry.set_signature(core::str::from_utf8(&table.signature).unwrap_or_default());
        entry.set_address(table.address.0);
        entry.set_length(table.length);
        entry.set_revision(table.revision);
    }
    Ok(())
}

/// Serves `SystemInfo.interrupts`. A cursor is a vector.
pub fn list_interrupts(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    let start = params.root::<system_info::interrupts_params::Owned>()?.get_start();
    let start = u8::try_from(start).unwrap_or(u8::MAX);
    // Each is looked up twice, as no list of references can be kept here; one that comes or goes in between is for the next look.
    let (mut count, mut next) = (0, 0);
    interrupts::for_each(start, |interrupt| {
        if count == INTERRUPTS_PER_ANSWER {
            next = interrupt.vector();
            return false;
        }
        count += 1;
        true
    });
    let mut results = answer.root::<system_info::interrupts_results::Owned>()?;
    results.set_next(next.into());
    results.set_stray(interrupts::stray());
    let mut list = results.init_interrupts(count as u32);
    let mut index = 0;
    interrupts::for_each(start, |interrupt| {
        if index == count as u32 {
            return false;
        }
        interrupt.describe(list.reborrow().get(index));
        index += 1;
        true
    });
    Ok(())
}

/// Serves `SystemInfo.timers`.
pub fn list_timers(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    let start = params.root::<system_info::timers_params::Owned>()?.get_start() as usize;
    let left = cpu::all().skip(start).count();
    let count = left.min(TIMERS_PER_ANSWER);
    let mut results = answer.root::<system_info::timers_results::Owned>()?;
    results.set_next(if count < left { (start + count) as u32 } else { 0 });
    results.set_now_nanoseconds(time::now());
    results.set_counter_frequency(time::frequency());
    let mut list = results.init_timers(count as u32);
    for (index, cpu) in cpu::all().skip(start).take(count).enumerate() {
        let timers = cpu.timers.lock();
        let (armed, next) = (timers.len(), timers.next_deadline());
        drop(timers);
        let mut entry = list.reborrow().get(index as u32);
        entry.set_processor(cpu.index);
        entry.set_armed(u32::try_from(armed).unwrap_or(u32::MAX));
        entry.set_next_nanoseconds(next.unwrap_or(u64::MAX));
    }
    Ok(())
}
