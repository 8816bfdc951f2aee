//! The crate's queue behind a type without its size, and which sizes there are.

use super::{MAXIMUM_PARTS, QueueError, stack::on_stack_of};
use crate::{dma::ProcessHal, transport::PciTransport};
use alloc::boxed::Box;
use core::ptr::NonNull;
use virtio_drivers::{Error, queue::VirtQueue};

/// Addresses of a chain's parts; mapped while the queue holds its memories.
pub(super) struct Spans(pub(super) [Option<NonNull<[u8]>>; MAXIMUM_PARTS]);

impl Spans {
    /// Lends the first `readable` and the `writable` next spans to `f` in the form that the crate asks for.
    fn lend<R>(
        &self,
        readable: usize,
        writable: usize,
        f: impl for<'a> FnOnce(&'a [&'a [u8]], &'a mut [&'a mut [u8]]) -> R,
    ) -> Option<R> {
        let mut inputs: [&[u8]; MAXIMUM_PARTS] = [&[]; MAXIMUM_PARTS];
        let mut outputs: [&mut [u8]; MAXIMUM_PARTS] = [&mut [], &mut [], &mut [], &mut []];
        let mut spans = self.0.iter().flatten();
        for input in inputs.get_mut(..readable)? {
            // SAFETY: the span is mapped (see `Spans`). The reference lives only while the crate turns it into
            // an address; the crate reads no byte through it. The device may write there meanwhile, which no code sees.
            *input = unsafe { spans.next()?.as_ref() };
        }
        for output in outputs.get_mut(..writable)? {
            // SAFETY: as above; the crate writes no byte through it either.
            *output = unsafe { &mut *spans.next()?.as_ptr() };
        }
        Some(f(inputs.get(..readable)?, outputs.get_mut(..writable)?))
    }
}

/// The crate's queue without its size in the type.
pub(super) trait Ring {
    fn add(&mut self, spans: &Spans, readable: usize, writable: usize) -> Result<u16, Error>;
    fn peek_used(&self) -> Option<u16>;
    fn pop_used(&mut self, token: u16, spans: &Spans, readable: usize, writable: usize)
    -> Result<u32, Error>;
    fn should_notify(&self) -> bool;
    fn set_interrupts(&mut self, wanted: bool);
}

impl<const SIZE: usize> Ring for VirtQueue<ProcessHal, SIZE> {
    fn add(&mut self, spans: &Spans, readable: usize, writable: usize) -> Result<u16, Error> {
        spans
            .lend(readable, writable, |inputs, outputs| {
                // SAFETY: the memory stays mapped while the queue lives, since the queue holds it, and the device is
                // reset before that ends. Nothing here reads or writes it meanwhile; what shares it
                // with another process is bytes that any side may change.
                unsafe { VirtQueue::add(self, inputs, outputs) }
            })
            .unwrap_or(Err(Error::InvalidParam))
    }

    fn peek_used(&self) -> Option<u16> {
        VirtQueue::peek_used(self)
    }

    fn pop_used(
        &mut self,
        token: u16,
        spans: &Spans,
        readable: usize,
        writable: usize,
    ) -> Result<u32, Error> {
        spans
            .lend(readable, writable, |inputs, outputs| {
                // SAFETY: the spans are those that the chain with this token was added with.
                unsafe { VirtQueue::pop_used(self, token, inputs, outputs) }
            })
            .unwrap_or(Err(Error::InvalidParam))
    }

    fn should_notify(&self) -> bool {
        VirtQueue::should_notify(self)
    }

    fn set_interrupts(&mut self, wanted: bool) {
        self.set_dev_notify(wanted);
    }
}

/// The size to use of a queue for which the device says `offered`.
pub(super) fn queue_size(
    transport: &PciTransport,
    offered: u16,
    maximum_in_flight: u16,
) -> Result<u16, QueueError> {
    // 0 means "no such queue"; a legacy driver cannot change the size [VIRTIO-1.2 4.1.5.1.3.1].
    if !offered.is_power_of_two() || offered < SMALLEST {
        return Err(QueueError::Size(offered));
    }
    match transport {
        PciTransport::Legacy(_) => Ok(offered),
        PciTransport::Modern(_) => {
            let useful = usize::from(maximum_in_flight)
                .saturating_mul(MAXIMUM_PARTS)
                .max(usize::from(SMALLEST))
                .next_power_of_two();
            Ok(offered.min(u16::try_from(useful).unwrap_or(1 << 15)).min(LARGEST_MODERN))
        }
    }
}

/// The smallest queue that is used.
const SMALLEST: u16 = 64;

/// The largest queue that is used where the driver may choose.
const LARGEST_MODERN: u16 = 1024;

/// Makes the crate's queue of a size that is one of those that it is compiled for: each costs some 8 KiB of code.
/// These are what devices have been seen with, on QEMU (256 to 1024) and on Google Compute Engine (network cards 4096, SCSI
/// hosts 8192).
pub(super) fn new_ring(
    transport: &mut PciTransport,
    index: u16,
    size: u16,
) -> Result<Box<dyn Ring>, QueueError> {
    match size {
        64 => ring::<64>(transport, index),
        128 => ring::<128>(transport, index),
        256 => ring::<256>(transport, index),
        512 => ring::<512>(transport, index),
        1024 => ring::<1024>(transport, index),
        2048 => on_stack_of(stack_for(size), || ring::<2048>(transport, index)),
        4096 => on_stack_of(stack_for(size), || ring::<4096>(transport, index)),
        8192 => on_stack_of(stack_for(size), || ring::<8192>(transport, index)),
        other => Err(QueueError::Size(other)),
    }
}

/// Stack that making a queue needs: its table of descriptors some times over, and as much as any call.
const fn stack_for(size: u16) -> usize {
    // The crate's constructor and the move into the box; an unoptimised build moves it about more often.
    let tables = if cfg!(debug_assertions) { 16 } else { 3 };
    tables * 16 * size as usize + (32 << 10)
}

/// Kept out of line so that only the size that is used needs stack: the crate builds its tables there.
#[inline(never)]
fn ring<const SIZE: usize>(transport: &mut PciTransport, index: u16) -> Result<Box<dyn Ring>, QueueError> {
    let queue = VirtQueue::<ProcessHal, SIZE>::new(transport, index, false, false);
    Ok(Box::new(queue.map_err(QueueError::Refused)?))
}
