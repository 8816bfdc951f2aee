//! The bytes of requests and answers.

use crate::spec::{HEADER_BYTES, SECTOR_BYTES, SEGMENT_BYTES, STATUS_BYTES, request, status};
use alloc::{vec, vec::Vec};
use block::{Command, Disk, Operation, Status};
use virtio_disk::{Format, Outcome, Payload, Step};

/// The format of a block device with one disk.
pub struct BlockFormat {
    disks: Vec<Disk>,
}

impl BlockFormat {
    /// The format over a disk.
    pub fn new(disk: Disk) -> Self {
        Self { disks: vec![disk] }
    }

    /// The header of a request for the serial number.
    pub fn identify() -> [u8; HEADER_BYTES as usize] {
        header(request::IDENTIFY, 0)
    }
}

fn header(kind: u32, sector: u64) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    put(&mut bytes, 0, &kind.to_le_bytes());
    put(&mut bytes, 8, &sector.to_le_bytes());
    bytes
}

fn put(target: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = target.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl Format for BlockFormat {
    const REQUEST: u32 = HEADER_BYTES;
    const RESPONSE: u32 = STATUS_BYTES;
    const RESPONSE_FIRST: bool = false;

    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn encode(
        &self,
        disk: usize,
        command: &Command,
        step: Step,
        target: &mut [u8],
        extra: &mut [u8],
    ) -> Result<Payload, Status> {
        let disk = self.disks.get(disk).ok_or(Status::Device)?;
        let sectors_of_a_block = disk.block_bytes / SECTOR_BYTES;
        let sector = command.block.checked_mul(sectors_of_a_block.into()).ok_or(Status::OutOfRange)?;
        let (kind, payload) = match (step, command.operation) {
            (Step::Flush, _) | (_, Operation::Flush) => (request::FLUSH, Payload::None),
            (_, Operation::Read) => (request::READ, Payload::Fill),
            (_, Operation::Write(_)) => (request::WRITE, Payload::Send),
            (_, Operation::Discard) => (request::DISCARD, Payload::Extra(SEGMENT_BYTES)),
            (_, Operation::WriteZeroes) => (request::WRITE_ZEROES, Payload::Extra(SEGMENT_BYTES)),
        };
        if let Payload::Extra(_) = payload {
            let sectors = command.blocks.checked_mul(sectors_of_a_block).ok_or(Status::BadLength)?;
            put(extra, 0, &sector.to_le_bytes());
            put(extra, 8, &sectors.to_le_bytes());
        }
        // The sector of what has no data of its own is zero.
        let sector = if command.operation.has_data() && step == Step::Whole { sector } else { 0 };
        put(target, 0, &header(kind, sector));
        Ok(payload)
    }

    fn decode(&self, response: &[u8]) -> Outcome {
        Outcome::Over(match response.first().copied() {
            Some(status::OK) => Status::Done,
            Some(status::UNSUPPORTED) => Status::Unsupported,
            _ => Status::Device,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{Access, Identity, WriteMode};

    fn format() -> BlockFormat {
        BlockFormat::new(Disk {
            block_bytes: 4096,
            blocks: 100,
            maximum_blocks: 10,
            maximum_discard: 10,
            maximum_zero: 10,
            access: Access::ReadWrite,
            write_cache: true,
            forced_unit_access: false,
            identity: Identity::default(),
        })
    }

    fn encode(operation: Operation, step: Step) -> (Payload, [u8; 16], [u8; 16]) {
        let (mut header, mut extra) = ([0; 64], [0; 64]);
        let command = Command { operation, block: 3, blocks: 2, offset: 512 };
        let payload = format().encode(0, &command, step, &mut header, &mut extra).expect("good");
        assert!(header[16..].iter().chain(&extra[16..]).all(|byte| *byte == 0));
        (payload, header[..16].try_into().expect("16"), extra[..16].try_into().expect("16"))
    }

    #[test]
    fn requests_count_in_sectors() {
        let write = Operation::Write(WriteMode::Durable);
        assert_eq!(encode(Operation::Read, Step::Whole), (Payload::Fill, header(0, 24), [0; 16]));
        assert_eq!(encode(write, Step::Whole), (Payload::Send, header(1, 24), [0; 16]));
        assert_eq!(encode(write, Step::Flush), (Payload::None, header(4, 0), [0; 16]));
        let (payload, head, extra) = encode(Operation::Discard, Step::Whole);
        assert_eq!((payload, head), (Payload::Extra(16), header(11, 0)));
        assert_eq!(extra, [24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn answers_are_believed_only_if_they_are_known() {
        for (byte, status) in
            [(0, Status::Done), (1, Status::Device), (2, Status::Unsupported), (0xff, Status::Device)]
        {
            assert_eq!(format().decode(&[byte]), Outcome::Over(status));
        }
        assert_eq!(format().decode(&[]), Outcome::Over(Status::Device));
    }
}
