//! A network in memory: stacks whose NIC drivers are played by the test, joined by a wire that can be watched and cut.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use ring::{
    HeapMemory, SharedMemory,
    frame::{Checksum, FrameLayout, NicSide, Offload},
    stream::{self, End, StreamError},
};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

use super::offload::apply;
use crate::{
    arguments::Addressing,
    device::{Abilities, Session},
    doorbell::Doorbell,
    frame::finish,
    limits::Limits,
    network::{Mtu, NetworkConfiguration, Route},
    stack::{Stack, Turn},
    table::Id,
    udp::Peer,
};

/// A doorbell that counts.
#[derive(Clone, Default)]
pub struct Bell(pub Rc<Cell<u32>>);

impl Doorbell for Bell {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// The stack as the tests run it.
pub type TestStack = Stack<HeapMemory, Bell>;

/// The driver's side of a session, and the device's access to the buffers.
pub struct FakeNic {
    pub side: NicSide<HeapMemory>,
    pub buffers: Arc<HeapMemory>,
    /// Frames that asked the card for anything, and those of them that it was to cut.
    pub asked: u32,
    pub cut: u32,
}

impl FakeNic {
    /// A driver, and the session for its stack.
    pub fn new(layout: FrameLayout) -> (Self, Session<HeapMemory, Bell>) {
        Self::able(layout, Abilities::None)
    }

    /// The same, of a card that can do more.
    pub fn able(layout: FrameLayout, abilities: Abilities) -> (Self, Session<HeapMemory, Bell>) {
        let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
        let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
        let session = Session::new(&rings, &buffers, layout, abilities, Bell::default()).unwrap();
        (Self { side: NicSide::new(&rings, layout).unwrap(), buffers, asked: 0, cut: 0 }, session)
    }

    /// Takes all frames that the stack sent, as they leave the card.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.side.take_send().unwrap() {
            self.asked += u32::from(frame.offload() != Offload::None);
            self.cut += u32::from(matches!(frame.offload(), Offload::Segments(_)));
            frames.extend(apply(self.read(frame.range()), frame.offload()));
            self.side.finish_send(frame).unwrap();
        }
        frames
    }

    /// Receives a frame; false when there is no buffer for it, and it is lost.
    pub fn deliver(&mut self, frame: &[u8]) -> bool {
        self.deliver_checked(frame, Checksum::Unknown)
    }

    /// The same, with what the card says of the checksum.
    pub fn deliver_checked(&mut self, frame: &[u8], checksum: Checksum) -> bool {
        let Some(buffer) = self.side.take_free().unwrap() else { return false };
        let start = buffer.range().start as usize;
        let length = frame.len().min(buffer.range().len());
        for (index, byte) in frame[..length].iter().enumerate() {
            assert!(start + index < self.buffers.len());
            // SAFETY: inside the memory (just checked), which lives as long as `self`; the stack does not run meanwhile.
            unsafe { self.buffers.as_ptr().byte_add(start + index).write(*byte) };
        }
        self.side.deliver(buffer, 0, length as u32, checksum).unwrap();
        true
    }

    fn read(&self, range: std::ops::Range<u32>) -> Vec<u8> {
        range
            .map(|offset| {
                assert!((offset as usize) < self.buffers.len());
                // SAFETY: as in `deliver`.
                unsafe { self.buffers.as_ptr().byte_add(offset as usize).read() }
            })
            .collect()
    }
}

/// Fills the checksums of a forged frame in.
pub fn repair(frame: &mut [u8]) {
    let _finished = finish(frame, None, Abilities::None, None);
}

/// Writes a word of shared memory, as a peer that keeps to no rule would.
pub fn poke(memory: &HeapMemory, offset: usize, value: u32) {
    assert!(offset.is_multiple_of(4) && offset + 4 <= memory.len());
    // SAFETY: aligned and inside the memory, which is made of atomics and plain bytes; nothing else runs meanwhile.
    unsafe { memory.as_ptr().byte_add(offset).cast::<u32>().write(value) };
}

/// One machine on the wire.
pub struct Node {
    pub stack: TestStack,
    pub nic: FakeNic,
    /// Whether a client rang the stack's doorbell.
    pub rung: Rc<Cell<bool>>,
}

/// The layout of sessions unless a test says otherwise.
pub const LAYOUT: FrameLayout = match FrameLayout::new(64, 64, 2048) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

/// The hardware address of a machine by its number.
pub fn mac(number: u8) -> EthernetAddress {
    EthernetAddress([2, 0, 0, 0, 0, number])
}

/// The address of a machine by its number.
pub fn address(number: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 2, number)
}

/// A generator that repeats itself from run to run.
pub fn random(seed: u64) -> Box<dyn FnMut() -> u64> {
    let mut state = seed;
    Box::new(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    })
}

impl Node {
    /// A machine that gets its address in the given way.
    pub fn new(number: u8, addressing: Addressing, limits: Limits) -> Self {
        let mtu = Mtu::ETHERNET;
        let mut stack =
            Stack::new(mac(number), mtu, addressing, limits, random(number.into()), Duration::ZERO);
        let (nic, session) = FakeNic::new(LAYOUT);
        stack.open_session(session, mac(number), mtu, Duration::ZERO);
        Self { stack, nic, rung: Rc::default() }
    }

    /// A machine with the static address of its number and a default route to machine 1.
    pub fn with_address(number: u8) -> Self {
        Self::limited(number, Limits::STANDARD)
    }

    /// The same, with other limits.
    pub fn limited(number: u8, limits: Limits) -> Self {
        let mut configuration = NetworkConfiguration::new(Ipv4Cidr::new(address(number), 24));
        configuration.routes = vec![Route { destination: Route::EVERYWHERE, gateway: Some(address(1)) }];
        Self::new(number, Addressing::Static(configuration), limits)
    }

    /// Runs the stack until nothing is left to do at once.
    pub fn run(&mut self, now: Duration) -> Option<Duration> {
        for _ in 0..10_000 {
            if let Turn::Sleep(deadline) = self.stack.run(now).unwrap() {
                return deadline;
            }
        }
        panic!("the stack never sleeps");
    }

    /// Lets the stack look at all streams if a client rang the doorbell.
    pub fn ring(&mut self) {
        if self.rung.take() {
            self.stack.streams_rang(0, 1);
        }
    }

    /// Takes the next connection of a listener, if there is one, and opens it.
    pub fn accept(&mut self, listener: Id) -> Option<Client> {
        match self.stack.poll_accept(listener, &Context::from_waker(Waker::noop())) {
            Poll::Ready(id) => Some(self.open(id.expect("the listener is there"))),
            Poll::Pending => None,
        }
    }

    /// Opens a connection.
    pub fn open(&mut self, id: Id) -> Client {
        let layout = self.stack.stream_layout(id).unwrap();
        let memory = Arc::new(HeapMemory::new(layout.bytes()));
        let bell = Bell::default();
        let end = stream::create(&memory, layout).unwrap();
        assert!(self.stack.attach(id, end, bell.clone()));
        Client { id, end: stream::open(&memory).unwrap(), bell, rung: Rc::clone(&self.rung) }
    }

    /// Starts a connection to another machine.
    pub fn connect(&mut self, number: u8, port: u16, now: Duration) -> Id {
        self.stack.connect(Peer { address: address(number), port }, now).unwrap()
    }

    /// How a connection that was started is doing.
    pub fn connected(&mut self, id: Id) -> Poll<Result<(), crate::tcp::ConnectFailure>> {
        self.stack.poll_connected(id, &Context::from_waker(Waker::noop()))
    }

    /// State of a connection by name; "gone" when there is none.
    pub fn state(&self, id: Id) -> String {
        self.stack.connection_info(id).map_or("gone".into(), |info| info.state)
    }
}

/// A client's side of a connection.
pub struct Client {
    pub id: Id,
    pub end: End<HeapMemory>,
    pub bell: Bell,
    /// The stack's doorbell.
    rung: Rc<Cell<bool>>,
}

impl Client {
    /// Ends what it writes.
    pub fn finish(&mut self) {
        self.end.writer.finish();
        self.tell_stack();
    }

    /// Ends everything at once.
    pub fn reset(&mut self) {
        self.end.reset();
        self.tell_stack();
    }

    /// Rings the stack's doorbell if it sleeps.
    fn tell_stack(&mut self) {
        if self.end.must_ring() {
            self.rung.set(true);
        }
    }

    /// Reads all that has come.
    pub fn read(&mut self) -> Result<Vec<u8>, StreamError> {
        let mut bytes = vec![0; self.end.reader.available()?];
        let count = self.end.reader.read(&mut bytes)?;
        bytes.truncate(count);
        self.tell_stack();
        Ok(bytes)
    }

    /// Writes as much as fits; returns how much that was.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let count = self.end.writer.write(bytes).unwrap();
        self.tell_stack();
        count
    }
}

/// Decides over a frame.
pub type Filter = Box<dyn FnMut(&[u8]) -> bool>;

/// Some machines on one wire.
pub struct Wire {
    pub nodes: Vec<Node>,
    pub now: Duration,
    /// Every frame that was sent, since this was last emptied.
    pub log: Vec<Vec<u8>>,
    /// Says whether a frame gets through.
    pub filter: Filter,
}

impl Wire {
    /// A wire that loses nothing.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self { nodes, now: Duration::from_secs(1), log: Vec::new(), filter: Box::new(|_| true) }
    }

    /// Two machines, 1 and 2.
    pub fn pair() -> Self {
        Self::new(vec![Node::with_address(1), Node::with_address(2)])
    }

    /// Carries frames and runs all stacks until nothing is left to do at this time.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            for node in &mut self.nodes {
                node.ring();
                node.run(self.now);
            }
            if !self.carry() {
                return;
            }
        }
        panic!("the network never comes to rest");
    }

    /// Settles, and again at each deadline until some time has passed.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let mut next = end;
            for node in &mut self.nodes {
                if let Some(deadline) = node.run(self.now) {
                    next = next.min(deadline.max(self.now + Duration::from_millis(1)));
                }
            }
            self.carry();
            self.now = next;
            self.settle();
            if next == end {
                return;
            }
        }
    }

    /// Carries the frames that were sent to all other machines. False when there were none.
    pub fn carry(&mut self) -> bool {
        let mut any = false;
        for from in 0..self.nodes.len() {
            for frame in self.nodes[from].nic.take_sent() {
                any = true;
                if (self.filter)(&frame) {
                    for to in (0..self.nodes.len()).filter(|to| *to != from) {
                        self.nodes[to].nic.deliver(&frame);
                    }
                }
                self.log.push(frame);
            }
        }
        any
    }

    /// A connection from machine 2 to a listener of machine 1: both ends' clients.
    pub fn connection(&mut self, listener: Id, port: u16) -> (Client, Client) {
        let id = self.nodes[1].connect(1, port, self.now);
        self.settle();
        assert_eq!(self.nodes[1].connected(id), Poll::Ready(Ok(())));
        let far = self.nodes[1].open(id);
        let near = self.nodes[0].accept(listener).expect("a connection waits");
        self.settle();
        (near, far)
    }
}
