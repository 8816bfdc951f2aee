//! The processors: starting them, interrupting them, their timers, stopping them.

use super::context::Context;
use super::cpu::{self, Cpu};
use super::traps::{SPURIOUS_VECTOR, TIMER_VECTOR};
use super::{descriptors, entry, fpu};
use crate::memory::{frames, kernel_space};
use crate::{machine, scheduler, time};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use platform::clock::{ClockRates, Deadline};
use platform::local_apic::{LocalApic, TimerMode};
use platform::processor::{Features, ProcessorInfo};
use platform::start_processors::{self, StartRequest, TRAMPOLINE_PAGES, TrampolineMemory};
use platform::{ApicId, Vector};
use spin::Once;

/// Pages of a processor's kernel stack.
const STACK_PAGES: u64 = 8;

/// Nanoseconds that the timer is never set beyond: long waits are cut into parts.
const LONGEST_TIMER: u64 = 1_000_000_000;

/// Time that a started processor has to set itself up. Generous: a host may run it late.
const SHOWS_WITHIN: Duration = Duration::from_secs(1);

struct Apic {
    local: LocalApic,
    features: Features,
    /// Timer ticks per second in one-shot mode; `None` with deadline mode.
    timer_rate: Option<u64>,
}

static APIC: Once<Apic> = Once::new();

/// Takes the local APIC over, once the rates of the clocks are known.
pub fn init(local: LocalApic, processor: &ProcessorInfo, rates: &ClockRates) {
    let deadline = processor.features.contains(Features::TSC_DEADLINE);
    let timer_rate = if deadline { None } else { Some(rates.local_apic_timer.unwrap_or(1_000_000_000)) };
    APIC.call_once(|| Apic { local, features: processor.features, timer_rate });
}

/// Name of the clock event source.
pub fn timer_name() -> &'static str {
    match APIC.get() {
        Some(Apic { timer_rate: None, .. }) => "TSC deadline",
        _ => "local APIC timer",
    }
}

/// Makes this processor's record and tables. The first processor calls this for itself; others come through [`start_all`].
pub fn make_current(index: u32, apic_id: u32, features: Features) -> Option<&'static Cpu> {
    let stack = kernel_space::new_stack(STACK_PAGES)?;
    let cpu = Cpu::new(index, apic_id, stack, kernel_space::root()?);
    set_up(cpu, features)?;
    Some(cpu)
}

fn set_up(cpu: &'static Cpu, features: Features) -> Option<()> {
    // SAFETY: it is this processor's record, and interrupts are off.
    unsafe { cpu.set_base() };
    descriptors::load(cpu, features)?;
    cpu.publish();
    fpu::init(features);
    Some(())
}

fn set_up_apic(apic: &Apic) {
    apic.local.enable(Vector(SPURIOUS_VECTOR));
    if let Some(tables) = machine::TABLES.get() {
        tables.nmi_inputs.iter().for_each(|input| apic.local.accept_nmi(*input));
    }
    let mode = if apic.timer_rate.is_some() { TimerMode::OneShot } else { TimerMode::TscDeadline };
    apic.local.set_up_timer(mode, Vector(TIMER_VECTOR));
}

/// Sets this processor's timer up.
pub fn enable_timer() {
    if let Some(apic) = APIC.get() {
        set_up_apic(apic);
    }
}

/// Starts all other processors that the firmware tables list.
pub fn start_all(ids: &[ApicId], processor: &ProcessorInfo, rates: &ClockRates) {
    let (Some(apic), Some(root)) = (APIC.get(), kernel_space::root()) else { return };
    let own = apic.local.id();
    if ids.iter().all(|id| *id == own) {
        return;
    }
    let Some(pages) = frames::allocate_run(TRAMPOLINE_PAGES, 0xa_0000) else {
        log::error!("no memory below 640 KiB to start the other processors with");
        return;
    };
    let pointer = NonNull::new(pages.pointer::<u8>()).unwrap_or(NonNull::dangling());
    // SAFETY: the pages were just taken and lie in the direct map.
    let memory = unsafe { TrampolineMemory::new(platform::PhysicalAddress(pages.0), pointer) };
    if let Some(mut memory) = memory {
        let mut index = 1;
        for id in ids.iter().filter(|id| **id != own).take(cpu::MAXIMUM - 1) {
            let Some(stack) = kernel_space::new_stack(STACK_PAGES) else { break };
            let cpu = Cpu::new(index, id.0, stack, root);
            let request = StartRequest {
                target: *id,
                page_table_root: platform::PhysicalAddress(root.0.0),
                stack_top: stack,
                entry: started,
                argument: core::ptr::from_ref(cpu) as u64,
            };
            // SAFETY: stack and record are new, and processors are started one at a time.
            let result = unsafe {
                start_processors::start_processor(
                    &apic.local,
                    processor,
                    rates,
                    &mut memory,
                    &request,
                    machine::image_physical,
                )
            };
            match result {
                Ok(()) => {
                    wait_for(index, rates);
                    index += 1;
                }
                Err(error) => log::error!("processor with APIC id {}: {error}", id.0),
            }
        }
    }
    // SAFETY: the trampoline is no longer needed: each processor acknowledged after leaving it, or was stopped.
    unsafe { frames::release(pages, TRAMPOLINE_PAGES) };
}

/// Waits until a processor that has left the trampoline shows itself; bounded.
fn wait_for(index: u32, rates: &ClockRates) {
    let deadline = Deadline::after(SHOWS_WITHIN, rates);
    while cpu::get(index).is_none() && !deadline.has_passed() {
        core::hint::spin_loop();
    }
}

/// The first kernel code of another processor, on its own stack.
extern "C" fn started(argument: u64) -> ! {
    // SAFETY: `start_all` passes a leaked record.
    let cpu = unsafe { &*(argument as *const Cpu) };
    if let Some(apic) = APIC.get()
        && set_up(cpu, apic.features).is_some()
    {
        set_up_apic(apic);
        enter_scheduler(cpu);
    }
    stop_here()
}

/// Leaves boot code for good: from here on this processor runs threads.
pub fn enter_scheduler(cpu: &'static Cpu) -> ! {
    cpu.switched_at.set(time::ticks());
    // SAFETY: the stack is this processor's, and nothing on the present one is needed any more.
    unsafe { entry::run_on_stack(cpu.kernel_stack, first_thread) }
}

extern "C" fn first_thread() -> *mut Context {
    scheduler::run_next(cpu::current())
}

/// Interrupts a processor.
pub fn send(cpu: &Cpu, vector: u8) {
    if let Some(apic) = APIC.get() {
        apic.local.send_interrupt(ApicId(cpu.apic_id), Vector(vector));
    }
}

/// Ends the interrupt that is being handled.
pub fn end_of_interrupt() {
    if let Some(apic) = APIC.get() {
        apic.local.end_of_interrupt();
    }
}

/// Makes this processor's timer fire at a time (nanoseconds of [`time::now`]), or never (`u64::MAX`). It may fire
/// early when that is far away.
pub fn set_timer(deadline: u64) {
    let Some(apic) = APIC.get() else { return };
    match apic.timer_rate {
        None if deadline == u64::MAX => apic.local.set_timer_deadline(0),
        None => apic.local.set_timer_deadline(time::time_stamp(deadline)),
        Some(_) if deadline == u64::MAX => apic.local.start_timer(0),
        Some(rate) => {
            let wait = deadline.saturating_sub(time::now()).min(LONGEST_TIMER);
            let count = u128::from(wait) * u128::from(rate) / 1_000_000_000;
            // At least one, for zero would stop it.
            apic.local.start_timer(u32::try_from(count + 1).unwrap_or(u32::MAX));
        }
    }
}

/// Waits for an interrupt and handles it.
pub fn halt() {
    // SAFETY: interrupts are enabled for this one instruction pair; the handlers expect to strike here.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Handles the interrupts that are pending.
pub fn take_interrupts() {
    // SAFETY: as in `halt`. They strike behind the instruction that follows `sti`. [SDM 2B, STI]
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
}

/// Looks at whether the other processors have stopped, before they are given up: about a second.
const STOP_POLLS: u32 = 50_000_000;

/// Whether the processors are being stopped.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// Processors that have stopped for another one.
static STOPPED: AtomicU32 = AtomicU32::new(0);

/// Stops all other processors, for a panic or the end of the machine. Returns how many have not stopped in time.
pub fn stop_others() -> u32 {
    STOPPING.store(true, Ordering::SeqCst);
    let Some(apic) = APIC.get() else { return 0 };
    apic.local.send_nmi_to_others();
    let others = (cpu::all().count() as u32).saturating_sub(1);
    let running = || others.saturating_sub(STOPPED.load(Ordering::SeqCst));
    for _ in 0..STOP_POLLS {
        if running() == 0 {
            break;
        }
        core::hint::spin_loop();
    }
    running()
}

/// Stops this processor for good because another one wants it.
pub fn stop_for_another() -> ! {
    STOPPED.fetch_add(1, Ordering::SeqCst);
    stop_here()
}

/// Whether [`stop_others`] was called: then a non-maskable interrupt means that.
pub fn are_stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

/// Stops this processor for good.
pub fn stop_here() -> ! {
    loop {
        // SAFETY: the processor does nothing any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// The address of the boot processor's local APIC.
pub fn own_id() -> u32 {
    APIC.get().map_or(0, |apic| apic.local.id().0)
}
