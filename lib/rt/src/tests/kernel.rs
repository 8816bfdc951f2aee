//! A kernel for tests: processes are threads, time stands still unless all of them wait.
//!
//! It keeps to `abi` and to the interfaces of the kernel objects that the runtime uses. When every process waits
//! and none has a deadline, the test is stuck and fails; when the test's main process has ended, the others
//! end by a panic that is caught.
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use abi::{
    CallState, Event, MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageBuffer, MessageInfo, NO_DEADLINE, Status,
    Syscall,
};
use capnp::{
    message::{Builder, Reader, ReaderOptions, SegmentArray},
    traits::HasTypeId,
};
use schema::{
    ipc_capnp::{endpoint, notification},
    memory_capnp::address_space,
    process_capnp::own_process,
    supervisor_capnp::{start_info, supervisor},
    system_capnp::log_writer,
};

use crate::{Environment, executor, host, runtime::runtime, syscall::EventRegisters};

/// What a handle names.
#[derive(Clone)]
pub(super) enum Object {
    OwnProcess,
    AddressSpace,
    Memory,
    Notification,
    Signaller {
        process: usize,
        bits: u64,
    },
    Endpoint {
        process: usize,
    },
    Facet(Arc<Facet>),
    Call {
        page: usize,
        bits: u64,
    },
    Reply {
        caller: Caller,
    },
    Log,
    Supervisor,
    /// An object that does what the test says.
    Scripted(Script),
    /// A range of ports, all of which read as their offset.
    Ports,
}

/// Answers every call to an object.
pub(super) type Script = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

pub(super) struct Facet {
    process: usize,
    badge: u64,
}

/// Who waits for the answer of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    process: usize,
    page: usize,
    /// Bits to signal; 0 for a thread that waits in the system call.
    bits: u64,
    /// Which use of the page this is.
    sequence: u64,
}

/// A message on its way to an object.
pub(super) struct Request {
    pub interface: u64,
    pub method: u16,
    pub words: Vec<u64>,
    pub objects: Vec<Object>,
}

/// What is answered to a call, right or wrong.
pub(super) struct Answer {
    pub status: Status,
    pub words: Vec<u64>,
    pub objects: Vec<Object>,
}

impl Answer {
    pub(super) fn ok(words: Vec<u64>, objects: Vec<Object>) -> Self {
        Self { status: Status::Ok, words, objects }
    }

    pub(super) fn error(status: Status, reason: &str) -> Self {
        let mut words = vec![0; reason.len().div_ceil(8)];
        for (index, byte) in reason.bytes().enumerate() {
            words[index / 8] |= u64::from(byte) << (index % 8 * 8);
        }
        Self { status, words, objects: Vec::new() }
    }

    /// An answer whose one field is a capability.
    fn capability(object: Object) -> Self {
        Self::ok(vec![1 << 48, 3], vec![object])
    }
}

#[derive(Default)]
struct Process {
    handles: BTreeMap<u32, Object>,
    next_handle: u32,
    bits: u64,
    released: VecDeque<u64>,
    queue: VecDeque<(Arc<Facet>, Request, Caller)>,
    /// The thread's buffer.
    page: usize,
    deadline: Option<u64>,
    ended: bool,
}

#[derive(Default)]
struct State {
    processes: Vec<Process>,
    /// Of each page, which use of it is in flight.
    sequences: BTreeMap<usize, u64>,
    exports: BTreeMap<String, Object>,
    acquiring: Vec<(String, Caller)>,
    time: u64,
    log: Vec<String>,
    calls: BTreeMap<u64, u64>,
    /// The main process is there; before that, the others may have nothing to do.
    started: bool,
    shutdown: bool,
}

/// The kernel.
#[derive(Clone, Default)]
pub(super) struct Kernel {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

/// Ends a process that is no longer needed.
struct Shutdown;

/// A kernel as one process sees it.
struct View {
    kernel: Kernel,
    process: usize,
}

impl Kernel {
    /// Runs `main` as a process of its own, to the end of the test.
    pub(super) fn start<F: Future<Output = ()> + 'static>(
        &self,
        main: impl FnOnce(Environment) -> F + Send + 'static,
    ) -> JoinHandle<()> {
        let kernel = self.clone();
        let process = kernel.new_process();
        thread::spawn(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(|| kernel.enter(process, main)));
            kernel.end(process);
            if let Err(cause) = result
                && !cause.is::<Shutdown>()
            {
                panic::resume_unwind(cause);
            }
        })
    }

    /// Runs `main` as the test's main process; returns when it and all others have ended.
    pub(super) fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        others: Vec<JoinHandle<()>>,
        main: impl FnOnce(Environment) -> F + Send + 'static,
    ) -> T {
        let kernel = self.clone();
        let process = kernel.new_process();
        kernel.lock().started = true;
        let main = thread::spawn(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(|| kernel.enter(process, main)));
            kernel.lock().shutdown = true;
            kernel.end(process);
            result
        });
        let result = main.join().expect("caught above");
        for other in others {
            join(other.join());
        }
        join(result)
    }

    fn new_process(&self) -> usize {
        let mut state = self.lock();
        state.processes.push(Process { next_handle: 1, page: new_page(), ..Process::default() });
        state.processes.len() - 1
    }

    fn enter<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        process: usize,
        main: impl FnOnce(Environment) -> F,
    ) -> T {
        host::install(Rc::new(View { kernel: self.clone(), process }));
        let mut state = self.lock();
        let own = state.insert(process, Object::OwnProcess);
        let log = state.insert(process, Object::Log);
        let supervisor = state.insert(process, Object::Supervisor);
        let page = state.processes[process].page;
        drop(state);
        let segment = start_info(&format!("process-{process}"), &[("log", log), ("supervisor", supervisor)]);
        let info = crate::environment::StartInfo::read(&segment, own).unwrap();
        runtime().own_process.set(own);
        runtime().log_writer.set(info.log_writer);
        // SAFETY: the page is leaked and known to this kernel and this process alone.
        runtime().buffer.set(unsafe { crate::buffer::Buffer::at(page as u64) });
        executor::block_on(main(info.environment))
    }

    fn end(&self, process: usize) {
        let mut state = self.lock();
        state.processes[process].ended = true;
        let objects = std::mem::take(&mut state.processes[process].handles);
        for (_, object) in objects {
            state.drop_object(object);
        }
        let queue = std::mem::take(&mut state.processes[process].queue);
        for (_, _, caller) in queue {
            state.answer(caller, Answer::error(Status::Disconnected, "the process is gone"));
        }
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Puts an object into the handle table of the calling process.
    pub(super) fn insert(&self, environment: &Environment, object: Object) -> u32 {
        let process = process_of(environment);
        self.lock().insert(process, object)
    }

    /// Handles that the calling process has open.
    pub(super) fn open_handles(&self, environment: &Environment) -> usize {
        self.lock().processes[process_of(environment)].handles.len()
    }

    /// Lines that were written to the log.
    pub(super) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// How often a system call was made, by all processes together.
    pub(super) fn count(&self, call: Syscall) -> u64 {
        self.lock().calls.get(&(call as u64)).copied().unwrap_or(0)
    }

    /// Calls the calling process's endpoint with any badge; the answer goes to a page that nobody reads.
    pub(super) fn call_with_badge(&self, environment: &Environment, badge: u64, request: Request) -> usize {
        let process = process_of(environment);
        let page = new_page();
        let mut state = self.lock();
        let caller = state.begin(process, page, 0);
        let facet = Arc::new(Facet { process, badge });
        state.processes[process].queue.push_back((facet, request, caller));
        page
    }

    /// Sends the release of any badge to the calling process.
    pub(super) fn release_badge(&self, environment: &Environment, badge: u64) {
        self.lock().processes[process_of(environment)].released.push_back(badge);
    }

    /// The facet behind a handle of the calling process.
    pub(super) fn badge(&self, environment: &Environment, handle: u32) -> Option<u64> {
        match self.lock().processes[process_of(environment)].handles.get(&handle) {
            Some(Object::Facet(facet)) => Some(facet.badge),
            _ => None,
        }
    }
}

/// One more handle of the calling process for what `handle` names.
pub(super) fn duplicate(handle: u32) -> u32 {
    host::duplicate(handle)
}

/// Status of the answer in a page, once it is there.
pub(super) fn answer_in(page: usize) -> Option<Status> {
    // SAFETY: pages of this kernel are leaked.
    let buffer = unsafe { &*(page as *const MessageBuffer) };
    (buffer.state == CallState::Done as u32).then(|| Status::from_raw(u64::from(buffer.status)))
}

fn join<T>(result: Result<T, Box<dyn Any + Send>>) -> T {
    result.unwrap_or_else(|cause| panic::resume_unwind(cause))
}

fn process_of(environment: &Environment) -> usize {
    environment.name().strip_prefix("process-").unwrap().parse().unwrap()
}

fn start_info(name: &str, grants: &[(&str, u32)]) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut info: start_info::Builder<'_> = message.init_root();
    info.set_process(name);
    let mut list = info.reborrow().init_arguments(1);
    list.reborrow().get(0).set_name("key");
    list.get(0).set_value("value");
    let mut list = info.init_grants(grants.len() as u32 + 1);
    for (index, (name, handle)) in grants.iter().enumerate() {
        let mut grant = list.reborrow().get(index as u32);
        grant.set_name(name);
        grant.set_handle(*handle);
    }
    list.get(grants.len() as u32).set_name("absent");
    message.get_segments_for_output()[0].to_vec()
}

fn new_page() -> usize {
    // SAFETY: all fields of a buffer are numbers, for which zero is a value.
    let page: Box<MessageBuffer> = unsafe { Box::new_zeroed().assume_init() };
    (&raw mut *Box::leak(page)).expose_provenance()
}

fn page(address: usize) -> &'static mut MessageBuffer {
    // SAFETY: pages of this kernel are leaked. Its lock is held, and the process whose page it is waits or, as with real
    // memory, looks only at the state.
    unsafe { &mut *std::ptr::with_exposed_provenance_mut(address) }
}

impl State {
    fn insert(&mut self, process: usize, object: Object) -> u32 {
        let process = &mut self.processes[process];
        let handle = process.next_handle;
        process.next_handle += 1;
        process.handles.insert(handle, object);
        handle
    }

    fn object(&self, process: usize, handle: u32) -> Option<Object> {
        self.processes[process].handles.get(&handle).cloned()
    }

    /// Drops one reference to an object that no table holds any more.
    fn drop_object(&mut self, object: Object) {
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

    fn begin(&mut self, process: usize, page: usize, bits: u64) -> Caller {
        let sequence = self.sequences.entry(page).or_default();
        *sequence += 1;
        Caller { process, page, bits, sequence: *sequence }
    }

    fn take_message(&self, process: usize, address: usize, interface: u64, info: MessageInfo) -> Request {
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
    fn answer(&mut self, caller: Caller, answer: Answer) {
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
    fn call(&mut self, caller: Caller, target: u32, request: Request) {
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
    fn event(&mut self, process: usize) -> Option<EventRegisters> {
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

    fn reply(&mut self, process: usize, reply: u32, status: Status, info: MessageInfo) {
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

impl View {
    fn submit(&self, state: &mut State, first: u64, interface: u64, info: u64) {
        let (call, target) = (first as u32, (first >> 32) as u32);
        let Some(Object::Call { page, bits }) = state.object(self.process, call) else {
            panic!("the runtime submitted what is no Call: {call}");
        };
        let caller = state.begin(self.process, page, bits);
        let request = state.take_message(self.process, page, interface, MessageInfo(info));
        state.call(caller, target, request);
    }

    /// Waits until `ready` finds something; `None` when the deadline came.
    fn wait<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        deadline: u64,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        loop {
            if let Some(found) = ready(&mut state) {
                state.processes[self.process].deadline = None;
                return Some(found);
            }
            if deadline <= state.time {
                state.processes[self.process].deadline = None;
                return None;
            }
            if state.shutdown {
                drop(state);
                if thread::panicking() {
                    return None;
                }
                panic::resume_unwind(Box::new(Shutdown));
            }
            state.processes[self.process].deadline = Some(deadline);
            let busy = |process: &Process| {
                !process.ended
                    && (process.deadline.is_none_or(|deadline| deadline <= state.time)
                        || process.bits != 0
                        || !process.released.is_empty()
                        || !process.queue.is_empty())
            };
            if state.started && !state.processes.iter().any(busy) {
                let next = state
                    .processes
                    .iter()
                    .filter(|process| !process.ended)
                    .filter_map(|process| process.deadline)
                    .min();
                match next {
                    Some(next) if next != NO_DEADLINE => state.time = next,
                    _ => {
                        state.shutdown = true;
                        self.kernel.changed.notify_all();
                        drop(state);
                        panic!("all processes wait for ever");
                    }
                }
                self.kernel.changed.notify_all();
                continue;
            }
            state = self.kernel.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

impl host::Kernel for View {
    fn simple(&self, number: Syscall, arguments: [u64; 4]) -> (u64, u64) {
        let [rdi, rsi, rdx, r8] = arguments;
        let mut state = self.kernel.lock();
        *state.calls.entry(number as u64).or_default() += 1;
        let process = self.process;
        let mut result = (Status::Ok as u64, 0);
        match number {
            Syscall::Close => {
                if rdi != 0 {
                    let object = state.processes[process].handles.remove(&(rdi as u32));
                    let object = object.unwrap_or_else(|| panic!("handle {rdi} was closed twice"));
                    state.drop_object(object);
                }
            }
            Syscall::Call => {
                let address = state.processes[process].page;
                let caller = state.begin(process, address, 0);
                let request = state.take_message(process, address, rsi, MessageInfo(rdx));
                page(address).state = CallState::InFlight as u32;
                state.call(caller, rdi as u32, request);
                self.kernel.changed.notify_all();
                self.wait(state, NO_DEADLINE, |_| {
                    (page(address).state == CallState::Done as u32).then_some(())
                });
                return (u64::from(page(address).status), page(address).info);
            }
            Syscall::Reply => state.reply(process, rdi as u32, Status::from_raw(rsi), MessageInfo(rdx)),
            Syscall::Submit => self.submit(&mut state, rdi, rsi, rdx),
            Syscall::Cancel => {
                let Some(Object::Call { page: address, .. }) = state.object(process, rdi as u32) else {
                    panic!("the runtime cancelled what is no Call");
                };
                if page(address).state == CallState::InFlight as u32 {
                    *state.sequences.entry(address).or_default() += 1;
                    page(address).state = CallState::Idle as u32;
                }
            }
            Syscall::Signal => match state.object(process, rdi as u32) {
                Some(Object::Signaller { process, bits }) => state.processes[process].bits |= bits,
                _ => result.0 = Status::Failed as u64,
            },
            Syscall::PortRead => match state.object(process, rdi as u32) {
                Some(Object::Ports) => result.1 = rsi & 0xffff,
                _ => result.0 = Status::Failed as u64,
            },
            Syscall::PortWrite => match state.object(process, rdi as u32) {
                Some(Object::Ports) => state.log.push(format!("port {rsi:#x} = {rdx:#x}")),
                _ => result.0 = Status::Failed as u64,
            },
            Syscall::Yield => {}
            Syscall::Exit => panic!("exit with {rdi}"),
            Syscall::ReplyReceive | Syscall::SubmitReceive => unreachable!("these return events, {r8}"),
        }
        drop(state);
        self.kernel.changed.notify_all();
        result
    }

    fn event(&self, number: Syscall, arguments: [u64; 5]) -> EventRegisters {
        let [rdi, rsi, rdx, _endpoint, deadline] = arguments;
        let mut state = self.kernel.lock();
        *state.calls.entry(number as u64).or_default() += 1;
        match number {
            Syscall::SubmitReceive => self.submit(&mut state, rdi, rsi, rdx),
            _ => state.reply(self.process, rdi as u32, Status::from_raw(rsi), MessageInfo(rdx)),
        }
        self.kernel.changed.notify_all();
        let process = self.process;
        self.wait(state, deadline, |state| state.event(process))
            .unwrap_or(EventRegisters { rax: Event::Timeout as u64, ..EventRegisters::default() })
    }

    fn new_page(&self) -> u64 {
        new_page() as u64
    }

    fn nanoseconds(&self) -> u64 {
        self.kernel.lock().time
    }

    fn duplicate(&self, handle: u32) -> u32 {
        let mut state = self.kernel.lock();
        let object = state.object(self.process, handle).unwrap();
        state.insert(self.process, object)
    }
}
