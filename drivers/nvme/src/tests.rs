//! The controller's life against a fake one: bring-up, block commands, deadlines, resets, lies.

use crate::{
    Controller, Failure, Plan, Pool,
    fake::{FakeController, Mood, memory},
    spec::{PAGE_BYTES, code, io},
};
use ::device::fake::Bus;
use block::{Command, Engine, Operation, Refusal, Status, Tag, Ticket, WriteMode};
use std::{rc::Rc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(30);
const PLAN: Plan = Plan { pairs: 2, vectors: 3, line: false, patience: PATIENCE };
const BLOCKS: usize = 2048;
const READ: Operation = Operation::Read;
const WRITE: Operation = Operation::Write(WriteMode::Cached);

struct Setup {
    fake: FakeController,
    controller: Controller,
    pool: Rc<Pool>,
    bus: Bus,
    /// Bus address of the buffers.
    buffers: u64,
    now: Duration,
}

fn setup_with(plan: Plan, change: impl FnOnce(&FakeController)) -> Setup {
    let bus = Bus::default();
    let fake = FakeController::new(&bus, BLOCKS);
    change(&fake);
    let controller = Controller::new(fake.registers(), memory(&bus, plan.pairs), plan, Duration::ZERO);
    let region = bus.memory(512 * PAGE_BYTES);
    let buffers = region.bus();
    let pool = Pool::new(region, bus.memory(2 * PAGE_BYTES)).expect("tables fit");
    Setup { fake, controller, pool: Rc::new(pool), bus, buffers, now: Duration::ZERO }
}

fn setup() -> Setup {
    let mut setup = setup_with(PLAN, |_| ());
    setup.bring_up();
    setup
}

impl Setup {
    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.controller.set_time(self.now);
        self.controller.tick();
    }

    fn bring_up(&mut self) {
        for _ in 0..100 {
            if self.controller.is_live() {
                return;
            }
            self.wait(Duration::from_millis(1));
        }
        panic!("the controller does not come up: {:?}", self.controller.failed());
    }

    fn ask(&mut self, queue: u16, tag: u16, operation: Operation, block: u64, blocks: u32, offset: u32) {
        let command = Command { operation, block, blocks, offset };
        let ticket = Ticket { queue, tag: Tag(tag) };
        self.controller.submit(0, ticket, &command, &self.pool).expect("room");
        self.controller.publish();
    }

    fn reap(&mut self) -> Vec<(u16, Status)> {
        let mut done = Vec::new();
        self.controller.reap(&mut done);
        done.into_iter().map(|(ticket, status)| (ticket.tag.0, status)).collect()
    }

    fn fill(&self, offset: usize, length: usize, first: u8) {
        let bytes: Vec<u8> = pattern(first).take(length).collect();
        self.bus.write(self.buffers + offset as u64, &bytes).expect("inside");
    }

    fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        self.bus.read(self.buffers + offset as u64, length).expect("inside")
    }

    fn disk(&self, block: usize, blocks: usize) -> Vec<u8> {
        self.fake.with(|state| state.namespaces[0].2[block * 512..(block + blocks) * 512].to_vec())
    }
}

fn pattern(first: u8) -> impl Iterator<Item = u8> {
    (0..).map(move |index: u32| first.wrapping_add((index % 251) as u8))
}

#[test]
fn a_controller_comes_up_with_what_both_sides_can() {
    let setup = setup();
    let controller = &setup.controller;
    assert_eq!((controller.pairs(), controller.namespaces()), (2, &[1][..]));
    let disk = &controller.disks()[0];
    assert_eq!((disk.block_bytes, disk.blocks, disk.maximum_blocks), (512, 2048, 256));
    assert!(disk.maximum_discard > 0 && disk.maximum_zero == 65536 && disk.write_cache);
    setup.fake.with(|state| {
        assert_eq!(
            state.vectors.iter().map(|(n, v)| (*n, *v)).collect::<Vec<_>>(),
            [(1, Some(1)), (2, Some(2))]
        );
        assert_eq!(state.events.len(), 4);
    });
}

#[test]
fn few_queues_and_vectors_are_enough() {
    for (queues, vectors, pairs, expected) in [
        (1, 3, 2, vec![(1, Some(1))]),
        (8, 1, 1, vec![(1, Some(0))]),
        (8, 0, 1, vec![(1, None)]),
        (8, 2, 1, vec![(1, Some(1))]),
    ] {
        let plan = Plan { vectors, ..PLAN }.for_pairs(2);
        assert_eq!(plan.pairs, if vectors == 3 { 2 } else { 1 });
        let mut setup = setup_with(plan, |fake| fake.with(|state| state.queues = queues));
        setup.bring_up();
        let made = setup.fake.with(|state| state.vectors.iter().map(|(n, v)| (*n, *v)).collect::<Vec<_>>());
        assert_eq!(made, expected);
        assert!(setup.controller.pairs() <= pairs);
        setup.ask(5, 0, READ, 0, 1, 0);
        assert_eq!(setup.reap(), [(0, Status::Done)]);
    }
    assert_eq!(Plan { vectors: 9, ..PLAN }.for_pairs(100).pairs, 8);
}

#[test]
fn controllers_without_a_list_of_namespaces_are_asked_for_each() {
    let mut setup = setup_with(PLAN, |fake| {
        fake.with(|state| {
            state.identify[80..84].fill(0);
            state.namespaces = vec![(2, 12, vec![0; 8192]), (5, 9, vec![0; 512])];
        });
    });
    setup.bring_up();
    assert_eq!(setup.controller.namespaces(), [2, 5]);
    assert_eq!(setup.controller.disks()[0].block_bytes, 4096);
}

#[test]
fn data_goes_both_ways_whole() {
    let mut setup = setup();
    for (round, (block, blocks, offset)) in [
        (0, 1, 0),
        (7, 3, 512),
        (100, 8, 4096),
        (5, 17, 3584),
        (1000, 256, 255 * 4096 + 512),
        (2047, 1, 9 * 512),
    ]
    .into_iter()
    .enumerate()
    {
        let (bytes, first) = (blocks as usize * 512, round as u8);
        setup.fill(offset as usize, bytes, first);
        setup.ask(0, 1, WRITE, block, blocks, offset);
        assert_eq!(setup.reap(), [(1, Status::Done)]);
        assert_eq!(
            setup.disk(block as usize, blocks as usize),
            pattern(first).take(bytes).collect::<Vec<_>>()
        );
        setup.fill(offset as usize, bytes, 99);
        setup.ask(1, 2, READ, block, blocks, offset);
        assert_eq!(setup.reap(), [(2, Status::Done)]);
        assert_eq!(setup.bytes(offset as usize, bytes), pattern(first).take(bytes).collect::<Vec<_>>());
    }
}

#[test]
fn zeroes_discards_and_flushes_reach_their_blocks() {
    let mut setup = setup();
    setup.fake.with(|state| state.namespaces[0].2.fill(1));
    setup.ask(0, 0, Operation::WriteZeroes, 10, 5, 0);
    setup.ask(0, 1, Operation::Discard, 20, 3, 0);
    setup.ask(0, 2, Operation::Flush, 0, 0, 0);
    assert_eq!(setup.reap(), [(0, Status::Done), (1, Status::Done), (2, Status::Done)]);
    assert_eq!(setup.disk(9, 7)[512..6 * 512], [0; 5 * 512]);
    assert_eq!((setup.disk(9, 1)[0], setup.disk(15, 1)[0]), (1, 1));
    assert_eq!((setup.disk(20, 3), setup.disk(23, 1)[0]), (vec![0xdd; 3 * 512], 1));
    assert_eq!(
        setup.fake.with(|state| state.done.clone()),
        [io::WRITE_ZEROES, io::DATASET_MANAGEMENT, io::FLUSH]
    );
}

#[test]
fn queues_fill_up_and_wrap() {
    let mut setup = setup();
    setup.fake.with(|state| state.mood = Mood::Slow);
    for round in 0..20 {
        let mut asked = 0;
        while setup.controller.has_room(0) {
            setup.ask(0, asked, READ, round, 1, 0);
            asked += 1;
        }
        assert_eq!(asked, 63, "one entry of 64 stays free");
        let command = Command { operation: READ, block: 0, blocks: 1, offset: 0 };
        let ticket = Ticket { queue: 0, tag: Tag(0) };
        assert_eq!(setup.controller.submit(0, ticket, &command, &setup.pool), Err(Refusal::Full));
        assert!(setup.controller.has_room(1), "the other pair has room");
        setup.fake.work();
        assert_eq!(setup.reap().len(), 63);
    }
    assert!(setup.controller.next_tick().is_none());
}

#[test]
fn errors_are_told_apart() {
    for (status, expected) in [
        (code::OUT_OF_RANGE, Status::OutOfRange),
        (code::INVALID_OPCODE, Status::Unsupported),
        (code::WRITE_PROTECTED, Status::ReadOnly),
        (0x281, Status::Medium),
        (0x004, Status::Device),
        (code::INTERNAL | code::DO_NOT_RETRY, Status::Device),
    ] {
        let mut setup = setup();
        setup.fake.with(|state| state.mood = Mood::Refusing(status));
        setup.ask(0, 3, READ, 0, 1, 0);
        assert_eq!(setup.reap(), [(3, expected)], "{status:#x}");
    }
}

#[test]
fn passing_errors_are_retried_within_bounds() {
    let mut setup = setup();
    setup.fake.with(|state| state.mood = Mood::Refusing(code::NOT_READY));
    setup.ask(0, 3, READ, 0, 1, 0);
    let answers: Vec<_> = (0..10).map(|_| setup.reap()).collect();
    assert_eq!(answers.concat(), [(3, Status::Device)]);
    assert_eq!(answers[3], [(3, Status::Device)], "after three more tries");
    setup.ask(0, 4, READ, 0, 1, 0);
    setup.fake.with(|state| state.mood = Mood::Prompt);
    assert_eq!((setup.reap(), setup.reap()), (vec![], vec![(4, Status::Done)]));
}

#[test]
fn a_late_command_is_aborted_and_given_again() {
    let mut setup = setup();
    setup.fake.with(|state| state.mood = Mood::Slow);
    setup.fill(0, 512, 7);
    setup.ask(0, 9, WRITE, 4, 1, 0);
    setup.wait(PATIENCE);
    assert!(setup.fake.with(|state| state.aborts.is_empty()), "it is not late yet");
    setup.wait(Duration::from_secs(1));
    assert_eq!(setup.fake.with(|state| state.aborts.len()), 1);
    assert_eq!(setup.reap(), [], "it is given again");
    setup.fake.work();
    assert_eq!(setup.reap(), [(9, Status::Done)]);
    assert_eq!(setup.disk(4, 1), pattern(7).take(512).collect::<Vec<_>>());
    assert_eq!(setup.controller.resets(), 0);
}

#[test]
fn a_command_that_is_always_late_is_answered_at_last() {
    let mut setup = setup();
    setup.fake.with(|state| state.mood = Mood::Slow);
    setup.ask(0, 9, READ, 4, 1, 0);
    let mut answers = Vec::new();
    for _ in 0..200 {
        setup.wait(Duration::from_secs(1));
        answers.extend(setup.reap());
    }
    assert_eq!(answers, [(9, Status::TimedOut)]);
}

#[test]
fn a_controller_that_ignores_aborts_is_reset_and_loses_nothing() {
    let mut setup = setup();
    setup.fake.with(|state| (state.mood, state.obeys_aborts) = (Mood::Forgetful, false));
    for tag in 0..10 {
        setup.ask(tag % 2, tag, READ, tag.into(), 1, 0);
    }
    setup.wait(PATIENCE + Duration::from_secs(1));
    setup.wait(Duration::from_secs(6));
    assert_eq!((setup.controller.resets(), setup.controller.is_live()), (1, false));
    assert!(!setup.controller.has_room(0), "nothing is taken meanwhile");
    setup.fake.with(|state| state.mood = Mood::Prompt);
    setup.bring_up();
    let mut answers = setup.reap();
    answers.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(answers, (0..10).map(|tag| (tag, Status::Done)).collect::<Vec<_>>());
    assert_eq!(setup.reap(), [], "each is answered once");
}

#[test]
fn a_fatal_controller_is_reset() {
    let mut setup = setup();
    setup.fake.with(|state| state.mood = Mood::Slow);
    setup.ask(0, 1, READ, 0, 1, 0);
    setup.fake.break_down();
    setup.wait(Duration::from_secs(1));
    assert_eq!(setup.controller.resets(), 1);
    setup.fake.with(|state| state.mood = Mood::Prompt);
    setup.bring_up();
    assert_eq!(setup.reap(), [(1, Status::Done)]);
}

#[test]
fn forged_completions_reset_the_controller_and_answer_nothing() {
    for (queue, identifier) in [(1, 0), (1, 5), (2, 0xffff), (1, 1 << 10), (0, 0x1f)] {
        let mut setup = setup();
        setup.fake.with(|state| state.mood = Mood::Slow);
        setup.ask(1, 1, READ, 0, 1, 0);
        setup.fake.forge(queue, identifier, code::SUCCESS);
        assert_eq!(setup.reap(), []);
        assert_eq!(setup.controller.resets(), 1, "{queue} {identifier:#x}");
        setup.fake.with(|state| state.mood = Mood::Prompt);
        setup.bring_up();
        assert_eq!(setup.reap(), [(1, Status::Done)]);
    }
}

#[test]
fn a_completion_twice_answers_once() {
    let mut setup = setup();
    setup.fake.with(|state| state.mood = Mood::Slow);
    setup.ask(0, 1, READ, 0, 1, 0);
    setup.fake.forge(1, 0, code::SUCCESS);
    setup.fake.forge(1, 0, code::SUCCESS);
    assert_eq!(setup.reap(), [(1, Status::Done)]);
    assert_eq!(setup.controller.resets(), 1);
}

#[test]
fn resets_that_do_not_help_are_the_end() {
    let mut setup = setup();
    setup.fake.with(|state| (state.mood, state.obeys_aborts) = (Mood::Forgetful, false));
    setup.ask(0, 1, READ, 0, 1, 0);
    for _ in 0..4000 {
        setup.wait(Duration::from_millis(500));
        if setup.controller.failed().is_some() {
            break;
        }
    }
    // It is given up as a command before the controller is.
    assert_eq!(setup.controller.failed(), None);
    assert_eq!(setup.reap(), [(1, Status::TimedOut)]);
    for _ in 0..10 {
        setup.fake.break_down();
        setup.wait(Duration::from_secs(1));
        for _ in 0..50 {
            setup.wait(Duration::from_millis(1));
        }
    }
    assert_eq!(setup.controller.failed(), Some(&Failure::Resets));
}

#[test]
fn a_controller_that_never_gets_ready_fails_in_its_own_time() {
    let mut setup = setup_with(PLAN, |fake| fake.with(|state| state.stuck = true));
    setup.wait(Duration::from_millis(1));
    setup.wait(Duration::from_millis(900));
    assert_eq!(setup.controller.failed(), None);
    setup.wait(Duration::from_millis(200));
    assert_eq!(setup.controller.failed(), Some(&Failure::Timeout("start")));
    assert!(Engine::failure(&setup.controller).is_some());
}

#[test]
fn a_controller_that_is_gone_fails_at_once() {
    let mut setup = setup();
    setup.fake.with(|state| state.gone = true);
    setup.wait(Duration::from_millis(1));
    assert_eq!(setup.controller.failed(), Some(&Failure::Gone));
    let none = setup_with(PLAN, |fake| fake.with(|state| state.gone = true));
    assert_eq!(none.controller.failed(), Some(&Failure::Gone));
}

#[test]
fn strange_controllers_are_refused() {
    for capabilities in [2 << 24 | 63, 1 << 37 | 1 << 48 | 63] {
        let setup = setup_with(PLAN, |fake| fake.with(|state| state.capabilities = capabilities));
        assert!(matches!(setup.controller.failed(), Some(Failure::Unsupported(_))));
    }
}

#[test]
fn events_are_asked_for_again() {
    let mut setup = setup();
    for _ in 0..20 {
        assert!(setup.fake.report(0x0002_0001));
        assert_eq!(setup.reap(), []);
        assert_eq!(setup.reap(), []);
        assert_eq!(setup.fake.with(|state| state.events.len()), 4);
    }
}

#[test]
fn a_shutdown_is_waited_for() {
    let mut setup = setup();
    setup.controller.shut_down();
    assert!(!setup.controller.has_room(0));
    setup.wait(Duration::from_millis(1));
    assert!(setup.controller.is_stopped() && setup.controller.failed().is_none());
}

#[test]
fn polling_masks_the_line() {
    let mut polled = setup_with(Plan { vectors: 0, ..PLAN }.for_pairs(1), |_| ());
    polled.bring_up();
    assert!(polled.fake.with(|state| state.line_masked));
    polled.fake.with(|state| state.mood = Mood::Slow);
    polled.ask(0, 0, READ, 0, 1, 0);
    assert_eq!(polled.controller.next_tick(), Some(Duration::from_millis(1)));
}
