//! SCSI commands, and the header that carries them.

use crate::spec::{HEADER_BYTES, code, page};
use block::{Command, Operation};

/// The bytes of a command, padded to what a header has room for.
pub type Cdb = [u8; 32];

/// A logical unit: target and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Target.
    pub target: u8,
    /// Logical unit number, below 16384.
    pub number: u16,
}

impl Unit {
    /// The address in a header [VIRTIO-1.2 5.6.6.1].
    fn address(self) -> [u8; 8] {
        let [high, low] = self.number.to_be_bytes();
        [1, self.target, high & 0x3f | 0x40, low, 0, 0, 0, 0]
    }
}

/// The header of a command for a unit. All commands are simple ones, and their tag says nothing.
pub fn header(unit: Unit, cdb: &Cdb) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    let (address, rest) = bytes.split_at_mut(8);
    address.copy_from_slice(&unit.address());
    // 8 bytes of tag, then attribute, priority and reference number.
    if let Some(place) = rest.get_mut(11..) {
        place.copy_from_slice(cdb);
    }
    bytes
}

fn cdb(parts: &[(usize, &[u8])]) -> Cdb {
    let mut bytes = [0; 32];
    for (offset, part) in parts {
        if let Some(place) = bytes.get_mut(*offset..offset + part.len()) {
            place.copy_from_slice(part);
        }
    }
    bytes
}

/// What the unit is [SPC-4 6.6].
pub fn inquiry(bytes: u16) -> Cdb {
    cdb(&[(0, &[code::INQUIRY]), (3, &bytes.to_be_bytes())])
}

/// A page of product data.
pub fn product_data(page: u8, bytes: u16) -> Cdb {
    cdb(&[(0, &[code::INQUIRY, 1, page]), (3, &bytes.to_be_bytes())])
}

/// Which units a target has [SPC-4 6.33].
pub fn report_units(bytes: u32) -> Cdb {
    cdb(&[(0, &[code::REPORT_UNITS]), (6, &bytes.to_be_bytes())])
}

/// How many blocks there are [SBC-3 5.16].
pub fn read_capacity_16(bytes: u32) -> Cdb {
    cdb(&[(0, &[code::SERVICE_ACTION_IN, code::READ_CAPACITY_16]), (10, &bytes.to_be_bytes())])
}

/// The same, of old units.
pub fn read_capacity_10() -> Cdb {
    cdb(&[(0, &[code::READ_CAPACITY_10])])
}

/// A mode page [SPC-4 6.11].
pub fn mode_sense(page: u8, bytes: u8) -> Cdb {
    cdb(&[(0, &[code::MODE_SENSE, 0, page, 0, bytes])])
}

/// A block command; `durable` is the bit for forced unit access, where the unit knows it.
pub fn block(command: &Command, durable: u8) -> Cdb {
    let place = command.block.to_be_bytes();
    let count = command.blocks.to_be_bytes();
    match command.operation {
        Operation::Read => cdb(&[(0, &[code::READ]), (2, &place), (10, &count)]),
        Operation::Write(_) => cdb(&[(0, &[code::WRITE, durable]), (2, &place), (10, &count)]),
        Operation::WriteZeroes => cdb(&[(0, &[code::WRITE_SAME]), (2, &place), (10, &count)]),
        Operation::Discard => {
            let bytes = crate::spec::UNMAP_BYTES as u16;
            cdb(&[(0, &[code::UNMAP]), (7, &bytes.to_be_bytes())])
        }
        Operation::Flush => synchronize(),
    }
}

/// Makes all that was written outlive the power [SBC-3 5.22].
pub fn synchronize() -> Cdb {
    cdb(&[(0, &[code::SYNCHRONIZE])])
}

/// The parameters of an unmap of one range.
pub fn unmap(command: &Command) -> [u8; crate::spec::UNMAP_BYTES as usize] {
    let mut bytes = [0; crate::spec::UNMAP_BYTES as usize];
    // Length of what follows, and of the ranges in it.
    bytes[1] = 22;
    bytes[3] = 16;
    bytes[8..16].copy_from_slice(&command.block.to_be_bytes());
    bytes[16..20].copy_from_slice(&command.blocks.to_be_bytes());
    bytes
}

/// All mode pages of a unit.
pub fn all_modes() -> Cdb {
    mode_sense(page::ALL_MODES, 192)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_addressed_as_the_host_wants() {
        let header = header(Unit { target: 5, number: 0x123 }, &synchronize());
        assert_eq!(header[..8], [1, 5, 0x41, 0x23, 0, 0, 0, 0]);
        assert_eq!(header.len(), 51);
    }

    #[test]
    fn commands_are_big_endian() {
        let command =
            Command { operation: Operation::Read, block: 0x0102_0304_0506, blocks: 0x0708, offset: 0 };
        let read = block(&command, 0);
        assert_eq!(read[..16], [0x88, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 0, 0]);
        let unmap = unmap(&command);
        assert_eq!(unmap[..8], [0, 22, 0, 16, 0, 0, 0, 0]);
        assert_eq!(unmap[8..], [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 0, 0, 0, 0]);
        assert_eq!(product_data(0xb0, 64)[..6], [0x12, 1, 0xb0, 0, 64, 0]);
    }
}
