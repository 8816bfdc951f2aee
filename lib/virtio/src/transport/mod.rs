//! The two ways to a virtio PCI device, behind the crate's `Transport`.

mod legacy;
mod modern;

pub use legacy::{LegacyTransport, Msix};
pub use modern::ModernTransport;

use core::fmt;
use virtio_drivers::{
    Error, PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The most queues of one device that can be used.
pub const MAXIMUM_QUEUES: usize = 16;

/// The vector number that stands for none [VIRTIO-1.2 4.1.4.3.2].
pub const NO_VECTOR: u16 = 0xffff;

/// What a device answered that no device should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFault {
    /// It has no room for an interrupt vector: it read back as [`NO_VECTOR`].
    Vector(u16),
    /// It puts a queue's notification address outside of the block for those.
    NotifyOffset(u32),
    /// A queue number past [`MAXIMUM_QUEUES`] or what the device has.
    NoSuchQueue(u16),
    /// A queue address that a legacy device cannot be told: above 16 TiB.
    QueueAddress(u64),
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vector(vector) => write!(f, "the device did not take interrupt vector {vector}"),
            Self::NotifyOffset(offset) => {
                write!(f, "the device's notify offset {offset:#x} is outside its block")
            }
            Self::NoSuchQueue(queue) => write!(f, "the device has no queue {queue}"),
            Self::QueueAddress(address) => write!(f, "a legacy device cannot reach a queue at {address:#x}"),
        }
    }
}

impl core::error::Error for TransportFault {}

/// A virtio device behind one PCI function.
pub enum PciTransport {
    /// Virtio 1.0 and later: register blocks in memory BARs.
    Modern(ModernTransport),
    /// Virtio 0.9.5: one I/O BAR.
    Legacy(LegacyTransport),
}

/// Calls the same method on whichever it is.
macro_rules! either {
    ($transport:expr, $inner:ident => $call:expr) => {
        match $transport {
            PciTransport::Modern($inner) => $call,
            PciTransport::Legacy($inner) => $call,
        }
    };
}

impl PciTransport {
    /// Selects a queue, gives it an interrupt vector and returns the size that the device offers, 0 for no queue.
    pub fn prepare_queue(&mut self, queue: u16, vector: u16) -> Result<u16, TransportFault> {
        either!(self, transport => transport.prepare_queue(queue, vector))
    }

    /// Sets the vector for changes of the configuration.
    pub fn set_config_vector(&mut self, vector: u16) -> Result<(), TransportFault> {
        either!(self, transport => transport.set_config_vector(vector))
    }

    /// What went wrong in a call that has no way to say so, if anything did.
    pub fn fault(&self) -> Option<TransportFault> {
        either!(self, transport => transport.fault())
    }

    /// Reads a byte of the device-specific configuration; `None` past its end.
    pub fn config_u8(&self, offset: u32) -> Option<u8> {
        either!(self, transport => transport.config_u8(offset))
    }

    /// Reads two bytes of the device-specific configuration; `None` past its end.
    pub fn config_u16(&self, offset: u32) -> Option<u16> {
        either!(self, transport => transport.config_u16(offset))
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        either!(self, transport => transport.device_type())
    }

    fn read_device_features(&mut self) -> u64 {
        either!(self, transport => transport.read_device_features())
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        either!(self, transport => transport.write_driver_features(driver_features))
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        either!(self, transport => transport.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        either!(self, transport => transport.notify(queue))
    }

    fn get_status(&self) -> DeviceStatus {
        either!(self, transport => transport.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        either!(self, transport => transport.set_status(status))
    }

    fn set_guest_page_size(&mut self, _guest_page_size: u32) {
        // Only virtio over MMIO has this register.
    }

    fn requires_legacy_layout(&self) -> bool {
        matches!(self, Self::Legacy(_))
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        either!(self, transport => transport.queue_set(queue, size, descriptors, driver, device))
    }

    fn queue_unset(&mut self, queue: u16) {
        either!(self, transport => transport.queue_unset(queue))
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        either!(self, transport => transport.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        either!(self, transport => transport.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        either!(self, transport => transport.read_config_generation())
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        let offset = u32::try_from(offset).map_err(|_| Error::ConfigSpaceTooSmall)?;
        // Fields of 2 bytes are read in one access, all else by bytes: that is consistent for what net and block
        // devices have, and any access of 1 byte is allowed [VIRTIO-1.2 4.1.3.1].
        if let [low, high] = bytes {
            [*low, *high] = self.config_u16(offset).ok_or(Error::ConfigSpaceTooSmall)?.to_le_bytes();
            return Ok(value);
        }
        for (byte, offset) in bytes.iter_mut().zip(offset..) {
            *byte = self.config_u8(offset).ok_or(Error::ConfigSpaceTooSmall)?;
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _offset: usize,
        _value: T,
    ) -> Result<(), Error> {
        // No driver here writes to its device's configuration.
        Err(Error::Unsupported)
    }
}
