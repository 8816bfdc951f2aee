//! A kernel for tests: processes are threads, time stands still unless all of them wait.
//!
//! It keeps to `abi` and to the interfaces of the kernel objects that the runtime uses. When every process waits
//! and none has a deadline, the test is stuck and fails; when the test's main process has ended, the others
//! end by a panic that is caught.
mod state;
mod system_calls;

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use abi::{CallState, MessageBuffer, Status, Syscall};
use capnp::message::Builder;
use schema::supervisor_capnp::start_info;

use self::{
    state::{Process, State, new_page},
    system_calls::{Shutdown, View},
};
use crate::{Environment, executor, host, runtime::runtime};

/// What a handle names.
#[derive(Clone)]
pub(in crate::tests) enum Object {
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
pub(in crate::tests) type Script = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

pub(in crate::tests) struct Facet {
    process: usize,
    badge: u64,
}

/// Who waits for the answer of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tests) struct Caller {
    process: usize,
    page: usize,
    /// Bits to signal; 0 for a thread that waits in the system call.
    bits: u64,
    /// Which use of the page this is.
    sequence: u64,
}

/// A message on its way to an object.
pub(in crate::tests) struct Request {
    pub interface: u64,
    pub method: u16,
    pub words: Vec<u64>,
    pub objects: Vec<Object>,
}

/// What is answered to a call, right or wrong.
pub(in crate::tests) struct Answer {
    pub status: Status,
    pub words: Vec<u64>,
    pub objects: Vec<Object>,
}

impl Answer {
    pub(in crate::tests) fn ok(words: Vec<u64>, objects: Vec<Object>) -> Self {
        Self { status: Status::Ok, words, objects }
    }

    pub(in crate::tests) fn error(status: Status, reason: &str) -> Self {
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

/// The kernel.
#[derive(Clone, Default)]
pub(in crate::tests) struct Kernel {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

impl Kernel {
    /// Runs `main` as a process of its own, to the end of the test.
    pub(in crate::tests) fn start<F: Future<Output = ()> + 'static>(
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
    pub(in crate::tests) fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
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
    pub(in crate::tests) fn insert(&self, environment: &Environment, object: Object) -> u32 {
        let process = process_of(environment);
        self.lock().insert(process, object)
    }

    /// Handles that the calling process has open.
    pub(in crate::tests) fn open_handles(&self, environment: &Environment) -> usize {
        self.lock().processes[process_of(environment)].handles.len()
    }

    /// Lines that were written to the log.
    pub(in crate::tests) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// How often a system call was made, by all processes together.
    pub(in crate::tests) fn count(&self, call: Syscall) -> u64 {
        self.lock().calls.get(&(call as u64)).copied().unwrap_or(0)
    }

    /// Calls the calling process's endpoint with any badge; the answer goes to a page that nobody reads.
    pub(in crate::tests) fn call_with_badge(
        &self,
        environment: &Environment,
        badge: u64,
        request: Request,
    ) -> usize {
        let process = process_of(environment);
        let page = new_page();
        let mut state = self.lock();
        let caller = state.begin(process, page, 0);
        let facet = Arc::new(Facet { process, badge });
        state.processes[process].queue.push_back((facet, request, caller));
        page
    }

    /// Sends the release of any badge to the calling process.
    pub(in crate::tests) fn release_badge(&self, environment: &Environment, badge: u64) {
        self.lock().processes[process_of(environment)].released.push_back(badge);
    }

    /// The facet behind a handle of the calling process.
    pub(in crate::tests) fn badge(&self, environment: &Environment, handle: u32) -> Option<u64> {
        match self.lock().processes[process_of(environment)].handles.get(&handle) {
            Some(Object::Facet(facet)) => Some(facet.badge),
            _ => None,
        }
    }
}

/// One more handle of the calling process for what `handle` names.
pub(in crate::tests) fn duplicate(handle: u32) -> u32 {
    host::duplicate(handle)
}

/// Status of the answer in a page, once it is there.
pub(in crate::tests) fn answer_in(page: usize) -> Option<Status> {
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
