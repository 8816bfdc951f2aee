//! What stands for the machine on the host: the kernel of a test, if there is one.
//!
//! Each thread stands for a process.
use std::cell::RefCell;
use std::rc::Rc;

use abi::{Status, Syscall};

use crate::syscall::EventRegisters;

/// The kernel's side of the system calls.
pub(crate) trait Kernel {
    /// A system call that returns at most rax and rdi.
    fn simple(&self, number: Syscall, arguments: [u64; 4]) -> (u64, u64);
    /// A system call that returns an event.
    fn event(&self, number: Syscall, arguments: [u64; 5]) -> EventRegisters;
    /// A zeroed page that stays for ever; its address.
    fn new_page(&self) -> u64;
    /// Monotonic time.
    fn nanoseconds(&self) -> u64;
    /// One more handle for what `handle` names.
    #[cfg(test)]
    fn duplicate(&self, handle: u32) -> u32;
}

std::thread_local! {
    static KERNEL: RefCell<Option<Rc<dyn Kernel>>> = const { RefCell::new(None) };
}

/// Makes `kernel` the one of this thread.
#[cfg(test)]
pub(crate) fn install(kernel: Rc<dyn Kernel>) {
    KERNEL.set(Some(kernel));
}

fn kernel() -> Option<Rc<dyn Kernel>> {
    KERNEL.with_borrow(Clone::clone)
}

pub(crate) fn simple(number: Syscall, arguments: [u64; 4]) -> (u64, u64) {
    kernel().map_or((Status::Unimplemented as u64, 0), |kernel| kernel.simple(number, arguments))
}

pub(crate) fn event(number: Syscall, arguments: [u64; 5]) -> EventRegisters {
    kernel().expect("system calls work on capOS, and in tests with a kernel").event(number, arguments)
}

pub(crate) fn new_page() -> Option<u64> {
    kernel().map(|kernel| kernel.new_page())
}

pub(crate) fn nanoseconds() -> u64 {
    kernel().map_or(0, |kernel| kernel.nanoseconds())
}

#[cfg(test)]
pub(crate) fn duplicate(handle: u32) -> u32 {
    kernel().expect("a test has a kernel").duplicate(handle)
}
