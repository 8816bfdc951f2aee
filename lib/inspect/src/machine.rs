//! Inventories of the machine, for who asks for one of them alone.

use crate::{
    MAXIMUM_DEVICES, MAXIMUM_HANDLES, MAXIMUM_PROCESSES, MAXIMUM_PROCESSORS, Observer, answer, decode,
    granted,
};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use capnp::Error;
use schema::{
    device_capnp::BarKind,
    system_capnp::{interrupt_info, system_info},
};

/// Most firmware tables, and most interrupts.
pub const MAXIMUM_ROWS: usize = 256;

/// A firmware table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiTable {
    /// Four characters.
    pub signature: String,
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Of its layout.
    pub revision: u8,
}

/// Registers of a PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Which of the six.
    pub index: usize,
    /// "io", "mem32" or "mem64".
    pub kind: &'static str,
    /// First address or port.
    pub address: u64,
    /// Bytes or ports.
    pub size: u64,
}

/// A PCI function with its registers.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its numbers and owner.
    pub function: decode::PciFunction,
    /// Vendor and number of the board that it is on.
    pub subsystem: (u16, u16),
    /// Revision.
    pub revision: u8,
    /// What it has of the six.
    pub bars: Vec<Bar>,
}

/// An interrupt that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Its vector.
    pub vector: u8,
    /// "line", "MSI" or "MSI-X".
    pub kind: &'static str,
    /// I/O APIC line, for lines.
    pub line: Option<u32>,
    /// Address of the PCI function, if it is one's.
    pub function: Option<u32>,
    /// Which of the function's.
    pub index: u16,
    /// The kernel's number of the object.
    pub object: u64,
    /// The processor that takes it.
    pub processor: u32,
    /// Times that it was signalled.
    pub count: u64,
    /// Times that it came while nobody was bound.
    pub dropped: u64,
}

/// All interrupts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// By vector.
    pub interrupts: Vec<Interrupt>,
    /// Interrupts of vectors that belonged to nobody.
    pub stray: u64,
}

/// The deadlines that one processor looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Its number.
    pub processor: u32,
    /// How many.
    pub armed: u32,
    /// Nanoseconds until the first; `None` without one.
    pub next: Option<u64>,
}

/// Clocks and deadlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// By processor.
    pub deadlines: Vec<Deadlines>,
    /// Ticks of the time stamp counter in a second.
    pub frequency: u64,
}

/// What the schema has for "none" among lines and functions.
const NONE: u32 = u32::MAX;

impl Observer {
    /// The firmware tables.
    ///
    /// Errors: those of `SystemInfo`, a missing grant.
    pub async fn acpi_tables(&self) -> Result<Vec<AcpiTable>, Error> {
        let system = self.system_info()?;
        let (mut tables, mut start) = (Vec::new(), 0);
        loop {
            let mut request = system.acpi_tables_request();
            request.get().set_start(start);
            let response = answer(request).await?;
            let part = response.get()?;
            for table in part.get_tables()? {
                tables.push(AcpiTable {
                    signature: decode::text(table.get_signature()?),
                    address: table.get_address(),
                    length: table.get_length(),
                    revision: table.get_revision(),
                });
            }
            if !goes_on(&mut start, part.get_next(), tables.len(), MAXIMUM_ROWS) {
                return Ok(tables);
            }
        }
    }

    /// The interrupts that are open.
    ///
    /// Errors: those of `SystemInfo`, a missing grant.
    pub async fn interrupts(&self) -> Result<Interrupts, Error> {
        let system = self.system_info()?;
        let (mut all, mut start) = (Interrupts::default(), 0);
        loop {
            let mut request = system.interrupts_request();
            request.get().set_start(start);
            let response = answer(request).await?;
            let part = response.get()?;
            all.stray = part.get_stray();
            all.interrupts.extend(part.get_interrupts()?.iter().map(interrupt));
            if !goes_on(&mut start, part.get_next(), all.interrupts.len(), MAXIMUM_ROWS) {
                return Ok(all);
            }
        }
    }

    /// Clocks and deadlines.
    ///
    /// Errors: those of `SystemInfo`, a missing grant.
    pub async fn timers(&self) -> Result<Timers, Error> {
        let system = self.system_info()?;
        let (mut all, mut start) = (Timers::default(), 0);
        loop {
            let mut request = system.timers_request();
            request.get().set_start(start);
            let response = answer(request).await?;
            let part = response.get()?;
            all.frequency = part.get_counter_frequency();
            let now = part.get_now_nanoseconds();
            for timer in part.get_timers()? {
                let next = Some(timer.get_next_nanoseconds()).filter(|next| *next != u64::MAX);
                all.deadlines.push(Deadlines {
                    processor: timer.get_processor(),
                    armed: timer.get_armed(),
                    next: next.map(|next| next.saturating_sub(now)),
                });
            }
            if !goes_on(&mut start, part.get_next(), all.deadlines.len(), MAXIMUM_PROCESSORS) {
                return Ok(all);
            }
        }
    }

    /// All PCI functions.
    ///
    /// Errors: those of `PciInventory.list`, a missing grant.
    pub async fn functions(&self) -> Result<Vec<Function>, Error> {
        let pci = granted(self.pci())?;
        let (mut functions, mut start) = (Vec::new(), 0);
        loop {
            let mut request = pci.list_request();
            request.get().set_start(start);
            let response = answer(request).await?;
            let part = response.get()?;
            for info in part.get_functions()? {
                let bars = info.get_bars()?.iter().enumerate().take(6).filter_map(|(index, bar)| {
                    let kind = match bar.get_kind() {
                        Ok(BarKind::Io) => "io",
                        Ok(BarKind::Memory32) => "mem32",
                        Ok(BarKind::Memory64) => "mem64",
                        Ok(BarKind::None) | Err(_) => return None,
                    };
                    Some(Bar { index, kind, address: bar.get_address(), size: bar.get_size() })
                });
                functions.push(Function {
                    bars: bars.collect(),
                    subsystem: (info.get_subsystem_vendor(), info.get_subsystem()),
                    revision: info.get_revision(),
                    function: decode::pci_function(info)?,
                });
            }
            if !goes_on(&mut start, part.get_next(), functions.len(), MAXIMUM_DEVICES) {
                return Ok(functions);
            }
        }
    }

    /// Names of all processes by the kernel's number.
    ///
    /// Errors: those of `SystemInfo`, a missing grant.
    pub async fn names(&self) -> Result<BTreeMap<u32, String>, Error> {
        let system = self.system_info()?;
        let (mut names, mut start) = (BTreeMap::new(), 0);
        loop {
            let mut request = system.processes_request();
            request.get().set_start(start);
            let response = answer(request).await?;
            let part = response.get()?;
            for process in part.get_processes()? {
                names.insert(process.get_id(), decode::text(process.get_name()?));
            }
            if !goes_on(&mut start, part.get_next(), names.len(), MAXIMUM_PROCESSES) {
                return Ok(names);
            }
        }
    }

    /// Which process holds each object of a kind, as [`decode::handle`] names kinds; by object and process number.
    ///
    /// Errors: those of `SystemInfo`, a missing grant.
    pub async fn holders(
        &self,
        kind: &str,
        processes: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u64, u32>, Error> {
        let system = self.system_info()?;
        let mut holders = BTreeMap::new();
        for process in processes {
            // It may have ended since it was listed; then it holds nothing.
            let _ = held_by(system, process, kind, &mut holders).await;
        }
        Ok(holders)
    }
}

async fn held_by(
    system: &system_info::Client,
    process: u32,
    kind: &str,
    holders: &mut BTreeMap<u64, u32>,
) -> Result<(), Error> {
    let (mut count, mut start) = (0, 0);
    loop {
        let mut request = system.handles_request();
        request.get().set_process(process);
        request.get().set_start(start);
        let response = answer(request).await?;
        let part = response.get()?;
        for handle in part.get_handles()? {
            count += 1;
            let handle = decode::handle(handle);
            if handle.kind == kind {
                holders.insert(handle.object, process);
            }
        }
        if !goes_on(&mut start, part.get_next(), count, MAXIMUM_HANDLES) {
            return Ok(());
        }
    }
}

/// Whether another part is to be asked for. A server that does not get on is taken to be at its end.
fn goes_on(start: &mut u32, next: u32, count: usize, maximum: usize) -> bool {
    let more = next > *start && count < maximum;
    *start = next;
    more
}

fn interrupt(from: interrupt_info::Reader<'_>) -> Interrupt {
    let there = |number: u32| Some(number).filter(|number| *number != NONE);
    Interrupt {
        vector: from.get_vector(),
        kind: decode::interrupt_kind(from.get_kind()),
        line: there(from.get_line()),
        function: there(from.get_function()),
        index: from.get_index(),
        object: from.get_object(),
        processor: from.get_processor(),
        count: from.get_count(),
        dropped: from.get_dropped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::Builder;
    use schema::device_capnp::InterruptKind;

    #[test]
    fn an_interrupt_is_decoded() {
        let mut message = Builder::new_default();
        let mut info = message.init_root::<interrupt_info::Builder<'_>>();
        info.set_vector(50);
        info.set_kind(InterruptKind::Line);
        info.set_line(4);
        info.set_function(NONE);
        info.set_object(9);
        info.set_count(7);
        let decoded = interrupt(info.into_reader());
        assert_eq!(
            (decoded.vector, decoded.kind, decoded.line, decoded.function),
            (50, "line", Some(4), None)
        );
        assert_eq!((decoded.object, decoded.count), (9, 7));
    }

    #[test]
    fn lists_end() {
        let mut start = 0;
        assert!(goes_on(&mut start, 5, 5, 10));
        assert!(!goes_on(&mut start, 5, 6, 10), "a server that stands still");
        assert!(!goes_on(&mut start, 3, 6, 10), "or goes back");
        assert!(!goes_on(&mut 0, 0, 0, 10));
        assert!(!goes_on(&mut 0, 11, 10, 10));
    }
}
