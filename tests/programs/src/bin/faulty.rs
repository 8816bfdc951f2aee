//! Does the one wrong thing that its argument `fault` names, after it has said where in the log.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use capnp::Error;
use testing::faults;

rt::program!(run);

/// Never mapped.
const NOWHERE: usize = 0xdead_0000;
/// The kernel's half.
const KERNEL: usize = 0xffff_8000_0000_0000;
/// No address of the processor's.
const NON_CANONICAL: usize = 0x0000_8000_0000_0000;

static DATA: [u8; 16] = [0xc3; 16];

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let (fault, argument): (extern "C" fn(usize), usize) = match environment.argument("fault") {
        Some("read") => (faults::read, NOWHERE),
        Some("read-null") => (faults::read, 0),
        Some("read-kernel") => (faults::read, KERNEL),
        Some("read-non-canonical") => (faults::read, NON_CANONICAL),
        Some("write-code") => (faults::write, faults::read as *const () as usize),
        Some("execute-data") => (faults::jump, DATA.as_ptr().addr()),
        Some("execute-stack") => {
            let code = [0xc3_u8; 16];
            (faults::jump, core::hint::black_box(&code).as_ptr().addr())
        }
        Some("privileged") => (faults::privileged, 0),
        Some("port") => (faults::port, 0),
        Some("divide") => (faults::divide, 0),
        Some("invalid") => (faults::invalid, 0),
        Some("overflow") => (faults::overflow, 0),
        Some("panic") => panic!("as it was told"),
        Some("error") => return Err(Error::failed("as it was told".into())),
        other => return Err(Error::failed(alloc::format!("unknown fault {other:?}"))),
    };
    log::info!("fault: function {:#x} argument {argument:#x}", fault as *const () as usize);
    fault(argument);
    log::error!("fault: nothing happened");
    Ok(())
}

extern crate alloc;
