//! What the kernel keeps of a process that ended.

use super::{
    Bench, Verdict,
    child::{CODE, COUNT, Child, DATA, PATIENCE, STACK_TOP, WHILE},
    fails, same, text,
};
use abi::{MessageInfo, Syscall};
use alloc::{format, string::String, vec::Vec};
use capnp::{Error, ErrorKind, traits::HasTypeId};
use schema::{
    process_capnp::{CallKind, call_evidence},
    supervisor_capnp::{crash_evidence, supervisor_control, supervisor_status},
    system_capnp::ObjectKind,
    test_capnp::echo,
    time_capnp::timer,
};

/// Interface of `test-echo`, and its methods' ordinals in the schema.
const ECHO: u64 = echo::Client::TYPE_ID;
const VALUE: u16 = 0;
const NEVER: u16 = 2;
const OBJECTS: u16 = 7;
/// Of `Timer`, which the kernel serves.
const DISARM: u16 = 1;

/// `mov edi, imm32` with a handle, `mov rsi, imm64` with an interface, `mov edx, imm32` with the counts of an empty struct,
/// `mov eax, imm32` with the number of the system call that calls, `syscall`.
fn call(handle: u32, interface: u64, method: u16) -> Vec<u8> {
    let info = MessageInfo::new(method, 1, 0).0 as u32;
    let mut code = Vec::new();
    code.push(0xbf);
    code.extend(handle.to_le_bytes());
    code.extend([0x48, 0xbe]);
    code.extend(interface.to_le_bytes());
    code.push(0xba);
    code.extend(info.to_le_bytes());
    code.extend([0xb8, Syscall::Call as u8, 0, 0, 0, 0x0f, 0x05]);
    code
}

/// `mov eax, imm32` with the number of the system call that exits, `mov edi, imm32` with the code, `xor esi, esi; syscall`.
const fn exit(code: u8) -> [u8; 14] {
    [0xb8, Syscall::Exit as u8, 0, 0, 0, 0xbf, code, 0, 0, 0, 0x31, 0xf6, 0x0f, 0x05]
}

/// Where rdi and rsp are among the registers.
const RDI: u32 = 5;
const RSP: u32 = 7;

/// The first thread of the evidence: its instruction, rdi, rsp, stack and whether it was in a system call.
struct Seen {
    instruction: u64,
    rdi: u64,
    rsp: u64,
    stack: Vec<u8>,
    in_system_call: bool,
    threads: u16,
}

async fn seen(child: &Child) -> Result<Seen, String> {
    let answer = child.process.evidence_request().send().promise.await.map_err(text)?;
    let answer = answer.get().map_err(text)?;
    let thread = answer.get_thread().map_err(text)?;
    let registers = thread.get_registers().map_err(text)?;
    same(registers.len(), 16)?;
    Ok(Seen {
        instruction: thread.get_instruction(),
        rdi: registers.get(RDI),
        rsp: registers.get(RSP),
        stack: thread.get_stack().map_err(text)?.to_vec(),
        in_system_call: thread.get_in_system_call(),
        threads: answer.get_threads(),
    })
}

/// The registers at the instruction that faulted, and the stack up to the end of its mapping.
pub async fn fault_leaves_registers_and_stack(bench: &Bench) -> Verdict {
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    let stack: Vec<u8> = (1..=64).collect();
    child.write(STACK_TOP, &stack).await.map_err(text)?;
    fails(child.process.evidence_request().send().promise.await, ErrorKind::Failed, "no evidence")?;
    child.start_at(CODE - 0x1000, 0).await.map_err(text)?;
    child.reaped().await?;
    let seen = seen(&child).await?;
    same((seen.instruction, seen.rdi, seen.rsp), (CODE, CODE - 0x1000, STACK_TOP))?;
    same((seen.in_system_call, seen.threads), (false, 1))?;
    same(seen.stack, stack)?;
    let mut request = child.process.evidence_request();
    request.get().set_thread(1);
    fails(request.send().promise.await, ErrorKind::Failed, "no evidence")
}

/// Where a thread was that was killed, running or paused.
pub async fn kill_leaves_registers(bench: &Bench) -> Verdict {
    for paused in [false, true] {
        let child = Child::new(bench, COUNT).await.map_err(text)?;
        child.start(0).await.map_err(text)?;
        child.counts_past(0).await?;
        if paused {
            child.pause().await?;
        }
        child.kill().await?;
        let seen = seen(&child).await?;
        same((seen.rdi, seen.in_system_call), (DATA, false))?;
        if !(CODE..CODE + COUNT.len() as u64).contains(&seen.instruction) {
            return Err(format!("it was at {:#x}", seen.instruction));
        }
    }
    Ok(())
}

/// An exit with a code is a crash; one with 0 is none.
pub async fn exit_leaves_what_it_means(bench: &Bench) -> Verdict {
    let child = Child::new(bench, &exit(3)).await.map_err(text)?;
    child.start(0).await.map_err(text)?;
    child.reaped().await?;
    let seen = seen(&child).await?;
    same((seen.instruction, seen.in_system_call), (CODE + 14, true))?;
    let child = Child::new(bench, &exit(0)).await.map_err(text)?;
    child.start(0).await.map_err(text)?;
    child.reaped().await?;
    fails(child.process.evidence_request().send().promise.await, ErrorKind::Failed, "no evidence")?;
    let answer = child.process.holdings_request().send().promise.await.map_err(text)?;
    same(answer.get().map_err(text)?.get_kinds().map_err(text)?.len(), 0)
}

/// What was in the handle table, after it has been emptied.
pub async fn holdings_are_kept(bench: &Bench) -> Verdict {
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    let handle = child.process.grant_own_process_request().send().promise.await.map_err(text)?;
    let handle = handle.get().map_err(text)?.get_handle();
    child.start(0).await.map_err(text)?;
    child.kill().await?;
    let answer = child.process.holdings_request().send().promise.await.map_err(text)?;
    let answer = answer.get().map_err(text)?;
    let kinds = answer.get_kinds().map_err(text)?;
    same(kinds.iter().map(u32::from).sum::<u32>(), 1)?;
    same(kinds.get(ObjectKind::OwnProcess as u32), 1)?;
    let handles = answer.get_handles().map_err(text)?;
    same(handles.len(), 1)?;
    same(handles.get(0).get_handle(), handle)?;
    same(handles.get(0).get_kind().ok(), Some(ObjectKind::OwnProcess))
}

/// A call of the evidence: made or received, the process at the other side, interface and method.
type SeenCall = (CallKind, u32, u64, u16);

fn seen_call(call: call_evidence::Reader<'_>) -> Result<SeenCall, String> {
    let kind = call.get_kind().map_err(|error| format!("{error}"))?;
    Ok((kind, call.get_process(), call.get_interface(), call.get_method()))
}

/// The call that a thread waits in, and that its server received at once.
pub async fn own_call_is_kept(bench: &Bench) -> Verdict {
    let echo: echo::Client = bench.environment.reacquire("echo").await.map_err(text)?;
    // A handle is known before the code that names it can be written: the table of another child would number alike.
    let handle = Child::new(bench, COUNT).await.map_err(text)?.grant(&echo).await.map_err(text)?;
    let child = Child::new(bench, &call(handle, ECHO, NEVER)).await.map_err(text)?;
    same(child.grant(&echo).await.map_err(text)?, handle)?;
    let before = waiting(&echo).await.map_err(text)?;
    child.start(0).await.map_err(text)?;
    let end = rt::now() + PATIENCE;
    while waiting(&echo).await.map_err(text)? == before {
        if rt::now() > end {
            return Err("the call does not arrive".into());
        }
        rt::sleep(WHILE).await;
    }
    child.kill().await?;
    let answer = child.process.holdings_request().send().promise.await.map_err(text)?;
    let calls = answer.get().map_err(text)?.get_calls().map_err(text)?;
    same(calls.len(), 1)?;
    same(seen_call(calls.get(0))?, (CallKind::Made, 0, ECHO, NEVER))?;
    let answer = child.process.evidence_request().send().promise.await.map_err(text)?;
    let thread = answer.get().map_err(text)?.get_thread().map_err(text)?;
    same(thread.get_received_interface(), 0)?;
    same((thread.get_made_interface(), thread.get_made_method()), (ECHO, NEVER))
}

/// The call that a thread made last is known when it has been answered, too, by a process or by the kernel.
pub async fn last_made_call_is_kept(bench: &Bench) -> Verdict {
    let echo: echo::Client = bench.environment.reacquire("echo").await.map_err(text)?;
    let timer = bench.own.timer_request().send().promise.await.map_err(text)?;
    let timer = timer.get().map_err(text)?.get_timer().map_err(text)?;
    let table = Child::new(bench, COUNT).await.map_err(text)?;
    let handles = [table.grant(&echo).await.map_err(text)?, table.grant(&timer).await.map_err(text)?];
    let calls = [(ECHO, OBJECTS), (timer::Client::TYPE_ID, DISARM)];
    for (handle, (interface, method)) in handles.into_iter().zip(calls) {
        let code = [call(handle, interface, method), exit(3).to_vec()].concat();
        let child = Child::new(bench, &code).await.map_err(text)?;
        child.grant(&echo).await.map_err(text)?;
        child.grant(&timer).await.map_err(text)?;
        child.start(0).await.map_err(text)?;
        child.reaped().await?;
        let answer = child.process.evidence_request().send().promise.await.map_err(text)?;
        let thread = answer.get().map_err(text)?.get_thread().map_err(text)?;
        same((thread.get_made_interface(), thread.get_made_method()), (interface, method))?;
        let answer = child.process.holdings_request().send().promise.await.map_err(text)?;
        same(answer.get().map_err(text)?.get_calls().map_err(text)?.len(), 0)?;
    }
    Ok(())
}

/// Calls of `never` that wait in the server.
async fn waiting(echo: &echo::Client) -> Result<u32, Error> {
    Ok(echo.objects_request().send().promise.await?.get()?.get_waiting())
}

/// What a server had received at once: the call that it was not done with, and the last one, answered or not.
pub async fn received_calls_are_kept(bench: &Bench) -> Verdict {
    let own = bench.own.usage_request().send().promise.await.map_err(text)?;
    let own = own.get().map_err(text)?.get_id();
    for answered in [false, true] {
        let echo: echo::Client = bench.environment.reacquire("echo").await.map_err(text)?;
        echo.echo_request().send().promise.await.map_err(text)?;
        let never = echo.never_request().send().promise;
        // By then the server, which waited for calls, has it.
        rt::sleep(WHILE).await;
        let mut last = NEVER;
        if answered {
            echo.echo_request().send().promise.await.map_err(text)?;
            last = VALUE;
        }
        let crash = killed(bench).await?;
        fails(never.await, ErrorKind::Disconnected, "")?;
        let evidence: crash_evidence::Client = bench.environment.grant("evidence").map_err(text)?;
        let mut request = evidence.holdings_request();
        request.get().set_crash(crash);
        let answer = request.send().promise.await.map_err(text)?;
        let calls = answer.get().map_err(text)?.get_calls().map_err(text)?;
        let calls = calls.iter().map(seen_call).collect::<Result<Vec<_>, _>>()?;
        same(calls, [(CallKind::Received, own, ECHO, NEVER)].to_vec())?;
        let mut request = evidence.thread_request();
        request.get().set_crash(crash);
        let answer = request.send().promise.await.map_err(text)?;
        let thread = answer.get().map_err(text)?.get_thread().map_err(text)?;
        let received = (thread.get_received_interface(), thread.get_received_method());
        same((received, thread.get_received_answered()), ((ECHO, last), answered))?;
    }
    Ok(())
}

/// Kills `test-echo`; the number of its crash.
async fn killed(bench: &Bench) -> Result<u32, String> {
    let status: supervisor_status::Client = bench.environment.grant("status").map_err(text)?;
    let control: supervisor_control::Client = bench.environment.grant("control").map_err(text)?;
    let before = last_crash(&status).await.map_err(text)?;
    let mut request = control.kill_request();
    request.get().set_name("test-echo");
    request.send().promise.await.map_err(text)?;
    let end = rt::now() + PATIENCE;
    while rt::now() < end {
        let last = last_crash(&status).await.map_err(text)?;
        if last != before {
            return Ok(last);
        }
        rt::sleep(WHILE).await;
    }
    Err("its end is no crash".into())
}

/// The number of the newest crash, 0 when there was none.
async fn last_crash(status: &supervisor_status::Client) -> Result<u32, Error> {
    let (mut last, mut next) = (0, 0);
    loop {
        let mut request = status.crashes_request();
        request.get().set_start(next);
        let answer = request.send().promise.await?;
        let answer = answer.get()?;
        last = answer.get_crashes()?.iter().last().map_or(last, |crash| crash.get_number());
        next = answer.get_next();
        if next == 0 {
            return Ok(last);
        }
    }
}
