//! Driver process for one 16550 UART: grants "ports" (IoPort), "interrupt" (Interrupt) and, to write the kernel's log to it,
//! "kernel-log" (KernelLog); exports "console" (Console).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::rc::Rc;
use capnp::Error;
use rt::{Environment, Ports};
use schema::{
    device_capnp::{interrupt, io_port},
    system_capnp::kernel_log,
};
use uart::{Driver, Presence, Uart, log_follower, server};

rt::program!(drive);

async fn drive(environment: Environment) -> Result<(), Error> {
    let ports: io_port::Client = environment.grant("ports")?;
    let interrupt: interrupt::Client = environment.grant("interrupt")?;
    let uart = Uart::open(Ports::new(ports.clone()))?;
    let presence = uart.presence();
    let driver = Driver::new(uart, interrupt).await?;
    if presence == Presence::Absent {
        log::info!("no UART answers");
    }
    if let Some(log) = environment.optional_grant::<kernel_log::Client>("kernel-log") {
        let cursor = log_follower::cursor(&ports).await?;
        let driver = Rc::clone(&driver);
        rt::spawn(async move {
            let Err(error) = log_follower::follow(driver, log, ports, cursor).await;
            log::error!("the log is not followed any more: {error}");
        });
    }
    environment.export("console", server::serve(&driver)).await?;
    driver.run().await.map(|never| match never {})
}
