//! The driver between a client and a fake device, in both layouts, with either of them misbehaving.

mod offload;

use crate::{
    Device, Fault, StartError, Watch, Work,
    queue::HEADERS_BYTES,
    regs::Link,
    spec::{RECEIVE_QUEUE, SEND_QUEUE, feature},
};
use ring::{
    HeapMemory, LayoutError, PeerFault,
    frame::{ClientSide, ClientWants, FrameLayout},
};
use std::{
    rc::Rc,
    sync::{Arc, Once},
};
use virtio::{
    DeviceFault, DeviceType, InterruptPlan, Msix, NO_VECTOR, SetupError,
    fake::{FakeDevice, pattern},
    features,
};

const NETWORK: DeviceType = DeviceType::Network;
const RX: usize = RECEIVE_QUEUE as usize;
const TX: usize = SEND_QUEUE as usize;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

static ARENA: Once = Once::new();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Modern,
    Legacy,
}

const KINDS: [Kind; 2] = [Kind::Modern, Kind::Legacy];

/// Bytes of configuration: MAC, status, maximum queue pairs, MTU.
fn config(status: u8, mtu: u16) -> Vec<u8> {
    let mut config = MAC.to_vec();
    config.extend([status, 0, 1, 0]);
    config.extend(mtu.to_le_bytes());
    config
}

/// A device before its driver.
fn fake(size: u16, mtu: u16) -> FakeDevice {
    FakeDevice::new(&[size, size], &config(1, mtu), OFFERED)
}

/// What a device offers. Bits that this driver must not accept are on as well: merged buffers, other offloads and those
/// without the checksums that they depend on, a control queue, event indexes.
const OFFERED: u64 =
    feature::MAC | feature::STATUS | feature::MTU | 1 << 15 | 0x3fc0 | 1 << 17 | 1 << 28 | 1 << 29;

fn attach(fake: &FakeDevice, kind: Kind) -> Device<HeapMemory> {
    // Tests run at the same time and share the process's arena.
    ARENA.call_once(|| FakeDevice::arena(2048));
    let transport = match kind {
        Kind::Modern => fake.modern(NETWORK),
        Kind::Legacy => fake.legacy(NETWORK, Msix::On),
    };
    Device::new(transport, InterruptPlan::TwoVectors, FakeDevice::memory(HEADERS_BYTES as usize))
}

/// A session with its client.
struct Live {
    fake: FakeDevice,
    device: Device<HeapMemory>,
    client: ClientSide<HeapMemory>,
    rings: Arc<HeapMemory>,
    layout: FrameLayout,
}

impl Live {
    fn new(kind: Kind) -> Self {
        Self::on(fake(64, 1500), kind)
    }

    /// A session on a device that does all that this driver leaves to one.
    fn able(kind: Kind) -> Self {
        let offered = OFFERED | feature::CHECKSUM | feature::GUEST_CHECKSUM;
        Self::on(FakeDevice::new(&[256, 256], &config(1, 1500), offered), kind)
    }

    fn on(fake: FakeDevice, kind: Kind) -> Self {
        let mut device = attach(&fake, kind);
        device.prepare().expect("an honest device");
        let (client, rings, layout) = open(&mut device);
        Self { fake, device, client, rings, layout }
    }

    /// Takes turns until there is nothing to do; whether the client was rung.
    fn run(&mut self) -> bool {
        self.try_run().expect("honest sides")
    }

    fn try_run(&mut self) -> Result<bool, Fault> {
        let mut rung = false;
        self.device.wake();
        for _ in 0..1000 {
            let turn = self.device.turn()?;
            rung |= turn.ring;
            if turn.work == Work::None {
                return Ok(rung);
            }
        }
        panic!("the driver never rests");
    }

    /// Lets the device receive a frame, claiming a length.
    fn receive(&self, frame: &[u8], claimed: u32) {
        let chain = self.fake.take(RX).expect("a posted buffer");
        let header = chain.parts[0].1 as usize;
        chain.write(&[vec![0xee; header], frame.to_vec()].concat());
        self.fake.complete(RX, u32::from(chain.head), claimed);
    }
}

fn open(device: &mut Device<HeapMemory>) -> (ClientSide<HeapMemory>, Arc<HeapMemory>, FrameLayout) {
    let layout = device.plan(0).expect("idle");
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    device
        .start(layout, &rings, &Rc::new(FakeDevice::memory(layout.buffers_bytes())))
        .expect("an honest device");
    // The bytes of frames are not looked at here: the client's own memory stands for the buffers.
    let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
    (ClientSide::new(&rings, &buffers, layout).expect("it fits"), rings, layout)
}

fn header_bytes(kind: Kind) -> u32 {
    if kind == Kind::Modern { 12 } else { 10 }
}

#[test]
fn facts_come_from_the_device() {
    for kind in KINDS {
        let fake = fake(64, 1400);
        let mut device = attach(&fake, kind);
        let facts = device.prepare().expect("an honest device");
        assert_eq!((facts.mac, facts.mtu, facts.link), (Some(MAC), 1400, Link::Up));
        let expected = feature::MAC | feature::STATUS | feature::MTU;
        let version = if kind == Kind::Modern { features::VERSION_1 } else { 0 };
        assert_eq!(fake.with(|state| state.accepted), expected | version);
    }
}

#[test]
fn an_mtu_that_cannot_be_is_not_accepted() {
    for (mtu, accepted) in [(67, 1500), (68, 68), (9216, 9216), (9217, 1500)] {
        let fake = fake(64, mtu);
        let mut device = attach(&fake, Kind::Modern);
        assert_eq!(device.prepare().map(|facts| facts.mtu), Ok(accepted));
        assert_eq!(fake.with(|state| state.accepted & feature::MTU != 0), mtu == accepted);
    }
}

#[test]
fn a_device_without_features_works() {
    let fake = FakeDevice::new(&[64, 64], &[], 0);
    let mut device = attach(&fake, Kind::Legacy);
    let facts = device.prepare().expect("an honest device");
    assert_eq!((facts.mac, facts.mtu, facts.link), (None, 1500, Link::Up));
}

#[test]
fn a_configuration_that_is_too_small_is_an_error() {
    let fake = FakeDevice::new(&[64, 64], &MAC[..5], feature::MAC);
    let mut device = attach(&fake, Kind::Modern);
    assert_eq!(device.prepare(), Err(SetupError::Configuration));
}

#[test]
fn buffers_fit_queues_and_packets() {
    for (size, mtu, expected) in [
        (64, 1500, (32, 2048)),
        (256, 1500, (128, 2048)),
        (1024, 1500, (128, 2048)),
        (256, 2030, (128, 2048)),
        (256, 2031, (64, 2112)),
        (256, 9000, (16, 9024)),
    ] {
        let fake = fake(size, mtu);
        let mut device = attach(&fake, Kind::Modern);
        device.prepare().expect("an honest device");
        let layout = device.plan(0).expect("idle");
        assert_eq!((layout.receive_buffers(), layout.receive_bytes()), expected, "queue {size}, MTU {mtu}");
        assert_eq!(layout.send_buffers(), layout.receive_buffers());
    }
    let fake = fake(256, 1500);
    let mut device = attach(&fake, Kind::Modern);
    device.prepare().expect("an honest device");
    assert_eq!(device.plan(2).map(|layout| layout.send_buffers()), Ok(32));
    assert_eq!(device.plan(40).map(|layout| layout.send_buffers()), Ok(2));
}

#[test]
fn a_device_without_a_send_queue_is_refused() {
    let fake = FakeDevice::new(&[64], &config(1, 1500), feature::MAC);
    let mut device = attach(&fake, Kind::Modern);
    device.prepare().expect("an honest device");
    assert_eq!(device.plan(0), Err(StartError::Layout(LayoutError::Count(0))));
}

#[test]
fn frames_are_received_in_place() {
    for kind in KINDS {
        let mut live = Live::new(kind);
        live.run();
        for round in 0..200u32 {
            let chain = live.fake.take(RX).expect("a posted buffer");
            let parts: Vec<_> = chain.parts.iter().map(|&(_, length, writable)| (length, writable)).collect();
            assert_eq!(parts, [(header_bytes(kind), true), (2048, true)], "header and frame apart");
            live.fake.complete(RX, u32::from(chain.head), header_bytes(kind) + 60);
            live.run();
            let frame = live.client.receive().expect("honest").expect("a frame");
            assert_eq!(frame.len(), 60);
            live.client.give_back(frame).expect("honest");
            assert_eq!(live.device.counters().received_frames, u64::from(round) + 1);
        }
        assert_eq!(live.device.counters().received_bytes, 200 * 60);
        assert_eq!(live.device.counters().receive_errors, 0);
    }
}

#[test]
fn received_frames_with_bad_lengths_are_dropped() {
    for kind in KINDS {
        let mut live = Live::new(kind);
        live.run();
        let header = header_bytes(kind);
        let bad = [0, header - 1, header, header + 13, header + 1519, header + 2049, 1 << 16, u32::MAX];
        for (index, claimed) in bad.into_iter().enumerate() {
            live.receive(&[], claimed);
            live.run();
            assert_eq!(live.client.receive(), Ok(None), "claimed {claimed}");
            assert_eq!(live.device.counters().receive_errors, index as u64 + 1);
        }
        for good in [14, 1518] {
            live.receive(&pattern(1, good), header + good as u32);
            live.run();
            assert_eq!(live.client.receive().expect("honest").map(|frame| frame.len()), Some(good));
        }
        // No buffer was lost: all but the two that the client has are with the device.
        let posted = std::iter::from_fn(|| live.fake.take(RX)).count();
        assert_eq!(posted, live.layout.receive_buffers() as usize - 2);
    }
}

#[test]
fn frames_are_sent_behind_a_header_of_zeros() {
    for kind in KINDS {
        let mut live = Live::new(kind);
        for round in 0..200u32 {
            let length = 60 + (round % 1000) as usize;
            let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
            live.client.send(buffer, length).expect("honest");
            live.run();
            let chain = live.fake.take(TX).expect("a frame");
            let header = header_bytes(kind) as usize;
            let parts: Vec<_> = chain.parts.iter().map(|&(_, length, writable)| (length, writable)).collect();
            assert_eq!(parts, [(header as u32, false), (length as u32, false)]);
            assert_eq!(chain.read()[..header], vec![0; header]);
            live.fake.complete(TX, u32::from(chain.head), 0);
        }
        live.run();
        assert_eq!(live.device.counters().sent_frames, 200);
        let mut free = || std::iter::from_fn(|| live.client.take_send_buffer().expect("honest")).count();
        assert_eq!(free(), live.layout.send_buffers() as usize - 1, "the last waits for the next frame");
        assert_eq!(live.device.sight().map(|sight| sight.map(|sight| sight.returned)), Ok(Some(true)));
        assert_eq!(free(), 1, "or for the next look");
    }
}

#[test]
fn the_last_frames_leave_before_a_session_ends() {
    for kind in KINDS {
        let mut live = Live::new(kind);
        live.run();
        assert_eq!(live.device.drain(), Ok(0));
        let posted = live.fake.take(RX).expect("a posted buffer");
        live.fake.complete(RX, u32::from(posted.head), header_bytes(kind) + 60);
        for _ in 0..3 {
            let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
            live.client.send(buffer, 60).expect("honest");
        }
        let notified = live.fake.with(|state| state.queues[TX].notified);
        for left in [3, 2, 1] {
            assert_eq!(live.device.drain(), Ok(left));
            let chain = live.fake.take(TX).expect("a frame");
            live.fake.complete(TX, u32::from(chain.head), 0);
        }
        assert_eq!(live.device.drain(), Ok(0));
        assert_eq!(live.fake.with(|state| state.queues[TX].notified), notified + 1);
        assert_eq!(live.client.receive(), Ok(None), "nothing is received any more");
        live.fake.complete(TX, 63, 0);
        assert_eq!(live.device.drain(), Err(Fault::Device(DeviceFault::Token(63))));
        live.device.begin_reset();
        assert_eq!(live.device.drain(), Ok(0));
    }
}

#[test]
fn frames_that_the_network_does_not_take_are_counted_and_given_back() {
    let mut live = Live::new(Kind::Modern);
    for length in [1, 13, 1519, 2048] {
        let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
        live.client.send(buffer, length).expect("honest");
    }
    live.run();
    assert_eq!(live.fake.take(TX), None);
    assert_eq!((live.device.counters().send_errors, live.device.counters().sent_frames), (4, 0));
    let buffers = std::iter::from_fn(|| live.client.take_send_buffer().expect("honest")).count();
    assert_eq!(buffers, live.layout.send_buffers() as usize);
}

#[test]
fn a_client_that_names_other_memory_ends_its_session() {
    let mut live = Live::new(Kind::Modern);
    live.run();
    // The same rings, other buffers: its first send buffer lies past the end of the true ones.
    let layout =
        FrameLayout::new(live.layout.receive_buffers(), live.layout.send_buffers(), 8192).expect("valid");
    let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
    let mut liar = ClientSide::new(&live.rings, &buffers, layout).expect("it fits");
    let buffer = liar.take_send_buffer().expect("fresh").expect("fresh");
    liar.send(buffer, 60).expect("room");
    assert_eq!(live.try_run(), Err(Fault::Client(PeerFault::Range { offset: 32 * 8192, length: 60 })));
    assert_eq!(live.device.counters().send_errors, 1);
    assert_eq!(live.fake.take(TX), None, "nothing of it reached the device");
}

#[test]
fn a_device_that_uses_what_it_was_not_given_ends_the_session() {
    for kind in KINDS {
        for queue in [RX, TX] {
            let mut live = Live::new(kind);
            live.run();
            live.fake.complete(queue, 63, 100);
            // What was sent is looked at when the next frame is.
            let buffer = live.client.take_send_buffer().expect("fresh").expect("fresh");
            live.client.send(buffer, 60).expect("room");
            assert_eq!(live.try_run(), Err(Fault::Device(DeviceFault::Token(63))));
            // The driver goes on with a reset and a new session.
            live.device.begin_reset();
            live.device.prepare().expect("it came out of reset");
            let (client, _, _) = open(&mut live.device);
            live.client = client;
            live.run();
            live.receive(&pattern(0, 60), header_bytes(kind) + 60);
            live.run();
            assert!(live.client.receive().expect("honest").is_some());
        }
    }
}

#[test]
fn a_device_that_completes_one_buffer_a_thousand_times_is_served_in_bounded_turns() {
    let mut live = Live::new(Kind::Modern);
    live.run();
    // All entries of the used ring read "buffer 0, no bytes": dropped and given to the device again each time.
    live.fake.jump_used(RX, 1000);
    live.device.wake();
    for turns in 1..=15 {
        assert_eq!(live.device.turn().map(|turn| turn.work), Ok(Work::More));
        assert_eq!(live.device.counters().receive_errors, turns * 64);
    }
    live.run();
    assert_eq!(live.device.counters().receive_errors, 1000);
    assert_eq!(live.client.receive(), Ok(None));
}

#[test]
fn a_device_that_asks_for_a_reset_is_heard() {
    let mut live = Live::new(Kind::Modern);
    assert_eq!(live.device.look(), Ok(Link::Up));
    live.fake.with(|state| state.config[6] = 0);
    assert_eq!(live.device.look(), Ok(Link::Down));
    live.fake.with(|state| state.status |= 0x40);
    assert_eq!(live.device.look(), Err(Fault::NeedsReset));
}

#[test]
fn a_device_that_was_reset_behind_the_drivers_back_is_noticed() {
    for kind in KINDS {
        let mut live = Live::new(kind);
        let mut watch = Watch::default();
        live.run();
        assert_eq!(watch.look(&mut live.device, 0), Ok(Work::None));
        live.fake.with(|state| state.status = 0);
        assert_eq!(watch.look(&mut live.device, 0), Err(Fault::Stopped));
        live.fake.with(|state| state.status = 0x4f);
        assert_eq!(watch.look(&mut live.device, 0), Err(Fault::NeedsReset));
    }
}

#[test]
fn interrupts_that_do_not_come_are_noticed() {
    let mut live = Live::new(Kind::Modern);
    let mut watch = Watch::default();
    live.run();
    assert_eq!(watch.look(&mut live.device, 7), Ok(Work::None));
    live.receive(&pattern(0, 60), 72);
    // The first may be on its way; what came is served.
    assert_eq!(watch.look(&mut live.device, 7), Ok(Work::More));
    live.run();
    live.receive(&pattern(0, 60), 72);
    assert_eq!(watch.look(&mut live.device, 8), Ok(Work::None), "one came since");
    assert_eq!(watch.look(&mut live.device, 8), Ok(Work::More));
    assert_eq!(watch.look(&mut live.device, 8), Err(Fault::Silent));
}

#[test]
fn a_device_that_sends_nothing_is_noticed() {
    let mut live = Live::new(Kind::Modern);
    let mut watch = Watch::default();
    live.run();
    for _ in 0..2 {
        let buffer = live.client.take_send_buffer().expect("fresh").expect("fresh");
        live.client.send(buffer, 60).expect("room");
    }
    live.run();
    let chain = live.fake.take(TX).expect("the first frame");
    live.fake.complete(TX, u32::from(chain.head), 0);
    assert_eq!(watch.look(&mut live.device, 0), Ok(Work::More), "one is sent, and was not looked at");
    live.run();
    let looks = (0..30).map(|_| watch.look(&mut live.device, 0)).position(|found| found.is_err());
    assert_eq!(looks, Some(9));
    assert_eq!(watch.look(&mut live.device, 0), Err(Fault::Stalled));
}

#[test]
fn signals_are_asked_for_only_when_idle() {
    let mut live = Live::new(Kind::Modern);
    live.run();
    assert!(live.fake.wants_interrupts(RX), "it sleeps");
    assert!(!live.fake.wants_interrupts(TX), "nothing is on its way");
    live.device.wake();
    assert!(!live.fake.wants_interrupts(RX), "it works");
    live.run();
    let half = live.layout.send_buffers() / 2;
    for sent in 0..half {
        assert!(!live.fake.wants_interrupts(TX), "after {sent} frames");
        let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
        live.client.send(buffer, 60).expect("honest");
        assert!(live.client.must_ring(), "the driver sleeps");
        live.run();
    }
    assert!(live.fake.wants_interrupts(TX), "the client could wait for its buffers");
    let notified = live.fake.with(|state| state.queues[TX].notified);
    assert_eq!(notified, half);
    live.fake.suppress_notifications(TX, 1);
    let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
    live.client.send(buffer, 60).expect("honest");
    live.run();
    assert_eq!(live.fake.with(|state| state.queues[TX].notified), half, "the device did not want to be told");
}

#[test]
fn a_sleeping_client_is_rung_once_for_a_batch() {
    let mut live = Live::new(Kind::Modern);
    live.run();
    assert_eq!(live.client.arm(ClientWants::Received), Ok(ring::Sleep::Allowed));
    for _ in 0..10 {
        live.receive(&pattern(0, 60), 72);
    }
    live.device.wake();
    assert!(live.device.turn().expect("honest").ring);
    assert!(!live.run(), "the client is awake now");
    assert_eq!(std::iter::from_fn(|| live.client.receive().expect("honest")).count(), 10);
}

#[test]
fn sessions_follow_each_other_without_loss_of_memory() {
    for kind in KINDS {
        let mut live = Live::new(kind);
        for _ in 0..300 {
            live.run();
            live.device.begin_reset();
            assert!(!live.device.is_idle());
            live.device.prepare().expect("it came out of reset");
            assert!(live.device.is_idle());
            let (client, rings, layout) = open(&mut live.device);
            (live.client, live.rings, live.layout) = (client, rings, layout);
        }
        live.run();
        live.receive(&pattern(0, 60), header_bytes(kind) + 60);
        live.run();
        assert!(live.client.receive().expect("honest").is_some());
    }
}

#[test]
fn a_device_in_reset_keeps_its_memory() {
    let mut live = Live::new(Kind::Modern);
    live.run();
    let chain = live.fake.take(RX).expect("a posted buffer");
    live.fake.with(|state| state.slow_reset = 3);
    live.device.begin_reset();
    assert_eq!(live.device.prepare(), Err(SetupError::ResetTimeout));
    // It may still write to the buffer: on the fake bus this would fail if the memory were gone.
    assert_eq!(chain.write(&pattern(0, 100)), 100);
    assert_eq!(live.device.plan(0), Err(StartError::NotIdle));
    while !live.device.is_reset() {}
    live.device.prepare().expect("it came out of reset");
}

#[test]
fn vectors_are_set_in_both_layouts() {
    for kind in KINDS {
        let live = Live::new(kind);
        let vectors =
            live.fake.with(|state| (state.config_vector, state.queues[RX].vector, state.queues[TX].vector));
        assert_eq!(vectors, (0, 1, 1));
    }
    let fake = fake(64, 1500);
    ARENA.call_once(|| FakeDevice::arena(2048));
    let headers = FakeDevice::memory(HEADERS_BYTES as usize);
    let mut device = Device::new(fake.legacy(NETWORK, Msix::Off), InterruptPlan::Line, headers);
    device.prepare().expect("an honest device");
    open(&mut device);
    assert_eq!(fake.with(|state| state.queues[RX].vector), NO_VECTOR);
    fake.with(|state| state.isr = 3);
    assert_eq!(device.acknowledge().bits(), 3);
    assert_eq!(device.acknowledge().bits(), 0, "reading clears it");
}

#[test]
fn a_device_that_takes_no_vector_cannot_start_and_recovers() {
    let fake = fake(64, 1500);
    let mut device = attach(&fake, Kind::Modern);
    device.prepare().expect("an honest device");
    fake.with(|state| state.vectors = 1);
    let layout = device.plan(0).expect("idle");
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    let started = device.start(layout, &rings, &Rc::new(FakeDevice::memory(layout.buffers_bytes())));
    assert!(matches!(started, Err(StartError::Queue(_))), "{started:?}");
    assert_eq!(fake.with(|state| state.status), 0, "it was reset");
    fake.with(|state| state.vectors = 2);
    device.prepare().expect("an honest device");
    open(&mut device);
}

#[test]
fn turns_without_a_session_do_nothing() {
    let fake = fake(64, 1500);
    let mut device = attach(&fake, Kind::Modern);
    assert_eq!(device.turn().map(|turn| (turn.work, turn.ring)), Ok((Work::None, false)));
    drop(device);
    assert_eq!(fake.with(|state| state.status), 0, "reset on exit");
}

#[test]
fn random_devices_and_clients_never_make_the_driver_panic() {
    let mut state = 0x5851_f42d_4c95_7f2du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..100 {
        let mut live = Live::new(KINDS[round % 2]);
        for _ in 0..100 {
            match random() % 6 {
                0 => live.fake.complete(random() as usize % 2, random() as u32 % 70, random() as u32 % 3000),
                1 => live.fake.jump_used(random() as usize % 2, random() as u16 % 3),
                2 | 3 => {
                    if let Some(chain) = live.fake.take(random() as usize % 2) {
                        live.fake.complete(random() as usize % 2, u32::from(chain.head), random() as u32);
                    }
                }
                4 => {
                    if let Ok(Some(frame)) = live.client.receive() {
                        let _ = live.client.give_back(frame);
                    }
                }
                _ => {
                    if let Ok(Some(buffer)) = live.client.take_send_buffer() {
                        let _ = live.client.send(buffer, random() as usize % 2100);
                    }
                }
            }
            if live.try_run().is_err() {
                break;
            }
        }
    }
}
