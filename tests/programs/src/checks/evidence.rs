//! What the kernel keeps of a process that ended.

use super::{
    Bench, Verdict,
    child::{CODE, COUNT, Child, DATA, STACK_TOP},
    fails, same, text,
};
use abi::Syscall;
use alloc::{format, string::String, vec::Vec};
use capnp::ErrorKind;
use schema::system_capnp::ObjectKind;

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
