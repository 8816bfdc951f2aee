//! Views, and queues in front of a disk in memory.

use crate::{
    Access, Command, Disk, Engine, Front, Identity, Operation, QueueNumber, Refusal, Status, Tag, Ticket,
    Turn, View, ViewError, Work, WriteMode,
};
use core::time::Duration;
use ring::{
    HeapMemory, PeerFault,
    block::{Answer, BlockLayout, ClientSide, Request},
};
use std::{rc::Rc, sync::Arc};

const LAYOUT: BlockLayout = match BlockLayout::new(8, 512, 8192) {
    Ok(layout) => layout,
    Err(_) => panic!("a valid layout"),
};

fn disk() -> Disk {
    Disk {
        block_bytes: 512,
        blocks: 100,
        maximum_blocks: 8,
        maximum_discard: 50,
        maximum_zero: 0,
        access: Access::ReadWrite,
        write_cache: true,
        forced_unit_access: true,
        identity: Identity::default(),
    }
}

/// A device that keeps commands until the test says that they are done.
struct Fake {
    disks: Vec<Disk>,
    room: usize,
    held: Vec<(Ticket, Command)>,
    done: Vec<(Ticket, Status)>,
    published: usize,
}

impl Engine for Fake {
    type Pool = Rc<()>;

    fn set_time(&mut self, _: Duration) {}

    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn has_room(&self, _: u16) -> bool {
        self.held.len() < self.room
    }

    fn submit(&mut self, _: usize, ticket: Ticket, command: &Command, _: &Rc<()>) -> Result<(), Refusal> {
        if command.operation == Operation::Flush {
            return Err(Refusal::Answer(Status::Done));
        }
        if self.held.len() == self.room {
            return Err(Refusal::Full);
        }
        self.held.push((ticket, *command));
        Ok(())
    }

    fn publish(&mut self) {
        self.published = self.held.len();
    }

    fn reap(&mut self, done: &mut Vec<(Ticket, Status)>) {
        done.append(&mut self.done);
    }

    fn tick(&mut self) {}

    fn next_tick(&self) -> Option<Duration> {
        None
    }

    fn stop(&mut self) {
        self.room = 0;
    }

    fn stopped(&self) -> Option<Result<(), String>> {
        (self.room == 0 && self.held.is_empty()).then_some(Ok(()))
    }
}

struct Setup {
    front: Front<Fake, HeapMemory>,
    client: ClientSide<HeapMemory>,
    queue: QueueNumber,
    pool: Rc<()>,
}

fn setup(view: View) -> Setup {
    let fake = Fake { disks: vec![disk()], room: 4, held: vec![], done: vec![], published: 0 };
    let mut front = Front::new(fake);
    let rings = Arc::new(HeapMemory::new(LAYOUT.rings_bytes()));
    let pool = Rc::new(());
    let queue = front.open(view, LAYOUT, &rings, Rc::clone(&pool)).expect("room");
    Setup { front, client: ClientSide::new(&rings, LAYOUT).expect("it fits"), queue, pool }
}

impl Setup {
    fn run(&mut self) -> Turn {
        let mut turn = Turn::default();
        for _ in 0..100 {
            if self.front.turn(Duration::ZERO, &mut turn) == Work::None {
                return turn;
            }
        }
        panic!("the front never rests");
    }

    /// Finishes the oldest command.
    fn finish(&mut self, status: Status) {
        let fake = self.front.engine_mut();
        let (ticket, _) = fake.held.remove(0);
        fake.done.push((ticket, status));
    }

    fn ask(&mut self, tag: u16, operation: Operation, block: u64, blocks: u32) {
        let request = Request { tag: Tag(tag), operation, block, blocks, offset: 0 };
        self.client.submit(request).expect("a free tag");
    }
}

fn whole() -> View {
    View::whole(0, &disk())
}

#[test]
fn parts_of_parts_stay_inside() {
    let part = whole().part(10, 20).expect("inside");
    let inner = part.part(5, 15).expect("inside");
    assert_eq!(inner.blocks(), 15);
    assert_eq!(part.part(5, 16), Err(ViewError::Outside { first: 5, count: 16, blocks: 20 }));
    assert_eq!(part.part(u64::MAX, 2), Err(ViewError::Outside { first: u64::MAX, count: 2, blocks: 20 }));
    assert_eq!(part.part(0, 0), Err(ViewError::Empty));
    let request = Request { tag: Tag(0), operation: Operation::Read, block: 14, blocks: 1, offset: 512 };
    let located = inner.locate(&request, &disk()).expect("the last block");
    assert_eq!((located.block, located.blocks, located.offset), (29, 1, 512));
}

#[test]
fn what_is_outside_or_not_allowed_is_answered_and_not_done() {
    let write = Operation::Write(WriteMode::Cached);
    let part = whole().part(10, 20).expect("inside");
    for (view, operation, block, blocks, status) in [
        (part, Operation::Read, 19, 2, Status::OutOfRange),
        (part, Operation::Read, 20, 1, Status::OutOfRange),
        (part, write, u64::MAX, 1, Status::OutOfRange),
        (part, Operation::Discard, 0, 21, Status::OutOfRange),
        (part, Operation::Read, 0, 0, Status::BadLength),
        (part, Operation::Read, 0, 9, Status::BadLength),
        (part, Operation::Discard, 0, 51, Status::BadLength),
        (part, Operation::WriteZeroes, 0, 1, Status::Unsupported),
        (part.read_only(), write, 0, 1, Status::ReadOnly),
        (part.read_only(), Operation::Discard, 0, 1, Status::ReadOnly),
        (part.read_only().part(0, 5).expect("inside"), Operation::WriteZeroes, 0, 1, Status::ReadOnly),
    ] {
        let mut setup = setup(view);
        setup.ask(0, operation, block, blocks);
        let turn = setup.run();
        assert!(turn.ended.is_empty());
        assert_eq!(setup.client.take(), Ok(Some(Answer { tag: Tag(0), status })), "{operation:?} {block}");
        assert!(setup.front.engine().held.is_empty());
        assert_eq!(setup.front.counters().errors, 1);
    }
}

#[test]
fn requests_wait_for_room_and_are_all_answered_once() {
    let mut setup = setup(whole());
    for tag in 0..8 {
        setup.ask(tag, Operation::Read, tag.into(), 1);
    }
    setup.run();
    assert_eq!((setup.front.engine().held.len(), setup.front.engine().published), (4, 4));
    let mut answered = Vec::new();
    for _ in 0..8 {
        setup.finish(Status::Done);
        setup.run();
        while let Some(answer) = setup.client.take().expect("honest") {
            answered.push(answer.tag.0);
        }
    }
    assert_eq!(answered, (0..8).collect::<Vec<_>>());
    assert_eq!((setup.front.counters().reads, setup.front.take_served()), (8, 8));
}

#[test]
fn the_engine_can_answer_at_once() {
    let mut setup = setup(whole());
    setup.ask(3, Operation::Flush, 9, 9);
    setup.run();
    assert_eq!(setup.client.take(), Ok(Some(Answer { tag: Tag(3), status: Status::Done })));
}

#[test]
fn a_closed_queue_keeps_its_memory_until_the_device_is_done() {
    let mut setup = setup(whole());
    setup.ask(0, Operation::Read, 0, 1);
    setup.run();
    setup.front.close(setup.queue);
    assert!(!setup.front.is_closed(setup.queue));
    assert_eq!(Rc::strong_count(&setup.pool), 2);
    setup.ask(1, Operation::Read, 0, 1);
    setup.run();
    assert_eq!(setup.front.engine().held.len(), 1, "no more requests are taken");
    setup.finish(Status::Done);
    setup.run();
    assert!(setup.front.is_closed(setup.queue));
    assert_eq!(Rc::strong_count(&setup.pool), 1);
    assert_eq!(setup.client.take(), Ok(None), "nobody is told");
}

#[test]
fn a_clients_fault_ends_its_queue_alone() {
    let mut setup = setup(whole());
    let rings = Arc::new(HeapMemory::new(LAYOUT.rings_bytes()));
    let bad = setup.front.open(whole(), LAYOUT, &rings, Rc::new(())).expect("room");
    let mut hostile = ClientSide::new(&rings, LAYOUT).expect("it fits");
    hostile
        .submit(Request { tag: Tag(0), operation: Operation::Read, block: 0, blocks: 1, offset: 8192 })
        .expect("room");
    setup.ask(0, Operation::Read, 0, 1);
    let turn = setup.run();
    assert_eq!(turn.ended, [(bad, PeerFault::Range { offset: 8192, length: 512 })]);
    assert!(setup.front.is_closed(bad));
    setup.finish(Status::Done);
    setup.run();
    assert_eq!(setup.client.take(), Ok(Some(Answer { tag: Tag(0), status: Status::Done })));
}

#[test]
fn clients_are_rung_when_they_sleep() {
    let mut setup = setup(whole());
    setup.ask(0, Operation::Read, 0, 1);
    assert!(setup.run().ring.is_empty());
    let _armed = setup.client.arm();
    setup.finish(Status::Done);
    assert_eq!(setup.run().ring, [setup.queue]);
}

#[test]
fn queues_are_bounded() {
    let mut setup = setup(whole());
    let rings = Arc::new(HeapMemory::new(LAYOUT.rings_bytes()));
    let opened = (0..100).map_while(|_| setup.front.open(whole(), LAYOUT, &rings, Rc::new(())).ok()).count();
    assert_eq!(opened, 63);
}
