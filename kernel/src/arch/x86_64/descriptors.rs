//! Segment, task state and interrupt descriptors; one set a processor.

use super::cpu::Cpu;
use super::entry;
use crate::memory::kernel_space;
use alloc::boxed::Box;
use platform::processor::Features;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

/// Selector of user data, ring 3. `sysret` wants it 8 below the code selector.
pub const USER_DATA: u16 = 0x1b;
/// Selector of user code, ring 3.
pub const USER_CODE: u16 = 0x23;

/// Interrupt stacks, in pages, for what may strike at any instruction: double fault, NMI, machine check.
const INTERRUPT_STACK_PAGES: u64 = 2;

/// Loads all tables of this processor, and the protection bits that it offers.
pub fn load(cpu: &'static Cpu, features: Features) -> Option<()> {
    let mut task = TaskStateSegment::new();
    task.privilege_stack_table[0] = VirtAddr::new(cpu.kernel_stack);
    let stack = || kernel_space::new_stack(INTERRUPT_STACK_PAGES).map(VirtAddr::new);
    let unused = VirtAddr::zero();
    task.interrupt_stack_table = [stack()?, stack()?, stack()?, unused, unused, unused, unused];
    let task: &'static TaskStateSegment = Box::leak(Box::new(task));
    let table: &'static mut GlobalDescriptorTable = Box::leak(Box::new(GlobalDescriptorTable::new()));
    let kernel_code = table.append(Descriptor::kernel_code_segment());
    let kernel_data = table.append(Descriptor::kernel_data_segment());
    let user_data = table.append(Descriptor::user_data_segment());
    let user_code = table.append(Descriptor::user_code_segment());
    let task_selector = table.append(Descriptor::tss_segment(task));
    debug_assert!(user_data.0 == USER_DATA && user_code.0 == USER_CODE);
    table.load();
    // SAFETY: the tables live for ever; the selectors are those just made. Writing GS clears its base,
    // which is set again at once.
    unsafe {
        CS::set_reg(kernel_code);
        SS::set_reg(kernel_data);
        for set in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
            set(x86_64::structures::gdt::SegmentSelector::NULL);
        }
        cpu.set_base();
        load_tss(task_selector);
        load_interrupt_table()?;

        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE));
        LStar::write(VirtAddr::new(entry::syscall_entry as *const () as u64));
        // Interrupts, direction, alignment check and trace are off on entry.
        SFMask::write(
            RFlags::INTERRUPT_FLAG
                | RFlags::DIRECTION_FLAG
                | RFlags::ALIGNMENT_CHECK
                | RFlags::TRAP_FLAG
                | RFlags::NESTED_TASK,
        );
        Star::write(user_code, user_data, kernel_code, kernel_data).ok()?;
        Cr4::update(|flags| {
            flags.insert(Cr4Flags::PAGE_GLOBAL);
            // Without it a machine check is a reset that nobody can explain.
            flags.set(Cr4Flags::MACHINE_CHECK_EXCEPTION, has_machine_check());
            flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.contains(Features::SMEP));
            flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.contains(Features::SMAP));
            flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.contains(Features::UMIP));
        });
        x86_64::registers::control::Cr0::update(|flags| {
            flags.insert(x86_64::registers::control::Cr0Flags::WRITE_PROTECT);
        });
    }
    Some(())
}

/// One interrupt gate [Intel SDM 3, 6.14.1].
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<Gate>() == 16);

const PRESENT_INTERRUPT_GATE: u8 = 0x8e;
const KERNEL_CODE: u16 = 0x08;

/// # Safety
///
/// The code segment of the kernel must be loaded.
unsafe fn load_interrupt_table() -> Option<()> {
    let first = entry::trap_stubs as *const () as u64;
    let gates: &'static [Gate; 256] = Box::leak(Box::new(core::array::from_fn(|vector| {
        let address = first + 16 * vector as u64;
        let stack = match vector {
            8 => 1,  // double fault
            2 => 2,  // non-maskable interrupt
            18 => 3, // machine check
            _ => 0,
        };
        Gate {
            offset_low: address as u16,
            selector: KERNEL_CODE,
            stack,
            kind: PRESENT_INTERRUPT_GATE,
            offset_middle: (address >> 16) as u16,
            offset_high: (address >> 32) as u32,
            reserved: 0,
        }
    })));
    let pointer =
        DescriptorTablePointer { limit: (size_of_val(gates) - 1) as u16, base: VirtAddr::from_ptr(gates) };
    // SAFETY: the table lives for ever and all its gates lead to stubs.
    unsafe { lidt(&pointer) };
    Some(())
}

/// Whether the processor reports its errors. [SDM 2A, CPUID leaf 1]
fn has_machine_check() -> bool {
    const MACHINE_CHECK: u32 = 1 << 7;
    core::arch::x86_64::__cpuid(1).edx & MACHINE_CHECK != 0
}
