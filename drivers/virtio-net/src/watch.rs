//! Notices a device that has stopped without a word: one that was reset behind the driver's back, whose interrupts do
//! not come, or that takes no more frames.

use crate::{Device, Fault, device::Work};
use ring::SharedMemory;

/// Looks in a row that must find buffers used, and no interrupt since the look before, until interrupts count as lost. What
/// came just before a look is not.
const SILENT: u32 = 2;

/// Looks in a row that must find the device with frames to send, and none of them sent.
const STALLED: u32 = 10;

/// What one look at a working device finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The driver sleeps, and the device has used buffers.
    pub used: bool,
    /// Buffers of sent frames went back to the client, which may want to know.
    pub returned: bool,
    /// The device has frames to send, and none of them is sent.
    pub sending: bool,
    /// Frames that it has given back so far.
    pub sent: u64,
}

/// What the looks so far have found.
#[derive(Debug, Default)]
pub struct Watch {
    interrupts: u64,
    sent: u64,
    silent: u32,
    stalled: u32,
}

impl Watch {
    /// Looks at the device, now and then; `interrupts` counts what came so far. [`Work::More`] when there is something to do
    /// that no interrupt told.
    pub fn look<M: SharedMemory>(&mut self, device: &mut Device<M>, interrupts: u64) -> Result<Work, Fault> {
        let Some(sight) = device.sight()? else {
            *self = Self::default();
            return Ok(Work::None);
        };
        let unheard = sight.used && interrupts == self.interrupts;
        self.silent = if unheard { self.silent + 1 } else { 0 };
        self.stalled = if sight.sending && sight.sent == self.sent { self.stalled + 1 } else { 0 };
        (self.interrupts, self.sent) = (interrupts, sight.sent);
        if self.silent >= SILENT {
            return Err(Fault::Silent);
        }
        if self.stalled >= STALLED {
            return Err(Fault::Stalled);
        }
        Ok(if unheard || sight.returned { Work::More } else { Work::None })
    }
}
