//! The format of a host's requests over all its disks.

use crate::{
    answer::{Answer, Verdict},
    command::{self, Unit, header},
    spec::{ANSWER_BYTES, HEADER_BYTES, UNMAP_BYTES},
};
use alloc::vec::Vec;
use block::{Command, Disk, Operation, Status, WriteMode};
use virtio::{PciTransport, features};
use virtio_disk::{Format, Outcome, Payload, Step};

/// Forced unit access, in the second byte of a write.
const FORCED_UNIT_ACCESS: u8 = 1 << 3;

/// What this driver can do of what a host offers.
pub fn choose(_: &PciTransport, _: u64) -> u64 {
    features::ACCESS_PLATFORM | features::ORDER_PLATFORM
}

/// One disk and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The unit.
    pub unit: Unit,
    /// What it is.
    pub disk: Disk,
}

/// The format over all disks of a host.
pub struct ScsiFormat {
    units: Vec<Unit>,
    disks: Vec<Disk>,
}

impl ScsiFormat {
    /// The format over these disks.
    pub fn new(targets: Vec<Target>) -> Self {
        let units = targets.iter().map(|target| target.unit).collect();
        Self { units, disks: targets.into_iter().map(|target| target.disk).collect() }
    }
}

impl Format for ScsiFormat {
    const REQUEST: u32 = HEADER_BYTES;
    const RESPONSE: u32 = ANSWER_BYTES;
    const RESPONSE_FIRST: bool = true;

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
        let (Some(unit), Some(facts)) = (self.units.get(disk), self.disks.get(disk)) else {
            return Err(Status::Device);
        };
        let durable = command.operation == Operation::Write(WriteMode::Durable) && facts.forced_unit_access;
        let (cdb, payload) = match (step, command.operation) {
            (Step::Flush, _) | (_, Operation::Flush) => (command::synchronize(), Payload::None),
            (_, operation) => {
                let payload = match operation {
                    Operation::Read => Payload::Fill,
                    Operation::Write(_) => Payload::Send,
                    Operation::Discard => Payload::Extra(UNMAP_BYTES),
                    Operation::WriteZeroes => Payload::Zeroes(facts.block_bytes),
                    Operation::Flush => Payload::None,
                };
                (command::block(command, if durable { FORCED_UNIT_ACCESS } else { 0 }), payload)
            }
        };
        if payload == Payload::Extra(UNMAP_BYTES)
            && let Some(place) = extra.get_mut(..UNMAP_BYTES as usize)
        {
            place.copy_from_slice(&command::unmap(command));
        }
        let place = target.get_mut(..HEADER_BYTES as usize).ok_or(Status::Device)?;
        place.copy_from_slice(&header(*unit, &cdb));
        Ok(payload)
    }

    fn decode(&self, response: &[u8]) -> Outcome {
        match Answer::new(response).verdict() {
            Verdict::Done => Outcome::Over(Status::Done),
            Verdict::Again => Outcome::Again,
            Verdict::NoTarget => Outcome::Over(Status::Device),
            Verdict::Failed(status) => Outcome::Over(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{Access, Identity};

    fn encode(operation: Operation, step: Step, forced_unit_access: bool) -> (Payload, Vec<u8>, Vec<u8>) {
        let disk = Disk {
            block_bytes: 512,
            blocks: 100,
            maximum_blocks: 10,
            maximum_discard: 10,
            maximum_zero: 10,
            access: Access::ReadWrite,
            write_cache: true,
            forced_unit_access,
            identity: Identity::default(),
        };
        let format = ScsiFormat::new(vec![Target { unit: Unit { target: 1, number: 0 }, disk }]);
        let (mut header, mut extra) = ([0; 64], [0; 64]);
        let command = Command { operation, block: 3, blocks: 2, offset: 512 };
        let payload = format.encode(0, &command, step, &mut header, &mut extra).expect("good");
        assert_eq!(format.encode(1, &command, step, &mut header, &mut extra), Err(Status::Device));
        (payload, header[19..35].to_vec(), extra[..24].to_vec())
    }

    #[test]
    fn each_operation_is_its_command() {
        let durable = Operation::Write(WriteMode::Durable);
        let cached = Operation::Write(WriteMode::Cached);
        let whole = Step::Whole;
        let code = |operation, step, forced| {
            let (payload, header, _) = encode(operation, step, forced);
            (payload, header[0], header[1])
        };
        assert_eq!(code(Operation::Read, whole, true), (Payload::Fill, 0x88, 0));
        assert_eq!(code(cached, whole, true), (Payload::Send, 0x8a, 0));
        assert_eq!(code(durable, whole, true), (Payload::Send, 0x8a, 8));
        assert_eq!(code(durable, whole, false), (Payload::Send, 0x8a, 0));
        assert_eq!(code(durable, Step::Flush, false), (Payload::None, 0x35, 0));
        assert_eq!(code(Operation::Flush, whole, false), (Payload::None, 0x35, 0));
        assert_eq!(code(Operation::WriteZeroes, whole, false), (Payload::Zeroes(512), 0x93, 0));
        let (payload, header, extra) = encode(Operation::Discard, whole, false);
        assert_eq!((payload, header[0], header[8]), (Payload::Extra(24), 0x42, 24));
        assert_eq!((extra[15], extra[19]), (3, 2));
    }
}
