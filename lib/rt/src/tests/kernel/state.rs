//! What the test's kernel knows: processes, handles, messages, and its own objects.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use abi::{CallState, Event, MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageBuffer, MessageInfo, Status};
use capnp::{
    message::{Reader, ReaderOptions, SegmentArray},
    traits::HasTypeId,
};
use schema::{
    ipc_capnp::{endpoint, notification},
    memory_capnp::address_space,
    process_capnp::own_process,
    supervisor_capnp::supervisor,
    system_capnp::log_writer,
};

use super::{Answer, Caller, Facet, Object, Request};
use crate::syscall::EventRegisters;

#[derive(Default)]
pub(super) struct Process {
    pub(super) handles: BTreeMap<u32, Object>,
    pub(super) next_handle: u32,
    pub(super) bits: u64,
    pub(super) released: VecDeque<u64>,
    pub(super) queue: VecDeque<(Arc<Facet>, Request, Caller)>,
    /// The thread's buffer.
    pub(super) page: usize,
    pub(super) deadline: Option<u64>,
    pub(super) ended: bool,
}

impl Process {
    /// Whether it waits, and has nothing to do.
    pub(super) fn is_idle(&self, time: u64) -> bool {
        let waits = self.deadline.is_some_and(|deadline| deadline > time);
        let has_events = self.bits != 0 || !self.released.is_empty() || !self.queue.is_empty();
        self.ended || waits && !has_events
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) processes: Vec<Process>,
    /// Of each page, which use of it is in flight.
    pub(super) sequences: BTreeMap<usize, u64>,
    pub(super) exports: BTreeMap<String, Object>,
    pub(super) acquiring: Vec<(String, Caller)>,
    pub(super) time: u64,
    pub(super) log: Vec<String>,
    pub(super) calls: BTreeMap<u64, u64>,
    /// The main process is there; before that, the others may have nothing to do.
    pub(super) started: bool,
    pub(super) shutdown: bool,
}

impl State {
    pub(super) fn insert(&mut self, process: usize, object: Object) -> u32 {
        let process = &mut self.processes[process];
        let handle = process.next_handle;
        process.next_handle += 1;
        process.handles.insert(handle, object);
        handle
    }

    pub(super) fn object(&self, process: usize, handle: u32) -> Option<Object> {
        self.processes[process].handles.get(&handle).cloned()
    }

    /// Drops one reference to an object that no table holds any more.
    pub(super) fn drop_object(&mut self, object: Object) {
        match object {
            Object::Facet(facet) => {
                let (process, badge) = (facet.process, facet.badge);
                if Arc::into_inner(facet).is_some() {
                    self.processes[process].released.push_back(badge);
                }
            }
            Object::Reply { caller } => {
                self.answer(caller, Answer::error(Status::Disconnected, "the reply was dropped"));
            }
            _ => {}
        }
    }

    pub(super) fn begin(&mut self, process: usize, page: usize, bits: u64) -> Caller {
        let sequence = self.sequences.entry(page).or_default();
        *sequence += 1;
        Caller { process, page, bits, sequence: *sequence }
    }

    pub(super) fn take_message(
        &self,
        process: usize,
        address: usize,
        interface: u64,
        info: MessageInfo,
    ) -> Request {
        let buffer = page(address);
        assert!(info.is_valid(), "the runtime sent an impossible message: {info:?}");
        let handles = &buffer.capabilities[..info.capabilities()];
        Request {
            interface,
            method: info.method(),
            words: buffer.segment[..info.words()].to_vec(),
            objects: handles
                .iter()
                .map(|handle| self.object(process, *handle).expect("a capability that is sent is open"))
                .collect(),
        }
    }

    /// Completes a call, unless it was cancelled.
    pub(super) fn answer(&mut self, caller: Caller, answer: Answer) {
        if self.sequences.get(&caller.page) != Some(&caller.sequence) {
            for object in answer.objects {
                self.drop_object(object);
            }
            return;
        }
        *self.sequences.entry(caller.page).or_default() += 1;
        let handles: Vec<u32> =
            answer.objects.into_iter().map(|object| self.insert(caller.process, object)).collect();
        let buffer = page(caller.page);
        write_message(buffer, &answer.words, &handles);
        buffer.status = answer.status as u32;
        buffer.info = MessageInfo::new(0, answer.words.len() as u16, handles.len() as u8).0;
        buffer.state = CallState::Done as u32;
        let process = &mut self.processes[caller.process];
        process.bits |= caller.bits;
        if caller.bits == 0 {
            // The thread waits in the system call and is about to run.
            process.deadline = None;
        }
    }

    /// Calls the object behind a handle.
    pub(super) fn call(&mut self, caller: Caller, target: u32, request: Request) {
        let Some(object) = self.object(caller.process, target) else {
            return self.answer(caller, Answer::error(Status::Failed, "no such handle"));
        };
        let process = caller.process;
        let first = request.words.get(1).copied().unwrap_or(0);
        let answer = match (&object, request.interface, request.method) {
            (Object::Facet(facet), ..) => {
                if self.processes[facet.process].ended {
                    Answer::error(Status::Disconnected, "the process is gone")
                } else {
                    let server = facet.process;
                    self.processes[server].queue.push_back((facet.clone(), request, caller));
                    return;
                }
            }
            (Object::Scripted(script), ..) => script(&request),
            (Object::OwnProcess, own_process::Client::TYPE_ID, 0) => {
                Answer::capability(Object::Endpoint { process })
            }
            (Object::OwnProcess, own_process::Client::TYPE_ID, 1) => Answer::capability(Object::Notification),
            (Object::OwnProcess, own_process::Client::TYPE_ID, 2) => {
                Answer::capability(Object::Call { page: request.words[2] as usize, bits: first })
            }
            (Object::OwnProcess, own_process::Client::TYPE_ID, 3) => Answer::capability(Object::Memory),
            (Object::OwnProcess, own_process::Client::TYPE_ID, 4) => Answer::capability(Object::AddressSpace),
            (Object::AddressSpace, address_space::Client::TYPE_ID, 0 | 1) => {
                Answer::ok(Vec::new(), Vec::new())
            }
            (Object::Endpoint { process }, endpoint::Client::TYPE_ID, 0) => {
                Answer::capability(Object::Facet(Arc::new(Facet { process: *process, badge: first })))
            }
            (Object::Notification, notification::Client::TYPE_ID, 0) => {
                Answer::capability(Object::Signaller { process, bits: first })
            }
            (Object::Log, log_writer::Client::TYPE_ID, 0) => {
                let words = request.words;
                let text = read(&words, |message: &Reader<SegmentArray<'_>>| {
                    let root: log_writer::write_params::Reader<'_> = message.get_root().unwrap();
                    root.get_text().unwrap().to_string().unwrap()
                });
                self.log.push(text);
                Answer::ok(Vec::new(), Vec::new())
            }
            (Object::Supervisor, supervisor::Client::TYPE_ID, _) => {
                let Some(answer) = self.supervise(caller, request) else { return };
                answer
            }
            _ => Answer::error(Status::Unimplemented, "no such method"),
        };
        self.answer(caller, answer);
    }

    fn supervise(&mut self, caller: Caller, request: Request) -> Option<Answer> {
        let name = read(&request.words, |message: &Reader<SegmentArray<'_>>| {
            let root: supervisor::acquire_params::Reader<'_> = message.get_root().unwrap();
            root.get_name().unwrap().to_string().unwrap()
        });
        if request.method == 1 {
            return match self.exports.get(&name) {
                Some(object) => Some(Answer::capability(object.clone())),
                None => {
                    self.acquiring.push((name, caller));
                    None
                }
            };
        }
        let object = request.objects.into_iter().next().expect("an export has a capability");
        let (ready, waiting) =
            std::mem::take(&mut self.acquiring).into_iter().partition(|(wanted, _)| *wanted == name);
        self.acquiring = waiting;
        let ready: Vec<(String, Caller)> = ready;
        for (_, caller) in ready {
            self.answer(caller, Answer::capability(object.clone()));
        }
        self.exports.insert(name, object);
        Some(Answer::ok(Vec::new(), Vec::new()))
    }

    /// The next event of a process, if there is one.
    pub(super) fn event(&mut self, process: usize) -> Option<EventRegisters> {
        let bits = std::mem::take(&mut self.processes[process].bits);
        if bits != 0 {
            return Some(EventRegisters {
                rax: Event::Signals as u64,
                rdi: bits,
                ..EventRegisters::default()
            });
        }
        if let Some(badge) = self.processes[process].released.pop_front() {
            return Some(EventRegisters {
                rax: Event::Released as u64,
                rdi: badge,
                ..EventRegisters::default()
            });
        }
        let (facet, request, caller) = self.processes[process].queue.pop_front()?;
        let handles: Vec<u32> =
            request.objects.into_iter().map(|object| self.insert(process, object)).collect();
        write_message(page(self.processes[process].page), &request.words, &handles);
        let reply = self.insert(process, Object::Reply { caller });
        let badge = facet.badge;
        self.drop_object(Object::Facet(facet));
        Some(EventRegisters {
            rax: Event::Call as u64,
            rdi: badge,
            rsi: request.interface,
            rdx: MessageInfo::new(request.method, request.words.len() as u16, handles.len() as u8).0,
            r8: u64::from(reply),
        })
    }

    pub(super) fn reply(&mut self, process: usize, reply: u32, status: Status, info: MessageInfo) {
        if reply == abi::NULL_HANDLE {
            return;
        }
        match self.processes[process].handles.remove(&reply) {
            Some(Object::Reply { caller }) => {
                let address = self.processes[process].page;
                let message = self.take_message(process, address, 0, info);
                self.answer(caller, Answer { status, words: message.words, objects: message.objects });
            }
            _ => panic!("the runtime answered with a handle that is no reply: {reply}"),
        }
    }
}

fn write_message(buffer: &mut MessageBuffer, words: &[u64], handles: &[u32]) {
    let length = words.len().min(MAXIMUM_WORDS);
    buffer.segment[..length].copy_from_slice(&words[..length]);
    let count = handles.len().min(MAXIMUM_CAPABILITIES);
    buffer.capabilities[..count].copy_from_slice(&handles[..count]);
}

fn read<T>(words: &[u64], read: impl FnOnce(&Reader<SegmentArray<'_>>) -> T) -> T {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let segments: [&[u8]; 1] = [&bytes];
    read(&Reader::new(SegmentArray::new(&segments), ReaderOptions::new()))
}

pub(super) fn new_page() -> usize {
    // SAFETY: all fields of a buffer are numbers, for which zero is a value.
    let page: Box<MessageBuffer> = unsafe { Box::new_zeroed().assume_init() };
    (&raw mut *Box::leak(page)).expose_provenance()
}

pub(super) fn page(address: usize) -> &'static mut MessageBuffer {
    // SAFETY: pages of this kernel are leaked. Its lock is held, and the process whose page it is waits or, as with real
    // memory, looks only at the state.
    unsafe { &mut *std::ptr::with_exposed_provenance_mut(address) }
}
