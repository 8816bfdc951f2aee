//! Runs the driver on a controller that completes what it likes, with any status, or nothing at all.
#![no_main]

use block::{Command, Engine, Operation, Tag, Ticket};
use device::fake::Bus;
use libfuzzer_sys::fuzz_target;
use nvme::{
    Controller, Plan, Pool,
    fake::{FakeController, Mood, memory},
};
use std::{collections::BTreeSet, rc::Rc, time::Duration};

fuzz_target!(|bytes: &[u8]| {
    let bus = Bus::default();
    let fake = FakeController::new(&bus, 64);
    let plan = Plan { pairs: 2, vectors: 3, line: false, patience: Duration::from_secs(30) };
    let mut controller = Controller::new(fake.registers(), memory(&bus, 2), plan, Duration::ZERO);
    let pool = Rc::new(Pool::new(bus.memory(65536), bus.memory(4096)).expect("tables fit"));
    let mut now = Duration::ZERO;
    let mut asked = BTreeSet::new();
    let mut done = Vec::new();
    for step in bytes.chunks_exact(4) {
        let [step, a, low, high] = *step else { return };
        let value = u16::from_le_bytes([low, high]);
        match step % 7 {
            0 => {
                let command =
                    Command { operation: Operation::Read, block: u64::from(a), blocks: 1, offset: 512 };
                let ticket = Ticket { queue: value % 2, tag: Tag(value) };
                if !asked.contains(&value) && controller.submit(0, ticket, &command, &pool).is_ok() {
                    asked.insert(value);
                    controller.publish();
                }
            }
            1 => fake.forge(u16::from(a % 3), value, u16::from(a)),
            2 => fake.work(),
            3 => {
                now += Duration::from_millis(value.into());
                controller.set_time(now);
                controller.tick();
            }
            4 => fake.with(|state| {
                state.mood = match a % 4 {
                    0 => Mood::Prompt,
                    1 => Mood::Slow,
                    2 => Mood::Forgetful,
                    _ => Mood::Refusing(value & 0x7fff),
                };
            }),
            5 => drop(fake.report(value.into())),
            _ => fake.break_down(),
        }
        controller.reap(&mut done);
        for (ticket, _) in done.drain(..) {
            assert!(asked.remove(&ticket.tag.0), "each request is answered once");
        }
    }
});
