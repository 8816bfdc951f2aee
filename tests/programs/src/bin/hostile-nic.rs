//! Stands between the network stack and the driver of the card, and misbehaves: each of the first sessions breaks another
//! rule of the rings. From then on the driver's own sessions are passed on, so that the stack can show that it lives.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::rc::Rc;
use capnp::Error;
use core::cell::Cell;
use rt::memory::{Mapping, Protection};
use schema::{
    memory_capnp::memory_object,
    network_capnp::{nic, nic_session},
};

rt::program!(run);

/// Buffers of each kind.
const BUFFERS: u32 = 16;
const BUFFER_BYTES: u32 = 2048;
const RINGS_PAGES: u32 = 1;
const BUFFER_PAGES: u32 = 2 * BUFFERS * BUFFER_BYTES / 4096;

/// Bytes of a ring's header; the first ring, that of received frames, starts the memory.
const HEADER_BYTES: usize = 128;

/// What a session does wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A frame that lies behind all buffers.
    Offset,
    /// A frame that is longer than its buffer.
    Length,
    /// A frame in a buffer for sending.
    WrongBuffer,
    /// A flag that does not exist.
    Flag,
    /// More frames than the ring has places.
    Position,
    /// A number of buffers that no ring has.
    Count,
    /// Buffers of no bytes.
    NoBytes,
    /// Less memory than the numbers say.
    ShortRings,
    ShortBuffers,
}

const FAULTS: [Fault; 9] = [
    Fault::Offset,
    Fault::Length,
    Fault::WrongBuffer,
    Fault::Flag,
    Fault::Position,
    Fault::Count,
    Fault::NoBytes,
    Fault::ShortRings,
    Fault::ShortBuffers,
];

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let nic = HostileNic { driver: environment.grant("nic")?, sessions: Cell::new(0) };
    environment.export("nic", rt::serve::<nic::Client, _>(Rc::new(nic))).await?;
    core::future::pending().await
}

struct HostileNic {
    driver: nic::Client,
    sessions: Cell<usize>,
}

impl nic::Server for HostileNic {
    async fn info(self: Rc<Self>, _: nic::InfoParams, mut results: nic::InfoResults) -> Result<(), Error> {
        let answer = self.driver.info_request().send().promise.await?;
        let (from, mut to) = (answer.get()?, results.get());
        to.set_mac(from.get_mac()?);
        to.set_mtu(from.get_mtu());
        to.set_link_up(from.get_link_up());
        to.set_driver("hostile-nic");
        to.set_counters(from.get_counters()?)
    }

    async fn open(
        self: Rc<Self>,
        params: nic::OpenParams,
        mut results: nic::OpenResults,
    ) -> Result<(), Error> {
        let doorbell = params.get()?.get_doorbell()?;
        let session = self.sessions.replace(self.sessions.get() + 1);
        let mut to = results.get();
        let Some(fault) = FAULTS.get(session).copied() else {
            log::info!("hostile: the driver's own session");
            let mut request = self.driver.open_request();
            request.get().set_doorbell(doorbell);
            let answer = request.send().promise.await?;
            let from = answer.get()?;
            to.set_session(from.get_session()?);
            to.set_rings(from.get_rings()?);
            to.set_buffers(from.get_buffers()?);
            to.set_doorbell(from.get_doorbell()?);
            to.set_buffer_bytes(from.get_buffer_bytes());
            to.set_receive_buffers(from.get_receive_buffers());
            to.set_send_buffers(from.get_send_buffers());
            to.set_send_buffer_bytes(from.get_send_buffer_bytes());
            to.set_offload(from.get_offload()?);
            return Ok(());
        };
        log::info!("hostile: session with {fault:?}");
        let short = |short: bool, pages: u32| if short { pages / 2 } else { pages };
        // One page cannot be halved: rings that need more than it.
        let buffers_of_a_kind = if matches!(fault, Fault::ShortRings) { 1024 } else { BUFFERS };
        let rings = rt::memory::allocate(RINGS_PAGES).await?;
        let buffers = rt::memory::allocate(short(matches!(fault, Fault::ShortBuffers), BUFFER_PAGES)).await?;
        write_rings(&rings, fault).await?;
        to.set_session(rt::serve(Rc::new(Session)));
        to.set_rings(rings);
        to.set_buffers(buffers);
        to.set_doorbell(doorbell.clone());
        to.set_buffer_bytes(if matches!(fault, Fault::NoBytes) { 0 } else { BUFFER_BYTES });
        to.set_send_buffer_bytes(BUFFER_BYTES);
        to.set_receive_buffers(if matches!(fault, Fault::Count) { 3 } else { buffers_of_a_kind });
        to.set_send_buffers(buffers_of_a_kind);
        rt::ring_doorbell(&doorbell);
        Ok(())
    }
}

/// Fills the ring of received frames as the fault says.
async fn write_rings(rings: &memory_object::Client, fault: Fault) -> Result<(), Error> {
    let good = descriptor(0, 64, 0);
    let descriptors = match fault {
        Fault::Offset => [descriptor(0xffff_ff00, 64, 0), good],
        Fault::Length => [descriptor(BUFFER_BYTES - 32, 64, 0), good],
        Fault::WrongBuffer => [descriptor(BUFFERS * BUFFER_BYTES, 64, 0), good],
        Fault::Position => [good, good],
        Fault::Flag => [descriptor(0, 64, 2), good],
        Fault::Count | Fault::NoBytes | Fault::ShortRings | Fault::ShortBuffers => return Ok(()),
    };
    let position: u32 = if matches!(fault, Fault::Position) { 2 * BUFFERS } else { 2 };
    let mapping = Mapping::new(rings, 0, RINGS_PAGES, Protection::ReadWrite).await?;
    for (place, word) in (HEADER_BYTES..).step_by(size_of::<u64>()).zip(descriptors) {
        mapping.write(place, &word.to_le_bytes())?;
    }
    mapping.write(0, &position.to_le_bytes())
}

fn descriptor(offset: u32, length: u32, flags: u64) -> u64 {
    u64::from(offset) | u64::from(length) << 32 | flags << 48
}

struct Session;

impl nic_session::Server for Session {
    async fn link_changed(
        self: Rc<Self>,
        _: nic_session::LinkChangedParams,
        _: nic_session::LinkChangedResults,
    ) -> Result<(), Error> {
        core::future::pending().await
    }
}
