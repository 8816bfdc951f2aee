//! Runs the driver between a client and a device that uses any descriptors with any lengths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::{HeapMemory, frame::ClientSide};
use std::{
    rc::Rc,
    sync::{Arc, Once},
};
use virtio::{DeviceType, InterruptPlan, Msix, fake::FakeDevice};
use virtio_net::{Device, Work};

static ARENA: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    ARENA.call_once(|| FakeDevice::arena(64));
    let [kind, steps @ ..] = bytes else { return };
    let fake = FakeDevice::new(&[64, 64], &[2, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0xdc, 5], 0x1_0028);
    let transport = match kind % 3 {
        0 => fake.modern(DeviceType::Network),
        1 => fake.legacy(DeviceType::Network, Msix::On),
        _ => fake.legacy(DeviceType::Network, Msix::Off),
    };
    let plan = if kind % 3 == 2 { InterruptPlan::Line } else { InterruptPlan::TwoVectors };
    let mut device = Device::new(transport, plan, FakeDevice::memory(4096));
    device.prepare().expect("an honest start");
    let layout = device.plan(0).expect("an honest start");
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    device.start(layout, &rings, &Rc::new(FakeDevice::memory(layout.buffers_bytes()))).expect("an honest start");
    let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
    let mut client = ClientSide::new(&rings, &buffers, layout).expect("it fits");
    for step in steps.chunks_exact(4) {
        let [step, queue, low, high] = *step else { return };
        let (queue, value) = (usize::from(queue % 2), u32::from(u16::from_le_bytes([low, high])));
        match step % 5 {
            0 => fake.complete(queue, value, value),
            1 => fake.jump_used(queue, u16::from(low)),
            2 => {
                if let Some(chain) = fake.take(queue) {
                    fake.complete(queue, u32::from(chain.head), value);
                }
            }
            3 => {
                if let Ok(Some(frame)) = client.receive() {
                    let _ = client.give_back(frame);
                }
            }
            _ => {
                if let Ok(Some(buffer)) = client.take_send_buffer() {
                    let _ = client.send(buffer, value as usize);
                }
            }
        }
        device.wake();
        for _ in 0..8 {
            match device.turn() {
                Ok(turn) if turn.work == Work::More => {}
                Ok(_) => break,
                Err(_) => return,
            }
        }
    }
});
