//! The engine over a fake device and a format of its own.

use crate::{Format, Hardware, Headers, Outcome, Payload, Plan, Step, VirtioDisk};
use block::{Access, Command, Disk, Engine, Identity, Operation, Refusal, Status, Tag, Ticket, WriteMode};
use device::DmaRegion;
use std::{rc::Rc, sync::Once, time::Duration};
use virtio::{DeviceType, DmaMemory, Msix, fake::FakeDevice};

static ARENA: Once = Once::new();

const PATIENCE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(1);
const WRITE: Operation = Operation::Write(WriteMode::Cached);
const DURABLE: Operation = Operation::Write(WriteMode::Durable);

/// Headers are one byte that names the request; answers are one byte.
struct Simple {
    disks: Vec<Disk>,
}

impl Format for Simple {
    const REQUEST: u32 = 16;
    const RESPONSE: u32 = 1;
    const RESPONSE_FIRST: bool = false;

    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn encode(
        &self,
        disk: usize,
        command: &Command,
        step: Step,
        header: &mut [u8],
        extra: &mut [u8],
    ) -> Result<Payload, Status> {
        let (kind, payload) = match (step, command.operation) {
            (Step::Flush, _) | (_, Operation::Flush) => (b'f', Payload::None),
            (_, Operation::Read) => (b'r', Payload::Fill),
            (_, Operation::Write(_)) => (b'w', Payload::Send),
            (_, Operation::Discard) => (b'd', Payload::Extra(4)),
            (_, Operation::WriteZeroes) => (b'z', Payload::Zeroes(512)),
        };
        // At most a few disks.
        header[..2].copy_from_slice(&[kind, disk as u8]);
        extra[..4].copy_from_slice(b"what");
        Ok(payload)
    }

    fn decode(&self, response: &[u8]) -> Outcome {
        match response.first() {
            Some(0) => Outcome::Over(Status::Done),
            Some(9) => Outcome::Again,
            _ => Outcome::Over(Status::Medium),
        }
    }
}

struct Setup {
    device: FakeDevice,
    engine: VirtioDisk<Simple>,
    pool: Rc<DmaMemory>,
    now: Duration,
}

fn setup(legacy: bool) -> Setup {
    setup_with(legacy, &[true])
}

/// Disks with a write cache, or without.
fn setup_with(legacy: bool, caches: &[bool]) -> Setup {
    ARENA.call_once(|| FakeDevice::arena(2048));
    let device = FakeDevice::new(&[256], &[], 0);
    let transport =
        if legacy { device.legacy(DeviceType::Block, Msix::On) } else { device.modern(DeviceType::Block) };
    let headers = Headers::new(FakeDevice::region(Headers::PAGES * 4096)).expect("large enough");
    let plan = Plan { queue: 0, config_vector: 0, queue_vector: 1, line: false };
    let mut hardware = Hardware::new(transport, plan, |_, _| 0, headers);
    hardware.begin_reset();
    hardware.start().expect("an honest device");
    let disk = |write_cache: &bool| Disk {
        block_bytes: 512,
        blocks: 1000,
        maximum_blocks: 16,
        maximum_discard: 16,
        maximum_zero: 16,
        access: Access::ReadWrite,
        write_cache: *write_cache,
        forced_unit_access: false,
        identity: Identity::default(),
    };
    let engine = VirtioDisk::new(hardware, Simple { disks: caches.iter().map(disk).collect() }, PATIENCE);
    Setup { device, engine, pool: Rc::new(FakeDevice::memory(65536)), now: Duration::ZERO }
}

fn both() -> [Setup; 2] {
    [setup(false), setup(true)]
}

impl Setup {
    fn ask(&mut self, tag: u16, operation: Operation) -> Result<(), Refusal> {
        let command = Command { operation, block: 1, blocks: 2, offset: 1024 };
        let result = self.engine.submit(0, Ticket { queue: 3, tag: Tag(tag) }, &command, &self.pool);
        self.engine.publish();
        result
    }

    /// Lets the device do the next request with this answer; the request's bytes.
    fn work(&self, answer: u8) -> Vec<u8> {
        let chain = self.device.take(0).expect("a request");
        let read = chain.read();
        let written: u32 = chain.parts.iter().filter(|part| part.2).map(|part| part.1).sum();
        let mut bytes = vec![answer; written as usize];
        if let Some(last) = bytes.last_mut() {
            *last = answer;
        }
        chain.write(&bytes);
        self.device.complete(0, chain.head.into(), written);
        read
    }

    fn reap(&mut self) -> Vec<(u16, Status)> {
        let mut done = Vec::new();
        self.engine.reap(&mut done);
        done.into_iter().map(|(ticket, status)| (ticket.tag.0, status)).collect()
    }

    /// The end is asked for, and its first step is taken.
    fn stop(&mut self) {
        self.engine.set_time(self.now);
        self.engine.stop();
        self.wait(MOMENT);
    }

    fn is_reset(&self) -> bool {
        self.device.with(|state| state.status == 0)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.engine.set_time(self.now);
        self.engine.tick();
    }
}

#[test]
fn every_kind_of_request_goes_through() {
    for mut setup in both() {
        for (operation, kind, bytes) in [
            (Operation::Read, b'r', 16),
            (WRITE, b'w', 16 + 1024),
            (Operation::Flush, b'f', 16),
            (Operation::Discard, b'd', 20),
            (Operation::WriteZeroes, b'z', 16 + 512),
        ] {
            setup.ask(7, operation).expect("room");
            let request = setup.work(0);
            assert_eq!((request[0], request.len()), (kind, bytes));
            assert_eq!(setup.reap(), [(7, Status::Done)]);
        }
        setup.ask(1, WRITE).expect("room");
        setup.work(1);
        assert_eq!(setup.reap(), [(1, Status::Medium)]);
    }
}

#[test]
fn a_durable_write_is_answered_after_its_flush() {
    for mut setup in both() {
        setup.ask(7, DURABLE).expect("room");
        assert_eq!(setup.work(0)[0], b'w');
        assert_eq!(setup.reap(), []);
        assert_eq!(setup.work(0)[0], b'f');
        assert_eq!(setup.reap(), [(7, Status::Done)]);
        setup.ask(8, DURABLE).expect("room");
        setup.work(1);
        assert_eq!(setup.reap(), [(8, Status::Medium)], "no flush behind a failed write");
    }
}

#[test]
fn passing_failures_are_retried_within_bounds() {
    for mut setup in both() {
        setup.ask(7, WRITE).expect("room");
        for _ in 0..3 {
            setup.work(9);
            assert_eq!(setup.reap(), []);
        }
        setup.work(9);
        assert_eq!(setup.reap(), [(7, Status::Device)]);
    }
}

#[test]
fn an_answer_that_was_not_written_is_an_error() {
    for mut setup in both() {
        setup.ask(7, WRITE).expect("room");
        let chain = setup.device.take(0).expect("a request");
        setup.device.complete(0, chain.head.into(), 0);
        assert_eq!(setup.reap(), [(7, Status::Medium)]);
    }
}

#[test]
fn full_is_full_and_everything_is_answered() {
    for mut setup in both() {
        let mut asked = 0;
        while setup.engine.has_room(0) {
            setup.ask(asked, WRITE).expect("room");
            asked += 1;
        }
        assert_eq!((asked, setup.ask(99, WRITE)), (64, Err(Refusal::Full)));
        for _ in 0..asked {
            setup.work(0);
        }
        assert_eq!(setup.reap().len(), 64);
        assert_eq!(setup.engine.next_tick(), None);
    }
}

#[test]
fn late_commands_and_lies_reset_the_device_and_are_asked_for_again() {
    for mut setup in both() {
        for round in 0..2 {
            setup.ask(1, WRITE).expect("room");
            setup.ask(2, Operation::Read).expect("room");
            if round == 0 {
                setup.wait(PATIENCE + Duration::from_secs(1));
            } else {
                setup.device.complete(0, 200, 0);
                assert_eq!(setup.reap(), []);
            }
            assert_eq!(setup.engine.resets(), round + 1);
            assert!(!setup.engine.has_room(0));
            setup.wait(Duration::from_millis(1));
            assert!(setup.engine.has_room(0));
            let mut again = [setup.work(0)[0], setup.work(0)[0]];
            again.sort_unstable();
            assert_eq!(again, *b"rw");
            let mut answers = setup.reap();
            answers.sort_unstable_by_key(|(tag, _)| *tag);
            assert_eq!(answers, [(1, Status::Done), (2, Status::Done)]);
        }
    }
}

#[test]
fn a_command_that_never_ends_is_answered_at_last() {
    for mut setup in both() {
        setup.ask(1, WRITE).expect("room");
        let mut answers = Vec::new();
        for _ in 0..300 {
            setup.wait(Duration::from_secs(1));
            answers.extend(setup.reap());
        }
        assert_eq!(answers, [(1, Status::TimedOut)]);
    }
}

#[test]
fn a_device_that_does_not_reset_is_the_end() {
    for mut setup in both() {
        setup.ask(1, WRITE).expect("room");
        setup.device.with(|state| state.slow_reset = u32::MAX);
        setup.wait(PATIENCE + Duration::from_secs(1));
        setup.wait(Duration::from_secs(1));
        assert_eq!(setup.engine.failure(), None);
        setup.wait(Duration::from_secs(10));
        assert!(setup.engine.failure().is_some());
        // The device may still write: what it has is not freed.
        setup.device.with(|state| state.slow_reset = 0);
    }
}

#[test]
fn headers_need_their_room() {
    let small: DmaRegion = FakeDevice::region(4096);
    assert!(Headers::new(small).is_none());
}

#[test]
fn the_end_finishes_what_is_in_flight_flushes_and_resets() {
    for mut setup in both() {
        setup.ask(1, WRITE).expect("room");
        setup.ask(2, DURABLE).expect("room");
        setup.stop();
        assert!(!setup.engine.has_room(0));
        assert_eq!(setup.ask(3, WRITE), Err(Refusal::Full));
        assert_eq!((setup.work(0)[0], setup.work(0)[0]), (b'w', b'w'));
        assert_eq!(setup.reap(), [(1, Status::Done)]);
        setup.wait(MOMENT);
        assert_eq!(setup.work(0)[0], b'f', "the durable write's own");
        assert_eq!(setup.reap(), [(2, Status::Done)]);
        setup.wait(MOMENT);
        assert_eq!((setup.engine.stopped(), setup.is_reset()), (None, false));
        assert_eq!(setup.work(0)[0], b'f');
        setup.wait(MOMENT);
        assert!(setup.is_reset());
        setup.wait(MOMENT);
        assert_eq!((setup.engine.stopped(), setup.engine.resets()), (Some(Ok(())), 0));
    }
}

#[test]
fn the_end_flushes_each_disk_that_has_a_cache() {
    for legacy in [false, true] {
        let mut setup = setup_with(legacy, &[false, true, true, false, true]);
        setup.stop();
        // The second refuses, the third is asked again.
        for (answer, disk) in [(0, 1), (1, 2), (9, 4), (0, 4)] {
            assert_eq!(setup.work(answer)[..2], [b'f', disk]);
            setup.wait(MOMENT);
        }
        setup.wait(MOMENT);
        let stopped = setup.engine.stopped().expect("it is over");
        assert_eq!((stopped, setup.is_reset()), (Err("disk 3 does not flush: Medium".into()), true));
        let mut setup = setup_with(legacy, &[false]);
        setup.stop();
        assert!(setup.is_reset(), "there is nothing to flush");
    }
}

#[test]
fn the_end_comes_in_time_whatever_the_device_does() {
    let late = Duration::from_millis(2001);
    for mut setup in both() {
        setup.ask(1, WRITE).expect("room");
        setup.stop();
        setup.wait(late);
        setup.wait(MOMENT);
        let stopped = setup.engine.stopped();
        assert_eq!(stopped, Some(Err("1 commands are not done in time".into())));
        assert!(setup.is_reset());
    }
    for mut setup in both() {
        setup.stop();
        setup.wait(late);
        setup.wait(MOMENT);
        assert_eq!(setup.engine.stopped(), Some(Err("disk 1 does not flush in time".into())));
    }
    for mut setup in both() {
        setup.device.with(|state| state.slow_reset = u32::MAX);
        setup.stop();
        setup.work(0);
        setup.wait(MOMENT);
        setup.wait(MOMENT);
        assert_eq!(setup.engine.stopped(), None);
        setup.wait(late);
        assert_eq!(setup.engine.stopped(), Some(Err("the device does not reset".into())));
        // As above: the device may still write.
        setup.device.with(|state| state.slow_reset = 0);
    }
}

#[test]
fn a_device_that_is_reset_on_its_way_to_the_end_is_asked_again() {
    for mut setup in both() {
        setup.ask(1, WRITE).expect("room");
        setup.stop();
        setup.device.complete(0, 200, 0);
        assert_eq!(setup.reap(), []);
        setup.wait(MOMENT);
        assert_eq!(setup.work(0)[0], b'w');
        assert_eq!(setup.reap(), [(1, Status::Done)]);
        setup.wait(MOMENT);
        setup.device.complete(0, 200, 0);
        // The lie is found, the device is reset, and is asked again.
        (0..3).for_each(|_| setup.wait(MOMENT));
        assert_eq!(setup.work(0)[0], b'f');
        setup.wait(MOMENT);
        setup.wait(MOMENT);
        assert_eq!((setup.engine.stopped(), setup.engine.resets()), (Some(Ok(())), 2));
    }
}
