//! Starting the other processors, one at a time: INIT, start-up interrupts, and a trampoline from real mode into the kernel.
//! [SDM vol. 3A, 9.4]
//!
//! ```text
//!  running processor                        started processor
//!  prepare the trampoline's pages
//!  INIT, wait                               waits for start-up
//!  start-up interrupt  -------------------> real mode, page of the trampoline
//!                                           long mode by the trampoline's own page tables
//!                                           right processor, and the first? else stops
//!                                           entry stub in the kernel's text: kernel's page tables, stack
//!  sees the acknowledgement <-------------- acknowledges
//!  may reuse the pages                      entry(argument)
//! ```
//!
//! The trampoline has page tables of its own, which map its code page where it is and the page of the entry stub where the kernel
//! has it. So the kernel's page tables may lie above 4 GiB and never hold a page that is writable and executable.

mod tables;
#[cfg(test)]
mod tests;
mod trampoline;

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crate::address::{ApicId, PhysicalAddress};
use crate::clock::{ClockRates, Deadline, wait};
use crate::local_apic::LocalApic;
use crate::processor::{Features, ProcessorInfo};
use trampoline::Parameters;

/// Pages that [`TrampolineMemory`] takes.
pub const TRAMPOLINE_PAGES: usize = 8;

const PAGE: u64 = 4096;
const LOW_MEMORY_END: u64 = 0xa_0000;

/// Time between INIT and the first start-up interrupt that discrete APICs and old processors need. Under a hypervisor, none.
const INIT_DELAY: Duration = Duration::from_millis(10);
/// Time until a second start-up interrupt is sent, which real machines may need. [SDM 9.4.4.1]
const SECOND_START_AFTER: Duration = Duration::from_millis(1);
/// Time until the processor is given up. Generous: a host may run it late.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(500);

/// Low memory through which processors start: [`TRAMPOLINE_PAGES`] pages in a row, below 640 KiB.
#[derive(Debug)]
pub struct TrampolineMemory {
    physical: u64,
    pointer: NonNull<u8>,
}

// SAFETY: the value owns the memory it points to.
unsafe impl Send for TrampolineMemory {}

impl TrampolineMemory {
    /// Takes the pages at `physical`; `None` when they are not whole pages between 4 KiB and 640 KiB.
    ///
    /// # Safety
    /// `pointer` is a mapping of RAM at `physical` that can be read and written as long as the value lives, and
    /// nothing else uses that RAM.
    pub unsafe fn new(physical: PhysicalAddress, pointer: NonNull<u8>) -> Option<Self> {
        let end = physical.checked_add(PAGE * TRAMPOLINE_PAGES as u64)?;
        let usable = physical.0 >= PAGE && physical.0.is_multiple_of(PAGE) && end.0 <= LOW_MEMORY_END;
        (usable && pointer.cast::<u64>().is_aligned()).then_some(Self { physical: physical.0, pointer })
    }

    /// The pages' address, to give them back.
    pub fn physical(&self) -> PhysicalAddress {
        PhysicalAddress(self.physical)
    }

    fn start_up_page(&self) -> u8 {
        // `new` checked that the address is below 640 KiB.
        (self.physical / PAGE) as u8
    }
}

/// What a processor starts with.
#[derive(Clone, Copy, Debug)]
pub struct StartRequest {
    /// Which processor.
    pub target: ApicId,
    /// Its page tables (CR3). They map this crate's code and data as the running processor's do.
    pub page_table_root: PhysicalAddress,
    /// The end of its stack, a multiple of 16.
    pub stack_top: u64,
    /// Where it goes: with interrupts off, NXE on, the trampoline's descriptor table, and CR0 and CR4 at what long mode needs.
    pub entry: extern "C" fn(argument: u64) -> !,
    /// What it is given.
    pub argument: u64,
}

/// Why a processor did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The request's stack is not aligned, or its page tables are not.
    BadRequest,
    /// The processor's identifier needs x2APIC mode.
    Unreachable(ApicId),
    /// The kernel does not know where the page of the entry stub is, or has it in low memory's part of the address space.
    StubNotMapped,
    /// It did not answer in time. It was put back into its wait-for-start-up state.
    NoAnswer(ApicId),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest => formatter.write_str("stack or page tables are not aligned"),
            Self::Unreachable(id) => write!(formatter, "APIC id {} needs x2APIC mode", id.0),
            Self::StubNotMapped => formatter.write_str("the entry stub has no physical address"),
            Self::NoAnswer(id) => write!(formatter, "processor with APIC id {} does not answer", id.0),
        }
    }
}

/// Set by the entry stub once the processor has left the trampoline's pages.
static ACKNOWLEDGED: AtomicU32 = AtomicU32::new(0);

/// Starts one processor and waits until it is about to enter the kernel. Not reentrant: the caller
/// starts one at a time.
///
/// `translate` gives the physical address of a byte of the kernel's own image.
///
/// # Safety
/// The request's page tables and stack are right and unused, `target` is a processor that does not run, and no
/// other call is under way.
pub unsafe fn start_processor(
    local_apic: &LocalApic,
    processor: &ProcessorInfo,
    rates: &ClockRates,
    memory: &mut TrampolineMemory,
    request: &StartRequest,
    translate: impl Fn(u64) -> Option<PhysicalAddress>,
) -> Result<(), StartError> {
    if !request.stack_top.is_multiple_of(16) || !request.page_table_root.0.is_multiple_of(PAGE) {
        return Err(StartError::BadRequest);
    }
    if !local_apic.reaches(request.target) {
        return Err(StartError::Unreachable(request.target));
    }
    prepare(memory, processor, request, translate)?;
    ACKNOWLEDGED.store(0, Ordering::SeqCst);

    local_apic.send_init(request.target);
    if !processor.features.contains(Features::HYPERVISOR) {
        wait(INIT_DELAY, rates);
    }
    for patience in [SECOND_START_AFTER, ACKNOWLEDGE_WITHIN] {
        local_apic.send_startup(request.target, memory.start_up_page());
        let deadline = Deadline::after(patience, rates);
        while !deadline.has_passed() {
            // Acquire: pairs with the stub's store, which x86 orders after all that it read from the pages.
            if ACKNOWLEDGED.load(Ordering::Acquire) != 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
    }
    // It must not wake up later, in pages that are no longer the trampoline.
    local_apic.send_init(request.target);
    Err(StartError::NoAnswer(request.target))
}

/// Fills the pages: code and parameters in the first, page tables in the others.
fn prepare(
    memory: &mut TrampolineMemory,
    processor: &ProcessorInfo,
    request: &StartRequest,
    translate: impl Fn(u64) -> Option<PhysicalAddress>,
) -> Result<(), StartError> {
    let stub = trampoline::entry_stub();
    if tables::is_beside_low_memory(stub) {
        return Err(StartError::StubNotMapped);
    }
    let stub_physical = translate(stub).ok_or(StartError::StubNotMapped)?;
    let no_execute =
        if processor.features.contains(Features::NO_EXECUTE) { trampoline::NO_EXECUTE_ENABLE } else { 0 };
    let root = tables::write(memory, stub, stub_physical);
    let parameters = Parameters {
        root,
        efer: trampoline::LONG_MODE_ENABLE | no_execute,
        target: request.target,
        page_table_root: request.page_table_root,
        stack_top: request.stack_top,
        entry: request.entry as usize as u64,
        argument: request.argument,
        acknowledge: (&raw const ACKNOWLEDGED) as u64,
        entry_stub: stub,
    };
    trampoline::write(memory, &parameters);
    Ok(())
}
