//! IoPort: a range of I/O ports; IoPortManager: the right to hand out legacy ranges.
//!
//! While a legacy range holds COM1, the kernel does not write the log there ([`log_sink`]).

use super::Object;
use super::account::{Account, Charge};
use super::pci_function::Claim;
use crate::error::Error;
use crate::log_sink;
use crate::machine::TABLES;
use crate::message::{Answer, Params};
use crate::sync::Lock;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use capnp::traits::HasTypeId;
use platform::{ports, serial};
use schema::device_capnp::{io_port, io_port_manager};

/// Most legacy ranges that are handed out at one time.
const MAXIMUM_RANGES: usize = 64;

static RANGES: Lock<Vec<Weak<IoPort>>> = Lock::new(Vec::new());

/// A range of I/O ports.
pub struct IoPort {
    /// Number of this object in inventories.
    pub id: u64,
    first: u16,
    count: u32,
    claim: Option<Arc<Claim>>,
    _charge: Charge,
}

impl IoPort {
    /// The ports behind a BAR of a claimed function.
    pub fn of_function(
        claim: &Arc<Claim>,
        first: u16,
        count: u32,
        account: &Arc<Account>,
    ) -> Result<Arc<Self>, Error> {
        let charge = Charge::object::<Self>(account)?;
        Ok(Arc::new(Self { id: super::new_id(), first, count, claim: Some(claim.clone()), _charge: charge }))
    }

    fn legacy(first: u16, count: u16, account: &Arc<Account>) -> Result<Arc<Self>, Error> {
        let last = u32::from(first) + u32::from(count).saturating_sub(1);
        if count == 0 || last > 0xffff {
            return Err(Error::failed("a port range has at least one port and ends at 0xffff"));
        }
        let in_kernel = TABLES.get().is_some_and(|tables| tables.overlaps_kernel_ports(first, count.into()));
        let overlaps = |from: u16, to: u16| u32::from(from) <= last && first <= to;
        if in_kernel {
            return Err(Error::failed("the range holds ports of the kernel's or of a DMA controller"));
        }
        let mut ranges = RANGES.lock();
        ranges.retain(|range| range.strong_count() > 0);
        if ranges.len() >= MAXIMUM_RANGES {
            return Err(Error::overloaded("too many port ranges"));
        }
        let mut taken = false;
        let mut held = [const { None }; MAXIMUM_RANGES];
        for (range, slot) in ranges.iter().filter_map(Weak::upgrade).zip(&mut held) {
            taken |= overlaps(range.first, (u32::from(range.first) + range.count - 1) as u16);
            *slot = Some(range);
        }
        let made = if taken {
            Err(Error::overloaded("the range overlaps one that has an owner"))
        } else {
            ranges.try_reserve(1).map_err(|_| Error::overloaded("the machine is out of memory")).and_then(
                |()| {
                    let charge = Charge::object::<Self>(account)?;
                    Ok(Arc::new(Self {
                        id: super::new_id(),
                        first,
                        count: u32::from(count),
                        claim: None,
                        _charge: charge,
                    }))
                },
            )
        };
        if let Ok(port) = &made {
            ranges.push(Arc::downgrade(port));
            if port.is_console() {
                log_sink::claim_port();
            }
        }
        drop(ranges);
        made
    }

    /// Whether it holds a port of the UART that the kernel writes the log to.
    fn is_console(&self) -> bool {
        const LAST: u16 = serial::COM1 + serial::PORTS - 1;
        let last = u32::from(self.first) + self.count.saturating_sub(1);
        self.claim.is_none() && self.first <= LAST && u32::from(serial::COM1) <= last
    }

    fn check_console(&self) -> Result<(), Error> {
        if self.is_console() { Ok(()) } else { Err(Error::failed("these ports are not the console's")) }
    }

    fn port(&self, offset: u16, width: u8) -> Result<u16, Error> {
        if let Some(claim) = &self.claim {
            claim.check()?;
        }
        if u32::from(offset) + u32::from(width) > self.count {
            return Err(Error::failed("the access is outside the port range"));
        }
        self.first.checked_add(offset).ok_or(Error::failed("the access is outside the port range"))
    }

    /// Reads 1, 2 or 4 bytes.
    pub fn read(&self, offset: u16, width: u8) -> Result<u32, Error> {
        let port = self.port(offset, width)?;
        // SAFETY: the range was checked when it was handed out: it is a device's or nobody's.
        unsafe {
            match width {
                1 => Ok(ports::read_u8(port).into()),
                2 => Ok(ports::read_u16(port).into()),
                4 => Ok(ports::read_u32(port)),
                _ => Err(Error::failed("an access is 1, 2 or 4 bytes wide")),
            }
        }
    }

    /// Writes 1, 2 or 4 bytes.
    pub fn write(&self, offset: u16, width: u8, value: u32) -> Result<(), Error> {
        let port = self.port(offset, width)?;
        // SAFETY: as for reading. Truncation is what the width asks for.
        unsafe {
            match width {
                1 => ports::write_u8(port, value as u8),
                2 => ports::write_u16(port, value as u16),
                4 => ports::write_u32(port, value),
                _ => return Err(Error::failed("an access is 1, 2 or 4 bytes wide")),
            }
        }
        Ok(())
    }
}

impl Drop for IoPort {
    fn drop(&mut self) {
        if self.is_console() {
            log_sink::release_port();
        }
    }
}

/// Serves `IoPort`.
pub fn invoke(object: &Arc<IoPort>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(io_port::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let read = params.root::<io_port::read_params::Owned>()?;
            let value = object.read(read.get_offset(), read.get_width())?;
            answer.root::<io_port::read_results::Owned>()?.set_value(value);
        }
        1 => {
            let write = params.root::<io_port::write_params::Owned>()?;
            object.write(write.get_offset(), write.get_width(), write.get_value())?;
            answer.root::<io_port::write_results::Owned>()?;
        }
        2 => {
            let mut info = answer.root::<io_port::info_results::Owned>()?;
            info.set_first(object.first);
            info.set_count(object.count);
        }
        3 => {
            object.check_console()?;
            answer.root::<io_port::log_cursor_results::Owned>()?.set_cursor(log_sink::port_cursor());
        }
        4 => {
            object.check_console()?;
            log_sink::note_written(params.root::<io_port::log_written_params::Owned>()?.get_cursor());
            answer.root::<io_port::log_written_results::Owned>()?;
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

/// Serves `IoPortManager`.
pub fn invoke_manager(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(io_port_manager::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let claim = params.root::<io_port_manager::claim_params::Owned>()?;
            let ports = IoPort::legacy(claim.get_first(), claim.get_count(), params.account())?;
            answer.root::<io_port_manager::claim_results::Owned>()?;
            answer.capability(0, Object::IoPort(ports))
        }
        _ => Err(Error::NO_METHOD),
    }
}
