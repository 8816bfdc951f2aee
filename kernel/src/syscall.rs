//! System calls: what the entry code calls with the user's registers.

use crate::arch::context::Context;
use crate::arch::cpu::{self, Cpu};
use crate::object::Object;
use crate::object::process::Exit;
use crate::object::thread::Thread;
use crate::{ipc, scheduler};
use abi::{ExitScope, MessageInfo, NULL_HANDLE, Status, Syscall};
use schema::process_capnp::ExitCause;

const CLOSE: u64 = Syscall::Close as u64;
const CALL: u64 = Syscall::Call as u64;
const REPLY_RECEIVE: u64 = Syscall::ReplyReceive as u64;
const REPLY: u64 = Syscall::Reply as u64;
const SUBMIT: u64 = Syscall::Submit as u64;
const SUBMIT_RECEIVE: u64 = Syscall::SubmitReceive as u64;
const CANCEL: u64 = Syscall::Cancel as u64;
const SIGNAL: u64 = Syscall::Signal as u64;
const YIELD: u64 = Syscall::Yield as u64;
const EXIT: u64 = Syscall::Exit as u64;
const PORT_READ: u64 = Syscall::PortRead as u64;
const PORT_WRITE: u64 = Syscall::PortWrite as u64;
const SUBMIT_YIELD: u64 = Syscall::SubmitYield as u64;
const SIGNAL_RECEIVE: u64 = Syscall::SignalReceive as u64;

/// Handles one system call of the current thread; returns the context to go on with.
pub extern "C" fn dispatch(rdi: u64, rsi: u64, rdx: u64, number: u64, r8: u64, r9: u64) -> *mut Context {
    let cpu = cpu::current();
    match number {
        CALL => ipc::call(cpu, rdi as u32, rsi, MessageInfo(rdx)),
        REPLY_RECEIVE => ipc::reply_receive(cpu, rdi as u32, Status::from_raw(rsi), MessageInfo(rdx), r8, r9),
        SUBMIT_RECEIVE => ipc::submit_receive(cpu, rdi, rsi, MessageInfo(rdx), r8, r9),
        SIGNAL_RECEIVE => ipc::signal_receive(cpu, rdi as u32, rsi, r8, r9),
        SUBMIT_YIELD => ipc::submit_yield(cpu, rdi, rsi, MessageInfo(rdx)),
        _ => simple(cpu, number, rdi, rsi, rdx),
    }
}

/// System calls that end with a status at once.
#[inline(never)]
fn simple(cpu: &Cpu, number: u64, rdi: u64, rsi: u64, rdx: u64) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    let mut value = MessageInfo(0);
    let status = match number {
        CLOSE => close(thread, rdi as u32),
        REPLY => match ipc::reply(thread, rdi as u32, Status::from_raw(rsi), MessageInfo(rdx)) {
            Ok(woken) => {
                scheduler::look_again(cpu, thread);
                ready(woken)
            }
            Err(error) => error.status,
        },
        SUBMIT => {
            let (status, woken) = ipc::submit(cpu, thread, rdi, rsi, MessageInfo(rdx));
            ready(woken);
            status
        }
        CANCEL => ipc::cancel(thread, rdi as u32),
        SIGNAL => signal(thread, rdi as u32, rsi),
        YIELD => {
            // SAFETY: the thread runs here and is in the kernel.
            unsafe { thread.set_answer(Status::Ok, value) };
            return scheduler::yield_now(cpu);
        }
        EXIT => return exit(cpu, thread, rdi as i64, rsi),
        PORT_READ => match port(thread, rdi as u32, |ports| ports.read(rsi as u16, (rsi >> 16) as u8)) {
            Ok(read) => {
                value = MessageInfo(u64::from(read));
                Status::Ok
            }
            Err(status) => status,
        },
        PORT_WRITE => {
            let write = |ports: &crate::object::io_port::IoPort| {
                ports.write(rsi as u16, (rsi >> 16) as u8, rdx as u32)
            };
            port(thread, rdi as u32, write).err().unwrap_or(Status::Ok)
        }
        _ => Status::Unimplemented,
    };
    // SAFETY: as above.
    unsafe { thread.set_answer(status, value) };
    scheduler::leave(cpu)
}

fn ready(woken: Option<alloc::sync::Arc<Thread>>) -> Status {
    if let Some(thread) = woken {
        scheduler::make_ready(thread);
    }
    Status::Ok
}

fn close(thread: &Thread, handle: u32) -> Status {
    if handle == NULL_HANDLE {
        return Status::Ok;
    }
    let object = thread.process.handles.lock().remove(handle);
    match object {
        Some(object) => {
            object.close();
            Status::Ok
        }
        None => Status::Failed,
    }
}

fn signal(thread: &Thread, handle: u32, bits: u64) -> Status {
    let bell = ipc::Bell::find(&thread.process.handles.lock(), handle);
    let Some(bell) = bell else { return Status::Failed };
    if let Some(thread) = bell.ring(bits) {
        scheduler::make_ready_in(thread, scheduler::Turn::AtNextWait);
    }
    Status::Ok
}

fn port<R>(
    thread: &Thread,
    handle: u32,
    operation: impl FnOnce(&crate::object::io_port::IoPort) -> Result<R, crate::error::Error>,
) -> Result<R, Status> {
    let object = thread.process.handles.lock().get(handle).map(Object::borrow);
    match object {
        Some(Object::IoPort(ports)) => operation(&ports).map_err(|error| error.status),
        Some(_) | None => Err(Status::Failed),
    }
}

fn exit(cpu: &Cpu, thread: &Thread, code: i64, scope: u64) -> *mut Context {
    if scope == ExitScope::Process as u64 {
        let mut report = Exit::new(ExitCause::Exited, code);
        report.thread = thread.id;
        let process = thread.process.clone();
        process.end(report);
        scheduler::end_current(cpu);
        drop(process);
    } else {
        scheduler::end_current(cpu);
    }
    scheduler::run_next(cpu)
}
