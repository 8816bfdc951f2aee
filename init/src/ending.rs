//! How a process ended, in words.

use core::fmt;
use schema::process_capnp::{ExitCause, exit_report};

/// Vector of a page fault.
const PAGE_FAULT: u8 = 14;

/// Bits of a page fault's error code [Intel SDM 3A 4.7].
mod page_fault {
    pub(super) const PRESENT: u64 = 1 << 0;
    pub(super) const WRITE: u64 = 1 << 1;
    /// Always set for a fault in a user process.
    pub(super) const USER: u64 = 1 << 2;
    pub(super) const FETCH: u64 = 1 << 4;
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended itself, with this code.
    Exited(i64),
    /// One of its threads did what the processor refused.
    Fault {
        /// The exception.
        vector: u8,
        /// What the processor pushed with it.
        error_code: u64,
        /// The thread.
        thread: u32,
        /// Where the thread was.
        instruction: u64,
        /// What it touched, for a page fault.
        address: u64,
    },
    /// Somebody who holds it ended it.
    Killed,
}

/// One end of a process. Its `Display` is what the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The kernel's number of the process.
    pub id: u32,
    /// Why.
    pub cause: Cause,
}

impl Ending {
    /// From the kernel's report; a cause that this version does not know counts as killed.
    pub fn from_report(id: u32, report: exit_report::Reader<'_>) -> Self {
        let cause = match report.get_cause() {
            Ok(ExitCause::Exited) => Cause::Exited(report.get_code()),
            Ok(ExitCause::Fault) => Cause::Fault {
                // Vectors have 8 bits.
                vector: report.get_code() as u8,
                error_code: report.get_error_code(),
                thread: report.get_thread(),
                instruction: report.get_instruction_address(),
                address: report.get_fault_address(),
            },
            Ok(ExitCause::Killed | ExitCause::Running) | Err(_) => Cause::Killed,
        };
        Self { id, cause }
    }

    /// Whether the process ended as it wanted to.
    pub fn is_success(&self) -> bool {
        self.cause == Cause::Exited(0)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(formatter, "exited with code {code}"),
            Self::Killed => formatter.write_str("killed"),
            Self::Fault { vector: PAGE_FAULT, error_code, instruction, address, .. } => {
                write!(formatter, "page fault {} {address:#x} at {instruction:#x}", access(error_code))
            }
            Self::Fault { vector, error_code: 0, instruction, .. } => {
                write!(formatter, "{} at {instruction:#x}", Exception(vector))
            }
            Self::Fault { vector, error_code, instruction, .. } => {
                write!(formatter, "{} ({error_code:#x}) at {instruction:#x}", Exception(vector))
            }
        }
    }
}

/// What the thread tried, from a page fault's error code.
fn access(error_code: u64) -> &'static str {
    if error_code & page_fault::USER == 0 {
        "touching"
    } else if error_code & page_fault::FETCH != 0 {
        "executing"
    } else if error_code & page_fault::WRITE == 0 {
        "reading"
    } else if error_code & page_fault::PRESENT != 0 {
        "writing read-only"
    } else {
        "writing"
    }
}

/// An exception's name [Intel SDM 3A 6.3.1].
struct Exception(u8);

impl fmt::Display for Exception {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            0 => "division by zero",
            1 => "debug exception",
            3 => "breakpoint",
            4 => "overflow",
            5 => "bound range exceeded",
            6 => "invalid instruction",
            7 => "no floating point unit",
            11 => "segment not present",
            12 => "stack fault",
            13 => "general protection fault",
            16 => "floating point error",
            17 => "unaligned access",
            19 => "SIMD floating point error",
            other => return write!(formatter, "exception {other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(vector: u8, error_code: u64) -> String {
        let (instruction, address) = (0x20_1234, 0x10);
        Cause::Fault { vector, error_code, thread: 1, instruction, address }.to_string()
    }

    #[test]
    fn page_faults_say_what_was_tried() {
        assert_eq!(fault(14, 0b0_0100), "page fault reading 0x10 at 0x201234");
        assert_eq!(fault(14, 0b0_0110), "page fault writing 0x10 at 0x201234");
        assert_eq!(fault(14, 0b0_0111), "page fault writing read-only 0x10 at 0x201234");
        assert_eq!(fault(14, 0b1_0101), "page fault executing 0x10 at 0x201234");
        assert_eq!(fault(14, 0), "page fault touching 0x10 at 0x201234");
    }

    #[test]
    fn other_exceptions_have_their_names() {
        assert_eq!(fault(6, 0), "invalid instruction at 0x201234");
        assert_eq!(fault(13, 0x18), "general protection fault (0x18) at 0x201234");
        assert_eq!(fault(30, 0), "exception 30 at 0x201234");
    }

    #[test]
    fn only_an_exit_with_code_0_is_a_success() {
        let ending = |cause| Ending { id: 7, cause };
        assert!(ending(Cause::Exited(0)).is_success());
        assert!(!ending(Cause::Exited(1)).is_success());
        assert!(!ending(Cause::Killed).is_success());
    }
}
