//! Copies the kernel's log to the terminal, from where the kernel stopped.
//!
//! After each line the kernel is told that it is out, so that it can go on from there if this process dies: the line that is
//! being written then comes a second time, and none is lost.

use crate::driver::Driver;
use alloc::{format, rc::Rc};
use capnp::Error;
use core::convert::Infallible;
use rt::Signal;
use schema::{device_capnp::io_port, system_capnp::kernel_log};

/// Follows the log for ever.
///
/// Errors: what the kernel says.
pub async fn follow(
    driver: Rc<Driver>,
    log: kernel_log::Client,
    ports: io_port::Client,
    mut cursor: u64,
) -> Result<Infallible, Error> {
    let written = Signal::new().await?;
    let mut request = log.follow_request();
    request.get().set_signaller(written.signaller());
    request.send().promise.await?;
    loop {
        let mut request = log.read_request();
        request.get().set_cursor(cursor);
        let answer = request.send().promise.await?;
        let part = answer.get()?;
        let (text, next, lost) = (part.get_text()?.as_bytes(), part.get_next(), part.get_lost());
        if lost > 0 {
            let line = format!("({lost} bytes of the log were overwritten before they were written here)\n");
            driver.write_log(line.as_bytes()).await?;
        }
        let mut end = next.saturating_sub(text.len() as u64);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            driver.write_log(line).await?;
            end += line.len() as u64;
            note(&ports, end).await?;
        }
        if next <= cursor {
            written.wait().await;
        }
        cursor = next;
    }
}

/// The cursor at which the kernel stopped writing to these ports.
///
/// Errors: `failed` when they are not the console's.
pub async fn cursor(ports: &io_port::Client) -> Result<u64, Error> {
    Ok(ports.log_cursor_request().send().promise.await?.get()?.get_cursor())
}

async fn note(ports: &io_port::Client, cursor: u64) -> Result<(), Error> {
    let mut request = ports.log_written_request();
    request.get().set_cursor(cursor);
    request.send().promise.await.map(drop)
}
