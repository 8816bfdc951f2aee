//! The system calls of the test's kernel.
use std::{panic, sync::MutexGuard, thread};

use abi::{CallState, Event, MessageInfo, NO_DEADLINE, Status, Syscall};

use super::{
    Kernel, Object,
    state::{State, new_page, page},
};
use crate::{host, syscall::EventRegisters};

/// Ends a process that is no longer needed.
pub(super) struct Shutdown;

/// A kernel as one process sees it.
pub(super) struct View {
    pub(super) kernel: Kernel,
    pub(super) process: usize,
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
            if state.processes[self.process].deadline.replace(deadline).is_none() {
                // Who lets this process run first goes on when it waits.
                self.kernel.changed.notify_all();
            }
            if state.started && state.processes.iter().all(|process| process.is_idle(state.time)) {
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
            Syscall::SubmitYield => {
                let Some(Object::Call { page: address, .. }) = state.object(process, rdi as u32) else {
                    panic!("the runtime submitted what is no Call");
                };
                // Who works, or itself lets others run first, does not receive the call now.
                let receiver = match state.object(process, (rdi >> 32) as u32) {
                    Some(Object::Facet(facet)) => {
                        Some(facet.process).filter(|receiver| state.processes[*receiver].deadline.is_some())
                    }
                    _ => None,
                };
                self.submit(&mut state, rdi, rsi, rdx);
                self.kernel.changed.notify_all();
                // This process stays ready to run, so time does not go on meanwhile.
                let goes_on = |state: &State| {
                    page(address).state == CallState::Done as u32
                        || state.shutdown
                        || receiver.is_none_or(|receiver| state.processes[receiver].is_idle(state.time))
                };
                while !goes_on(&state) {
                    state = self.kernel.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
                return result;
            }
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
            Syscall::ReplyReceive | Syscall::SubmitReceive | Syscall::SignalReceive => {
                unreachable!("these return events, {r8}")
            }
        }
        drop(state);
        self.kernel.changed.notify_all();
        result
    }

    fn event(&self, number: Syscall, arguments: [u64; 5]) -> EventRegisters {
        let [rdi, rsi, rdx, endpoint_and_acknowledged, deadline] = arguments;
        let mut state = self.kernel.lock();
        state.processes[self.process].bits &= !(endpoint_and_acknowledged >> 32);
        *state.calls.entry(number as u64).or_default() += 1;
        match number {
            Syscall::SubmitReceive => self.submit(&mut state, rdi, rsi, rdx),
            Syscall::SignalReceive => match state.object(self.process, rdi as u32) {
                Some(Object::Signaller { process, bits }) => state.processes[process].bits |= bits,
                _ => panic!("the runtime held back a signal of what is no signaller"),
            },
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
