//! A controller in memory, honest or not, for host tests.

use crate::{
    queue::Entry,
    spec::{PAGE_BYTES, admin, code, configuration, feature, identify, io, register, status},
};
use ::device::{DmaRegion, Registers, fake::Bus};
use std::{
    boxed::Box,
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    vec,
    vec::Vec,
};

/// Bytes of the registers: two pages, so that 1024 doorbells are there.
const REGISTER_BYTES: u32 = 0x2000;

/// One queue as the controller knows it.
#[derive(Clone, Copy, Debug, Default)]
struct FakeQueue {
    address: u64,
    entries: u32,
    position: u32,
    phase: u16,
}

/// What the controller does with block commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Does them at once.
    Prompt,
    /// Keeps them until [`FakeController::work`].
    Slow,
    /// Takes them and forgets them.
    Forgetful,
    /// Completes them with this status.
    Refusing(u16),
}

/// What the test may look at and change.
pub struct State {
    bus: Bus,
    configuration: u32,
    status: u32,
    admin: [u64; 2],
    admin_sizes: u32,
    submissions: BTreeMap<u16, FakeQueue>,
    completions: BTreeMap<u16, FakeQueue>,
    /// Capabilities.
    pub capabilities: u64,
    /// What it does with block commands.
    pub mood: Mood,
    /// Block commands that it keeps: their queue and entry.
    pub kept: VecDeque<(u16, Entry)>,
    /// Aborts that it was asked for; an abort completes the command where it is kept.
    pub aborts: Vec<u32>,
    /// Whether it does what aborts ask.
    pub obeys_aborts: bool,
    /// Whether it becomes ready, and not ready.
    pub stuck: bool,
    /// Whether the function is gone.
    pub gone: bool,
    /// Times that it was enabled.
    pub starts: u32,
    /// Identifiers of event requests that wait.
    pub events: Vec<u16>,
    /// The controller's page.
    pub identify: Vec<u8>,
    /// The namespaces: bytes of a block as a power of two, and their bytes.
    pub namespaces: Vec<(u32, u8, Vec<u8>)>,
    /// I/O queues that it grants.
    pub queues: u32,
    /// I/O completion queues, by number: vector, if they have interrupts.
    pub vectors: BTreeMap<u16, Option<u16>>,
    /// Block commands that it did, by opcode.
    pub done: Vec<u8>,
    /// Whether the line is masked.
    pub line_masked: bool,
}

/// A fake controller; clones are the same one.
#[derive(Clone)]
pub struct FakeController {
    state: Rc<RefCell<State>>,
}

impl FakeController {
    /// A controller with one namespace of 512-byte blocks and `blocks` blocks.
    pub fn new(bus: &Bus, blocks: usize) -> Self {
        let mut identify = vec![0; PAGE_BYTES as usize];
        put(&mut identify, 4, b"serial");
        put(&mut identify, 24, b"Fake");
        put(&mut identify, 77, &[5]);
        put(&mut identify, 80, &0x0001_0400_u32.to_le_bytes());
        put(&mut identify, 258, &[3, 3]);
        put(&mut identify, 516, &[16]);
        put(&mut identify, 520, &[0x0c]);
        put(&mut identify, 525, &[1]);
        Self {
            state: Rc::new(RefCell::new(State {
                bus: bus.clone(),
                configuration: 0,
                status: 0,
                admin: [0; 2],
                admin_sizes: 0,
                submissions: BTreeMap::new(),
                completions: BTreeMap::new(),
                // 64 entries, 1 s, NVM.
                capabilities: 1 << 37 | 2 << 24 | 63,
                mood: Mood::Prompt,
                kept: VecDeque::new(),
                aborts: Vec::new(),
                obeys_aborts: true,
                stuck: false,
                gone: false,
                starts: 0,
                events: Vec::new(),
                identify,
                namespaces: vec![(1, 9, vec![0; blocks * 512])],
                queues: 8,
                vectors: BTreeMap::new(),
                done: Vec::new(),
                line_masked: false,
            })),
        }
    }

    /// Its registers.
    pub fn registers(&self) -> Box<dyn Registers> {
        Box::new(FakeRegisters(self.clone()))
    }

    /// Runs `f` on its state.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.borrow_mut())
    }

    /// Does what it kept.
    pub fn work(&self) {
        self.with(|state| {
            while let Some((queue, entry)) = state.kept.pop_front() {
                state.do_block(queue, &entry);
            }
        });
    }

    /// Reports an event, if it was asked to.
    pub fn report(&self, result: u32) -> bool {
        self.with(|state| {
            let Some(identifier) = state.events.pop() else { return false };
            state.complete(0, identifier, code::SUCCESS, result);
            true
        })
    }

    /// Writes a completion that nobody asked for.
    pub fn forge(&self, queue: u16, identifier: u16, status: u16) {
        self.with(|state| state.complete(queue, identifier, status, 0));
    }

    /// Says that it cannot go on.
    pub fn break_down(&self) {
        self.with(|state| state.status |= status::FATAL);
    }
}

fn put(page: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = page.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The fields of an entry that the controller uses.
struct Fields {
    opcode: u8,
    identifier: u16,
    namespace: u32,
    prp: [u64; 2],
    words: [u32; 4],
}

impl Fields {
    fn new(entry: &Entry) -> Self {
        let [first, _, _, prp1, prp2, low, high, _] = *entry;
        Self {
            opcode: first as u8,
            identifier: (first >> 16) as u16,
            namespace: (first >> 32) as u32,
            prp: [prp1, prp2],
            words: [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32],
        }
    }
}

impl State {
    fn configure(&mut self, value: u32) {
        let was = self.configuration;
        self.configuration = value;
        if value & configuration::SHUTDOWN_MASK != 0 && !self.stuck {
            self.status |= status::SHUTDOWN_COMPLETE;
        }
        if value & configuration::ENABLE == was & configuration::ENABLE || self.stuck {
            return;
        }
        self.submissions.clear();
        self.completions.clear();
        self.kept.clear();
        self.events.clear();
        if value & configuration::ENABLE == 0 {
            self.status = 0;
            return;
        }
        self.starts += 1;
        self.status = status::READY;
        let [submission, completion] = self.admin;
        let queue = |address, entries| FakeQueue { address, entries, position: 0, phase: 1 };
        self.submissions.insert(0, queue(submission, (self.admin_sizes & 0xfff) + 1));
        self.completions.insert(0, queue(completion, (self.admin_sizes >> 16) + 1));
    }

    fn ring(&mut self, index: u32, value: u32) {
        // The completion heads are odd; this controller never fills a queue.
        if index % 2 == 1 || self.status & status::READY == 0 {
            return;
        }
        let number = (index / 2) as u16;
        while let Some(queue) = self.submissions.get_mut(&number) {
            if queue.position == value % queue.entries {
                break;
            }
            let address = queue.address + u64::from(queue.position) * 64;
            queue.position = (queue.position + 1) % queue.entries;
            let Some(bytes) = self.bus.read(address, 64) else { break };
            let mut entry = [0; 8];
            for (word, bytes) in entry.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
            if number == 0 {
                self.do_admin(&entry);
                continue;
            }
            match self.mood {
                Mood::Prompt => self.do_block(number, &entry),
                Mood::Slow => self.kept.push_back((number, entry)),
                Mood::Forgetful => {}
                Mood::Refusing(status) => self.complete(number, Fields::new(&entry).identifier, status, 0),
            }
        }
    }

    fn complete(&mut self, number: u16, identifier: u16, status: u16, result: u32) {
        let Some(queue) = self.completions.get_mut(&number) else { return };
        let mut bytes = [0; 16];
        put(&mut bytes, 0, &result.to_le_bytes());
        put(&mut bytes, 12, &identifier.to_le_bytes());
        put(&mut bytes, 14, &(status << 1 | queue.phase).to_le_bytes());
        let address = queue.address + u64::from(queue.position) * 16;
        queue.position = (queue.position + 1) % queue.entries;
        if queue.position == 0 {
            queue.phase ^= 1;
        }
        let _written = self.bus.write(address, &bytes);
    }

    fn do_admin(&mut self, entry: &Entry) {
        let Fields { opcode, identifier, namespace, prp: [prp1, _], words: [low, high, ..] } =
            Fields::new(entry);
        let mut result = 0;
        let mut status = code::SUCCESS;
        match opcode {
            admin::IDENTIFY => {
                let page = self.page(low, namespace);
                let _written = self.bus.write(prp1, &page);
            }
            admin::SET_FEATURES if low == feature::QUEUES => {
                result = (self.queues - 1) | (self.queues - 1) << 16;
            }
            admin::SET_FEATURES | admin::GET_LOG_PAGE => {}
            admin::CREATE_COMPLETION | admin::CREATE_SUBMISSION => {
                let queue = FakeQueue { address: prp1, entries: (low >> 16) + 1, position: 0, phase: 1 };
                let number = low as u16;
                if u32::from(number) > self.queues || number == 0 {
                    status = code::INVALID_FIELD;
                } else if opcode == admin::CREATE_COMPLETION {
                    self.completions.insert(number, queue);
                    self.vectors.insert(number, (high & 2 != 0).then_some((high >> 16) as u16));
                } else {
                    self.submissions.insert(number, queue);
                }
            }
            admin::ABORT => {
                self.aborts.push(low);
                result = 1;
                let (queue, wanted) = (low as u16, (low >> 16) as u16);
                let is_it = |(number, entry): &(u16, Entry)| {
                    *number == queue && Fields::new(entry).identifier == wanted
                };
                let kept = self.kept.iter().position(is_it).filter(|_| self.obeys_aborts);
                if let Some(place) = kept {
                    self.kept.remove(place);
                    self.complete(queue, wanted, code::ABORTED, 0);
                    result = 0;
                }
            }
            admin::ASYNCHRONOUS_EVENT => {
                self.events.push(identifier);
                return;
            }
            _ => status = code::INVALID_OPCODE,
        }
        self.complete(0, identifier, status, result);
    }

    fn page(&self, what: u32, number: u32) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES as usize];
        match what {
            identify::CONTROLLER => return self.identify.clone(),
            identify::ACTIVE_NAMESPACES => {
                for (index, (number, ..)) in self.namespaces.iter().enumerate() {
                    put(&mut page, index * 4, &number.to_le_bytes());
                }
            }
            _ => {
                if let Some((_, shift, bytes)) = self.namespaces.iter().find(|(known, ..)| *known == number) {
                    put(&mut page, 0, &((bytes.len() as u64) >> shift).to_le_bytes());
                    put(&mut page, 128, &[0, 0, *shift]);
                }
            }
        }
        page
    }

    fn do_block(&mut self, queue: u16, entry: &Entry) {
        let fields = Fields::new(entry);
        let status = self.transfer(&fields);
        if status == code::SUCCESS {
            self.done.push(fields.opcode);
        }
        self.complete(queue, fields.identifier, status, 0);
    }

    fn transfer(&mut self, fields: &Fields) -> u16 {
        let Fields { opcode, namespace, prp, words: [low, high, control, _], .. } = *fields;
        let Some(index) = self.namespaces.iter().position(|(number, ..)| *number == namespace) else {
            return code::INVALID_FIELD;
        };
        let (_, shift, disk) = &mut self.namespaces[index];
        let (block, blocks) = (u64::from(low) | u64::from(high) << 32, u64::from(control & 0xffff) + 1);
        match opcode {
            io::FLUSH => code::SUCCESS,
            io::WRITE_ZEROES => blocks_of(disk, *shift, block, blocks).map_or(code::OUT_OF_RANGE, |bytes| {
                bytes.fill(0);
                code::SUCCESS
            }),
            io::DATASET_MANAGEMENT => {
                let Some(bytes) = self.bus.read(prp[0], 16) else { return code::INVALID_FIELD };
                let word =
                    |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                let block = u64::from(word(8)) | u64::from(word(12)) << 32;
                blocks_of(disk, *shift, block, word(4).into()).map_or(code::OUT_OF_RANGE, |bytes| {
                    bytes.fill(0xdd);
                    code::SUCCESS
                })
            }
            io::READ | io::WRITE => {
                let Some(bytes) = blocks_of(disk, *shift, block, blocks) else { return code::OUT_OF_RANGE };
                let mut place = 0;
                for (address, length) in runs(&self.bus, prp, bytes.len()) {
                    let part = &mut bytes[place..place + length];
                    place += length;
                    let moved = if opcode == io::READ {
                        self.bus.write(address, part)
                    } else {
                        self.bus.read(address, length).map(|source| part.copy_from_slice(&source))
                    };
                    if moved.is_none() {
                        return 0x004;
                    }
                }
                code::SUCCESS
            }
            _ => code::INVALID_OPCODE,
        }
    }
}

/// The bytes of some blocks, if they are all there.
fn blocks_of(disk: &mut [u8], shift: u8, block: u64, blocks: u64) -> Option<&mut [u8]> {
    let start = block.checked_mul(1 << shift)?;
    let end = start.checked_add(blocks << shift)?;
    disk.get_mut(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// The transfer that two data pointers name, as runs of bytes.
fn runs(bus: &Bus, [prp1, prp2]: [u64; 2], length: usize) -> Vec<(u64, usize)> {
    let page = PAGE_BYTES as usize;
    let first = (page - prp1 as usize % page).min(length);
    let mut runs = vec![(prp1, first)];
    let mut left = length - first;
    if left > 0 && left <= page {
        runs.push((prp2, left));
        return runs;
    }
    let mut entry = prp2;
    while left > 0 {
        let address = bus.read(entry, 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let run = left.min(page);
        runs.push((address.unwrap_or(0), run));
        left -= run;
        entry += 8;
    }
    runs
}

struct FakeRegisters(FakeController);

impl Registers for FakeRegisters {
    fn size(&self) -> u32 {
        REGISTER_BYTES
    }

    fn read_u8(&self, _: u32) -> u8 {
        u8::MAX
    }

    fn read_u16(&self, _: u32) -> u16 {
        u16::MAX
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.0.with(|state| match offset {
            _ if state.gone => u32::MAX,
            register::CAPABILITIES => state.capabilities as u32,
            0x04 => (state.capabilities >> 32) as u32,
            register::CONFIGURATION => state.configuration,
            register::STATUS => state.status,
            _ => 0,
        })
    }

    fn write_u8(&self, _: u32, _: u8) {}

    fn write_u16(&self, _: u32, _: u16) {}

    fn write_u32(&self, offset: u32, value: u32) {
        self.0.with(|state| match offset {
            _ if state.gone => {}
            register::CONFIGURATION => state.configure(value),
            register::ADMIN_SIZES => state.admin_sizes = value,
            register::INTERRUPT_MASK_SET => state.line_masked = true,
            register::INTERRUPT_MASK_CLEAR => state.line_masked = false,
            register::ADMIN_SUBMISSION | register::ADMIN_COMPLETION => {
                let index = usize::from(offset == register::ADMIN_COMPLETION);
                state.admin[index] = state.admin[index] & !0xffff_ffff | u64::from(value);
            }
            0x2c | 0x34 => {
                let index = usize::from(offset == 0x34);
                state.admin[index] = state.admin[index] & 0xffff_ffff | u64::from(value) << 32;
            }
            register::DOORBELLS.. => state.ring((offset - register::DOORBELLS) / 4, value),
            _ => {}
        });
    }
}

/// Memory for a controller with so many pairs.
///
/// # Panics
///
/// When the host has no such memory.
pub fn memory(bus: &Bus, pairs: u16) -> crate::Memory {
    let whole: DmaRegion = bus.memory(crate::Memory::pages(pairs) * PAGE_BYTES);
    crate::Memory::new(&whole, pairs).expect("it is large enough")
}
