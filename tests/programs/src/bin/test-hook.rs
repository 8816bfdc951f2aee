//! Takes orders from outside on COM2, a line each, and answers each with one line.
//!
//! | order | answer |
//! |---|---|
//! | `kill <process>` | `ok` |
//! | `status` | `ok uptime-ns=<n> free-frames=<n> <process>=<state>/<restarts>/<id> ...` |
//! | `pause <process>`, `resume <process>` | `ok` |
//! | `mappings <process> <from>` | `ok <address>/<pages>/<r, rw or rx>[/device] ... next=<address>` |
//! | `read <process> <address> <bytes>` | `ok <hexadecimal digits>` |
//! | `write <process> <address> <hexadecimal digits>` | `ok` |
//! | `usage <process>` | `ok frames=<n> handles=<n> threads=<n> dma-pages=<n>` |
//!
//! and those of [`testing::campaign`].
//! Addresses are hexadecimal, without a prefix. What cannot be done is answered by `error` and the reason.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use capnp::Error;
use core::{fmt::Write, time::Duration};
use rt::{Environment, Ports};
use schema::{
    device_capnp::io_port,
    memory_capnp::Protection,
    supervisor_capnp::{ProcessState, supervisor_control, supervisor_status},
    system_capnp::system_info,
};
use testing::campaign::Campaign;

rt::program!(run);

/// Longest order.
const MAXIMUM_LINE: usize = 128;

/// Between two looks at the port: it has no interrupt here.
const POLL: Duration = Duration::from_millis(2);

/// Registers of a 16550, by their offset.
mod register {
    pub(super) const DATA: u16 = 0;
    pub(super) const INTERRUPT_ENABLE: u16 = 1;
    pub(super) const FIFO_CONTROL: u16 = 2;
    pub(super) const LINE_CONTROL: u16 = 3;
    pub(super) const LINE_STATUS: u16 = 5;
}

const DATA_READY: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

async fn run(environment: Environment) -> Result<(), Error> {
    let hook = Hook {
        port: Serial::new(environment.grant("com2")?)?,
        control: environment.grant("control")?,
        status: environment.grant("status")?,
        system: environment.grant("system-info")?,
        campaign: Campaign::new(&environment)?,
    };
    hook.port.write_line("hook ready").await?;
    loop {
        let line = hook.port.read_line().await?;
        let answer = match hook.obey(&line).await {
            Ok(answer) => answer,
            Err(error) => format!("error {error}"),
        };
        hook.port.write_line(&answer).await?;
    }
}

struct Hook {
    port: Serial,
    control: supervisor_control::Client,
    status: supervisor_status::Client,
    system: system_info::Client,
    campaign: Campaign,
}

/// What is known of one process of the manifest.
struct Known {
    name: String,
    id: u32,
    state: ProcessState,
    restarts: u32,
}

impl Hook {
    async fn obey(&self, line: &str) -> Result<String, Error> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("kill", name) => self.kill(name).await,
            ("pause", name) => {
                let mut request = self.control.pause_request();
                request.get().set_name(name);
                request.send().promise.await.map(|_| "ok".into())
            }
            ("resume", name) => {
                let mut request = self.control.resume_request();
                request.get().set_name(name);
                request.send().promise.await.map(|_| "ok".into())
            }
            ("mappings", what) => self.mappings(what).await,
            ("read", what) => self.read(what).await,
            ("write", what) => self.write(what).await,
            ("status", _) => self.status().await,
            ("usage", name) => self.usage(name).await,
            (other, rest) => self.campaign.obey(other, rest).await,
        }
    }

    async fn kill(&self, name: &str) -> Result<String, Error> {
        let mut request = self.control.kill_request();
        request.get().set_name(name);
        request.send().promise.await?;
        Ok("ok".into())
    }

    async fn mappings(&self, what: &str) -> Result<String, Error> {
        let [name, from] = words(what)?;
        let mut request = self.control.mappings_request();
        request.get().set_name(name);
        request.get().set_start(number(from)?);
        let answer = request.send().promise.await?;
        let answer = answer.get()?;
        let mut line = String::from("ok");
        for mapping in answer.get_mappings()? {
            let protection = match mapping.get_protection()? {
                Protection::Read => "r",
                Protection::ReadWrite => "rw",
                Protection::ReadExecute => "rx",
            };
            let device = if mapping.get_device() { "/device" } else { "" };
            // Writing to a string does not fail.
            let _ = write!(line, " {:x}/{}/{protection}{device}", mapping.get_address(), mapping.get_pages());
        }
        let _ = write!(line, " next={:x}", answer.get_next());
        Ok(line)
    }

    async fn read(&self, what: &str) -> Result<String, Error> {
        let [name, address, length] = words(what)?;
        let mut request = self.control.read_request();
        request.get().set_name(name);
        request.get().set_address(number(address)?);
        request.get().set_length(length.parse().map_err(|_| bad_order())?);
        let answer = request.send().promise.await?;
        let mut line = String::from("ok ");
        for byte in answer.get()?.get_data()? {
            // Writing to a string does not fail.
            let _ = write!(line, "{byte:02x}");
        }
        Ok(line)
    }

    async fn write(&self, what: &str) -> Result<String, Error> {
        let [name, address, digits] = words(what)?;
        let bytes = digits.as_bytes().chunks(2).map(|pair| {
            core::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(bad_order)
        });
        let bytes = bytes.collect::<Result<Vec<u8>, Error>>()?;
        let mut request = self.control.write_request();
        request.get().set_name(name);
        request.get().set_address(number(address)?);
        request.get().set_data(&bytes);
        request.send().promise.await.map(|_| "ok".into())
    }

    async fn status(&self) -> Result<String, Error> {
        let answer = self.system.summary_request().send().promise.await?;
        let summary = answer.get()?;
        let mut line = format!(
            "ok uptime-ns={} free-frames={}",
            summary.get_uptime_nanoseconds(),
            summary.get_free_frames()
        );
        for process in self.processes().await? {
            let state = match process.state {
                ProcessState::Waiting => "waiting",
                ProcessState::Running => "running",
                ProcessState::Restarting => "restarting",
                ProcessState::Stopped => "stopped",
                ProcessState::Failed => "failed",
            };
            let Known { name, id, restarts, .. } = process;
            // Writing to a string does not fail.
            let _ = write!(line, " {name}={state}/{restarts}/{id}");
        }
        Ok(line)
    }

    async fn usage(&self, name: &str) -> Result<String, Error> {
        let processes = self.processes().await?;
        let id = processes.iter().find(|process| process.name == name).map(|process| process.id);
        let id = id.ok_or_else(|| Error::failed(format!("there is no process {name:?}")))?;
        let mut request = self.system.processes_request();
        request.get().set_start(id);
        let answer = request.send().promise.await?;
        let found = answer.get()?.get_processes()?.iter().find(|process| process.get_id() == id);
        let usage = found.ok_or_else(|| Error::failed(format!("{name} does not run")))?.get_usage()?;
        Ok(format!(
            "ok frames={} handles={} threads={} dma-pages={}",
            usage.get_frames(),
            usage.get_handles(),
            usage.get_threads(),
            usage.get_dma_pages()
        ))
    }

    async fn processes(&self) -> Result<Vec<Known>, Error> {
        let mut all = Vec::new();
        let mut start = 0;
        loop {
            let mut request = self.status.processes_request();
            request.get().set_start(start);
            let answer = request.send().promise.await?;
            for process in answer.get()?.get_processes()? {
                all.push(Known {
                    name: process.get_name()?.to_string()?,
                    id: process.get_id(),
                    state: process.get_state()?,
                    restarts: process.get_restarts(),
                });
            }
            start = answer.get()?.get_next();
            if start == 0 {
                return Ok(all);
            }
        }
    }
}

/// The words of an order, exactly so many.
fn words<const N: usize>(text: &str) -> Result<[&str; N], Error> {
    text.split_whitespace().collect::<Vec<_>>().try_into().map_err(|_| bad_order())
}

fn number(digits: &str) -> Result<u64, Error> {
    u64::from_str_radix(digits, 16).map_err(|_| bad_order())
}

fn bad_order() -> Error {
    Error::failed("malformed order".into())
}

/// A 16550 without its interrupt.
struct Serial {
    ports: Ports,
}

impl Serial {
    fn new(client: io_port::Client) -> Result<Self, Error> {
        let ports = Ports::new(client);
        ports.write_u8(register::INTERRUPT_ENABLE, 0)?;
        // Eight bits, no parity, one stop bit; FIFOs on and empty.
        ports.write_u8(register::LINE_CONTROL, 0x03)?;
        ports.write_u8(register::FIFO_CONTROL, 0x07)?;
        Ok(Self { ports })
    }

    /// The next line without its end. A longer one than [`MAXIMUM_LINE`] is cut.
    async fn read_line(&self) -> Result<String, Error> {
        let mut line = Vec::new();
        loop {
            self.wait_for(DATA_READY).await?;
            match self.ports.read_u8(register::DATA)? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).trim().to_string()),
                byte if line.len() < MAXIMUM_LINE => line.push(byte),
                _ => {}
            }
        }
    }

    async fn write_line(&self, line: &str) -> Result<(), Error> {
        for byte in line.bytes().chain(*b"\n") {
            self.wait_for(TRANSMITTER_EMPTY).await?;
            self.ports.write_u8(register::DATA, byte)?;
        }
        Ok(())
    }

    async fn wait_for(&self, bit: u8) -> Result<(), Error> {
        while self.ports.read_u8(register::LINE_STATUS)? & bit == 0 {
            rt::sleep(POLL).await;
        }
        Ok(())
    }
}
