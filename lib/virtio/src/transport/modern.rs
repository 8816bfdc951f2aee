//! Virtio 1.0 and later over PCI.
//!
//! [VIRTIO-1.2 4.1.4.3]

use super::{MAXIMUM_QUEUES, NO_VECTOR, TransportFault};
use crate::setup::features;
use alloc::boxed::Box;
use device::Registers;
use virtio_drivers::{
    PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus},
};

/// Offsets in `virtio_pci_common_cfg`.
mod common {
    pub const DEVICE_FEATURE_SELECT: u32 = 0;
    pub const DEVICE_FEATURE: u32 = 4;
    pub const DRIVER_FEATURE_SELECT: u32 = 8;
    pub const DRIVER_FEATURE: u32 = 12;
    pub const CONFIG_MSIX_VECTOR: u32 = 16;
    pub const NUM_QUEUES: u32 = 18;
    pub const DEVICE_STATUS: u32 = 20;
    pub const CONFIG_GENERATION: u32 = 21;
    pub const QUEUE_SELECT: u32 = 22;
    pub const QUEUE_SIZE: u32 = 24;
    pub const QUEUE_MSIX_VECTOR: u32 = 26;
    pub const QUEUE_ENABLE: u32 = 28;
    pub const QUEUE_NOTIFY_OFF: u32 = 30;
    pub const QUEUE_DESC: u32 = 32;
    pub const QUEUE_DRIVER: u32 = 40;
    pub const QUEUE_DEVICE: u32 = 48;
}

/// The register blocks of a modern device.
pub struct ModernTransport {
    device_type: DeviceType,
    common: Box<dyn Registers>,
    notify: Box<dyn Registers>,
    notify_multiplier: u32,
    isr: Box<dyn Registers>,
    device: Option<Box<dyn Registers>>,
    /// Where each prepared queue is notified, checked to be inside the block.
    notify_offsets: [Option<u32>; MAXIMUM_QUEUES],
}

impl ModernTransport {
    /// A device with these blocks, of the sizes that [`crate::ModernLayout`] checked.
    pub fn new(
        device_type: DeviceType,
        common: Box<dyn Registers>,
        notify: Box<dyn Registers>,
        notify_multiplier: u32,
        isr: Box<dyn Registers>,
        device: Option<Box<dyn Registers>>,
    ) -> Self {
        let notify_offsets = [None; MAXIMUM_QUEUES];
        Self { device_type, common, notify, notify_multiplier, isr, device, notify_offsets }
    }

    pub(super) fn prepare_queue(&mut self, queue: u16, vector: u16) -> Result<u16, TransportFault> {
        let fault = TransportFault::NoSuchQueue(queue);
        let place = self.notify_offsets.get_mut(usize::from(queue)).ok_or(fault)?;
        if queue >= self.common.read_u16(common::NUM_QUEUES) {
            return Err(fault);
        }
        self.common.write_u16(common::QUEUE_SELECT, queue);
        let size = self.common.read_u16(common::QUEUE_SIZE);
        let offset = u32::from(self.common.read_u16(common::QUEUE_NOTIFY_OFF))
            .checked_mul(self.notify_multiplier)
            .ok_or(TransportFault::NotifyOffset(u32::MAX))?;
        if offset.checked_add(2).is_none_or(|end| end > self.notify.size()) {
            return Err(TransportFault::NotifyOffset(offset));
        }
        *place = Some(offset);
        self.common.write_u16(common::QUEUE_MSIX_VECTOR, vector);
        // The device says NO_VECTOR when it could not map the vector [VIRTIO-1.2 4.1.5.1.2].
        if vector != NO_VECTOR && self.common.read_u16(common::QUEUE_MSIX_VECTOR) != vector {
            return Err(TransportFault::Vector(vector));
        }
        Ok(size)
    }

    pub(super) fn set_config_vector(&mut self, vector: u16) -> Result<(), TransportFault> {
        self.common.write_u16(common::CONFIG_MSIX_VECTOR, vector);
        if vector != NO_VECTOR && self.common.read_u16(common::CONFIG_MSIX_VECTOR) != vector {
            return Err(TransportFault::Vector(vector));
        }
        Ok(())
    }

    pub(super) fn fault(&self) -> Option<TransportFault> {
        None
    }

    pub(super) fn config_u8(&self, offset: u32) -> Option<u8> {
        let device = self.device.as_ref().filter(|device| offset < device.size())?;
        Some(device.read_u8(offset))
    }

    pub(super) fn config_u16(&self, offset: u32) -> Option<u16> {
        let end = offset.checked_add(2)?;
        let device = self.device.as_ref().filter(|device| end <= device.size())?;
        Some(device.read_u16(offset))
    }

    pub(super) fn device_type(&self) -> DeviceType {
        self.device_type
    }

    pub(super) fn read_device_features(&mut self) -> u64 {
        self.common.write_u32(common::DEVICE_FEATURE_SELECT, 0);
        let low = self.common.read_u32(common::DEVICE_FEATURE);
        self.common.write_u32(common::DEVICE_FEATURE_SELECT, 1);
        let high = self.common.read_u32(common::DEVICE_FEATURE);
        u64::from(high) << 32 | u64::from(low)
    }

    pub(super) fn write_driver_features(&mut self, driver_features: u64) {
        debug_assert!(driver_features & features::VERSION_1 != 0);
        self.common.write_u32(common::DRIVER_FEATURE_SELECT, 0);
        self.common.write_u32(common::DRIVER_FEATURE, driver_features as u32);
        self.common.write_u32(common::DRIVER_FEATURE_SELECT, 1);
        self.common.write_u32(common::DRIVER_FEATURE, (driver_features >> 32) as u32);
    }

    pub(super) fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.common.write_u16(common::QUEUE_SELECT, queue);
        u32::from(self.common.read_u16(common::QUEUE_SIZE))
    }

    pub(super) fn notify(&mut self, queue: u16) {
        if let Some(Some(offset)) = self.notify_offsets.get(usize::from(queue)) {
            self.notify.write_u16(*offset, queue);
        }
    }

    pub(super) fn get_status(&self) -> DeviceStatus {
        // All ones when the device is gone: keep unknown bits, so that this is not taken for a reset device.
        DeviceStatus::from_bits_retain(u32::from(self.common.read_u8(common::DEVICE_STATUS)))
    }

    pub(super) fn set_status(&mut self, status: DeviceStatus) {
        // The status register has 8 bits.
        self.common.write_u8(common::DEVICE_STATUS, status.bits() as u8);
    }

    pub(super) fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.common.write_u16(common::QUEUE_SELECT, queue);
        // The caller chose a size of at most what `prepare_queue` returned, a u16.
        self.common.write_u16(common::QUEUE_SIZE, size as u16);
        for (register, address) in [
            (common::QUEUE_DESC, descriptors),
            (common::QUEUE_DRIVER, driver),
            (common::QUEUE_DEVICE, device),
        ] {
            // 64-bit registers are written as two halves [VIRTIO-1.2 4.1.3.1].
            self.common.write_u32(register, address as u32);
            self.common.write_u32(register + 4, (address >> 32) as u32);
        }
        self.common.write_u16(common::QUEUE_ENABLE, 1);
    }

    pub(super) fn queue_unset(&mut self, _queue: u16) {
        // A queue stays enabled until the device is reset [VIRTIO-1.2 4.1.4.3.2].
    }

    pub(super) fn queue_used(&mut self, queue: u16) -> bool {
        self.common.write_u16(common::QUEUE_SELECT, queue);
        self.common.read_u16(common::QUEUE_ENABLE) != 0
    }

    pub(super) fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(u32::from(self.isr.read_u8(0)))
    }

    pub(super) fn read_config_generation(&self) -> u32 {
        u32::from(self.common.read_u8(common::CONFIG_GENERATION))
    }
}
