//! What a kind of disk does for its driver.

use crate::disk::Disk;
use alloc::{string::String, vec::Vec};
use core::time::Duration;
use ring::block::{Operation, Status, Tag};

/// Which request of which queue a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Place of the queue in the driver; free for another one only when none of its commands is with the device.
    pub queue: u16,
    /// The client's tag.
    pub tag: Tag,
}

/// A checked request: blocks of one disk, and a place inside the queue's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub operation: Operation,
    /// First block on the disk.
    pub block: u64,
    /// Number of blocks; 0 for a flush.
    pub blocks: u32,
    /// Where its data is in the buffers; a multiple of 512.
    pub offset: u32,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room now: it is to be tried again after something is done.
    Full,
    /// It is over with this answer.
    Answer(Status),
}

/// The hardware behind a driver, as far as blocks go. Nothing here waits.
///
/// Each command that was taken is answered once, by [`Self::reap`], however often the device had to be asked.
pub trait Engine {
    /// A queue's buffers as the device reaches them.
    type Pool;

    /// Notes the time, before what follows.
    fn set_time(&mut self, now: Duration);

    /// The driver's disks.
    fn disks(&self) -> &[Disk];

    /// Whether a command would be taken now.
    fn has_room(&self, queue: u16) -> bool;

    /// Takes a command for a disk. The device need not learn of it before [`Self::publish`].
    fn submit(
        &mut self,
        disk: usize,
        ticket: Ticket,
        command: &Command,
        pool: &Self::Pool,
    ) -> Result<(), Refusal>;

    /// Tells the device of all commands since the last time.
    fn publish(&mut self);

    /// Adds what the device has done.
    fn reap(&mut self, done: &mut Vec<(Ticket, Status)>);

    /// Asks the device for interrupts, where it must be asked; true when it has done something meanwhile.
    fn arm(&mut self) -> bool {
        false
    }

    /// Asks for no interrupts, where that can be said.
    fn disarm(&mut self) {}

    /// Looks after commands that take too long, and takes the next step where the device is being reset.
    fn tick(&mut self);

    /// After how long [`Self::tick`] is to be called, whatever signals come; `None` while the device has nothing to do.
    fn next_tick(&self) -> Option<Duration>;

    /// Why the device cannot be used any more, if so; to be asked after [`Self::tick`].
    fn failure(&self) -> Option<String> {
        None
    }

    /// Begins the end: nothing more is taken, what was written is made to last, and the device is stopped, all within a time that
    /// the engine sets. [`Self::tick`] takes the steps.
    fn stop(&mut self);

    /// Whether the device is stopped after [`Self::stop`]. Errors: it cannot be, or something was not done before.
    fn stopped(&self) -> Option<Result<(), String>>;

    /// How often the device was reset to bring commands back.
    fn resets(&self) -> u64 {
        0
    }
}
