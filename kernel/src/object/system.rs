//! LogWriter and KernelLog, SystemInfo, Power: objects without state of their own.

use super::{Object, inventory, process};
use crate::arch::{cpu, processors};
use crate::error::Error;
use crate::machine::{DESCRIPTION, POWER};
use crate::memory::frames;
use crate::message::{Answer, Params};
use crate::{iommu, log_sink, time};
use capnp::traits::HasTypeId;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use schema::system_capnp::{kernel_log, log_writer, power, system_info};

/// Longest line of a log writer in bytes; more is cut.
const MAXIMUM_LINE: usize = 1024;
/// Bytes of log in one answer.
const LOG_PER_ANSWER: usize = 3072;
/// Entries of lists in one answer.
const PROCESSES_PER_ANSWER: u32 = 20;
const HANDLES_PER_ANSWER: usize = 64;
const PROCESSORS_PER_ANSWER: usize = 64;

/// Text of a user's with its control characters replaced.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            formatter.write_char(if character.is_control() { '\u{fffd}' } else { character })?;
        }
        Ok(())
    }
}

fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Serves `LogWriter`.
pub fn invoke_log_writer(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(log_writer::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let text = params.root::<log_writer::write_params::Owned>()?.get_text()?;
            let text = text.to_str().map_err(|_| Error::failed("the text is not UTF-8"))?;
            let text = cut(text.trim_end_matches('\n'), MAXIMUM_LINE);
            log_sink::write_line(params.caller().process.name(), format_args!("{}", Printable(text)));
            answer.root::<log_writer::write_results::Owned>()?;
            Ok(())
        }
        _ => Err(Error::NO_METHOD),
    }
}

/// Serves `KernelLog`.
pub fn invoke_kernel_log(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(kernel_log::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let cursor = params.root::<kernel_log::read_params::Owned>()?.get_cursor();
            let mut buffer = [0; LOG_PER_ANSWER];
            let read = log_sink::read(cursor, &mut buffer);
            let bytes = buffer.get(..read.length).unwrap_or_default();
            // The ring holds UTF-8; only a line that was cut in two can begin or end inside a character.
            let valid = core::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
            let text =
                bytes.get(..valid).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default();
            let mut results = answer.root::<kernel_log::read_results::Owned>()?;
            results.set_text(text);
            results.set_next(read.next);
            results.set_lost(read.lost);
            Ok(())
        }
        1 => {
            let Object::Signaller(signaller) = params.capability(0)? else { return Err(Error::WRONG_OBJECT) };
            log_sink::follow(signaller)?;
            answer.root::<kernel_log::follow_results::Owned>()?;
            Ok(())
        }
        _ => Err(Error::NO_METHOD),
    }
}

/// Serves `SystemInfo`.
pub fn invoke_system_info(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(system_info::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let mut summary = answer.root::<system_info::summary_results::Owned>()?;
            summary.set_version(crate::VERSION);
            summary.set_commit(crate::COMMIT);
            if let Some(description) = DESCRIPTION.get() {
                summary.set_boot_loader(cut(description.boot_loader, 128));
                summary.set_clock_source(description.clock_source);
                summary.set_machine(description.processor.as_str());
            }
            summary.set_processors(cpu::all().count() as u32);
            summary.set_memory_frames(frames::total() as u64);
            summary.set_free_frames(frames::free() as u64);
            summary.set_uptime_nanoseconds(time::now());
            summary.set_clock_event(processors::timer_name());
            summary.set_dma_mode(iommu::mode());
            iommu::look();
            summary.set_interrupt_mode(iommu::interrupt_mode());
            summary.set_dma_faults(iommu::dma_faults());
            summary.set_interrupt_faults(iommu::interrupt_faults());
            let mut charged = 0;
            process::for_each(0, |process| {
                charged += u64::from(process.account.frames()) + u64::from(process.account.dma_pages());
                true
            });
            summary
                .set_kernel_frames((frames::total() as u64).saturating_sub(frames::free() as u64 + charged));
        }
        1 => list_processes(params, answer)?,
        2 => list_handles(params, answer)?,
        3 => list_processors(params, answer)?,
        4 => inventory::list_acpi_tables(params, answer)?,
        5 => inventory::list_interrupts(params, answer)?,
        6 => inventory::list_timers(params, answer)?,
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

fn list_processes(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    let start = params.root::<system_info::processes_params::Owned>()?.get_start();
    let (mut count, mut next) = (0, 0);
    process::for_each(start, |process| {
        if count == PROCESSES_PER_ANSWER {
            next = process.id;
            return false;
        }
        count += 1;
        true
    });
    let mut results = answer.root::<system_info::processes_results::Owned>()?;
    results.set_next(next);
    let mut list = results.init_processes(count);
    let mut index = 0;
    process::for_each(start, |process| {
        if index == count {
            return false;
        }
        let mut entry = list.reborrow().get(index);
        entry.set_id(process.id);
        entry.set_name(process.name());
        entry.set_cause(process.exit().cause);
        process.write_usage(entry.reborrow().init_usage());
        process.write_quota(entry.init_quota());
        index += 1;
        true
    });
    Ok(())
}

fn list_handles(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    let request = params.root::<system_info::handles_params::Owned>()?;
    let process = process::find(request.get_process()).ok_or(Error::failed("there is no such process"))?;
    let handles = process.handles.lock();
    let start = request.get_start() as usize;
    let part = || handles.iter_from(start).take(HANDLES_PER_ANSWER);
    let last = part().last().map_or(0, |(handle, _)| abi::handle_index(handle) + 1);
    let more = handles.iter_from(last.max(start)).next().is_some() && last > 0;
    let mut results = answer.root::<system_info::handles_results::Owned>()?;
    results.set_next(if more { last as u32 } else { 0 });
    let mut list = results.init_handles(part().count() as u32);
    for (index, (handle, object)) in part().enumerate() {
        object.describe().write(handle, list.reborrow().get(index as u32));
    }
    Ok(())
}

fn list_processors(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    let start = params.root::<system_info::processors_params::Owned>()?.get_start() as usize;
    let count = cpu::all().skip(start).take(PROCESSORS_PER_ANSWER).count();
    let results = answer.root::<system_info::processors_results::Owned>()?;
    let mut list = results.init_processors(count as u32);
    let now = time::ticks();
    for (index, cpu) in cpu::all().skip(start).take(count).enumerate() {
        let mut entry = list.reborrow().get(index as u32);
        entry.set_index(cpu.index);
        entry.set_apic_id(cpu.apic_id);
        // A processor that nothing wakes has been idle too.
        let before = cpu.idle_time.load(Ordering::Acquire);
        let present = match cpu.idle_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        entry.set_idle_nanoseconds(time::ticks_to_nanoseconds(before + present));
        entry.set_interrupts(cpu.interrupts.load(Ordering::Relaxed));
    }
    Ok(())
}

/// Writes what a driver has not yet written of the log, now that it never will.
fn last_line() {
    // SAFETY: the other processors have stopped, and this one ends the machine next.
    unsafe { log_sink::write_in_panic(format_args!("")) };
}

/// Serves `Power`.
pub fn invoke_power(params: &Params, _answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(power::Client::TYPE_ID)?;
    let caller = params.caller().process.name();
    match params.method() {
        0 => {
            log::info!("reboot asked for by {caller}");
            // The machine ends, whether they have stopped or not.
            let _ = processors::stop_others();
            last_line();
            if let Some(power) = POWER.get() {
                // SAFETY: the other processors have stopped, and losing the system's state is what was asked for.
                unsafe { power.reboot() }
            }
            processors::stop_here()
        }
        1 => {
            log::info!("halt asked for by {caller}");
            // The machine ends, whether they have stopped or not.
            let _ = processors::stop_others();
            last_line();
            if let Some(power) = POWER.get() {
                // SAFETY: as above.
                unsafe { power.power_off() };
            }
            // SAFETY: the other processors have stopped, and this one does nothing else any more.
            unsafe {
                log_sink::write_in_panic(format_args!(
                    "the machine does not switch off; all processors stopped\n"
                ))
            };
            processors::stop_here()
        }
        _ => Err(Error::NO_METHOD),
    }
}
