//! Answers of the host, with the unit's status and sense data.

use crate::spec::{response, sense, status};
use block::Status;

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The command was done.
    Done,
    /// It is to be tried again: something passed.
    Again,
    /// There is no such target.
    NoTarget,
    /// It failed.
    Failed(Status),
}

/// Offsets in an answer [VIRTIO-1.2 5.6.6.1].
const STATUS: usize = 10;
const RESPONSE: usize = 11;
const SENSE: usize = 12;

/// One answer's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    response: u8,
    status: u8,
    /// Sense key and additional sense code, if there are sense data.
    sense: Option<(u8, u8)>,
}

impl Answer {
    /// Reads an answer's bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let byte = |offset: usize| bytes.get(offset).copied().unwrap_or(u8::MAX);
        let sense = match byte(SENSE) & 0x7f {
            // Fixed format: key and code at 2 and 12 [SPC-4 4.5.3].
            0x70 | 0x71 => Some((byte(SENSE + 2) & 0xf, byte(SENSE + 12))),
            // Descriptor format [SPC-4 4.5.2].
            0x72 | 0x73 => Some((byte(SENSE + 1) & 0xf, byte(SENSE + 2))),
            _ => None,
        };
        Self { response: byte(RESPONSE), status: byte(STATUS), sense }
    }

    /// What it means.
    pub fn verdict(self) -> Verdict {
        match self.response {
            response::OK => {}
            response::BAD_TARGET => return Verdict::NoTarget,
            response::RESET | response::BUSY => return Verdict::Again,
            _ => return Verdict::Failed(Status::Device),
        }
        match self.status {
            status::GOOD => Verdict::Done,
            status::BUSY | status::TASK_SET_FULL => Verdict::Again,
            status::CHECK => match self.sense {
                Some((sense::NONE | sense::RECOVERED, _)) => Verdict::Done,
                Some((sense::NOT_READY | sense::ATTENTION | sense::ABORTED, _)) => Verdict::Again,
                Some((sense::MEDIUM, _)) => Verdict::Failed(Status::Medium),
                Some((sense::ILLEGAL, sense::OUT_OF_RANGE)) => Verdict::Failed(Status::OutOfRange),
                Some((sense::ILLEGAL, _)) => Verdict::Failed(Status::Unsupported),
                Some((sense::PROTECT, _)) => Verdict::Failed(Status::ReadOnly),
                _ => Verdict::Failed(Status::Device),
            },
            _ => Verdict::Failed(Status::Device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(response: u8, status: u8, sense: &[(usize, u8)]) -> Verdict {
        let mut bytes = [0; 108];
        bytes[RESPONSE] = response;
        bytes[STATUS] = status;
        for (offset, byte) in sense {
            bytes[SENSE + offset] = *byte;
        }
        Answer::new(&bytes).verdict()
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(verdict(0, 0, &[]), Verdict::Done);
        assert_eq!(verdict(3, 0, &[]), Verdict::NoTarget);
        assert_eq!(verdict(5, 0, &[]), Verdict::Again);
        assert_eq!(verdict(0, 2, &[(0, 0x70), (2, 6), (12, 0x29)]), Verdict::Again);
        assert_eq!(verdict(0, 2, &[(0, 0x72), (1, 3)]), Verdict::Failed(Status::Medium));
        assert_eq!(verdict(0, 2, &[(0, 0x70), (2, 5), (12, 0x21)]), Verdict::Failed(Status::OutOfRange));
        assert_eq!(verdict(0, 2, &[(0, 0x70), (2, 7)]), Verdict::Failed(Status::ReadOnly));
        assert_eq!(verdict(0, 2, &[]), Verdict::Failed(Status::Device));
        assert_eq!(verdict(9, 0, &[]), Verdict::Failed(Status::Device));
        assert_eq!(Answer::new(&[]).verdict(), Verdict::Failed(Status::Device), "nothing is no success");
    }
}
