//! What the holder of a process can do to it: pause it, and look into its memory.

use super::{
    Bench, Verdict,
    child::{CODE, COUNT, Child, DATA, PAGE, PATIENCE, WHILE},
    fails, same, text,
};
use abi::Syscall;
use alloc::{format, vec::Vec};
use capnp::{Error, ErrorKind};
use core::time::Duration;
use schema::{memory_capnp::Protection, supervisor_capnp::supervisor_control, test_capnp::echo};

/// Waits until the deadline in rsi; then counts as [`COUNT`] does.
///
/// ```text
///   mov rbx, rdi; mov r9, rsi; xor edi, edi; xor esi, esi; xor edx, edx; xor r8d, r8d; mov eax, 2; syscall
///   inc qword ptr [rbx]; jmp back to it
/// ```
const SLEEP: &[u8] = &[
    0x48,
    0x89,
    0xfb,
    0x49,
    0x89,
    0xf1,
    0x31,
    0xff,
    0x31,
    0xf6,
    0x31,
    0xd2,
    0x45,
    0x31,
    0xc0,
    0xb8,
    Syscall::ReplyReceive as u8,
    0x00,
    0x00,
    0x00,
    0x0f,
    0x05,
    0x48,
    0xff,
    0x03,
    0xeb,
    0xfb,
];

/// A thread in an endless loop stops in it, and goes on where it was; again and again.
pub async fn running_thread_is_paused(bench: &Bench) -> Verdict {
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    child.start(0).await.map_err(text)?;
    let mut seen = child.counts_past(0).await?;
    for _ in 0..10 {
        child.pause().await?;
        let at = child.counter().await.map_err(text)?;
        rt::sleep(Duration::from_millis(5)).await;
        same(child.counter().await.map_err(text)?, at)?;
        if at < seen {
            return Err(format!("the counter went from {seen} back to {at}"));
        }
        child.resume().await?;
        seen = child.counts_past(at).await?;
    }
    child.kill().await
}

/// A thread that waits when its process is paused: its deadline passes, but it does not go on before it is resumed.
pub async fn sleeping_thread_is_paused(bench: &Bench) -> Verdict {
    let child = Child::new(bench, SLEEP).await.map_err(text)?;
    let deadline = rt::now() + WHILE;
    child.start(deadline.as_nanos() as u64).await.map_err(text)?;
    child.pause().await?;
    rt::sleep_until(deadline + WHILE).await;
    same(child.counter().await.map_err(text)?, 0)?;
    same(child.ready().await?, 1)?;
    child.resume().await?;
    child.counts_past(0).await?;
    child.kill().await
}

/// A call of a server that is paused is answered when it goes on; or fails when it is killed.
pub async fn paused_server_answers_later(bench: &Bench) -> Verdict {
    let control: supervisor_control::Client = bench.environment.grant("control").map_err(text)?;
    let server: echo::Client = bench.environment.reacquire("echo").await.map_err(text)?;
    for _ in 0..3 {
        let mut request = control.pause_request();
        request.get().set_name("test-echo");
        request.send().promise.await.map_err(text)?;
        let mut request = server.echo_request();
        request.get().set_value(7);
        let mut answer = core::pin::pin!(request.send().promise);
        if rt::timeout(WHILE, &mut answer).await.is_ok() {
            return Err("a paused server answers".into());
        }
        let mut request = control.resume_request();
        request.get().set_name("test-echo");
        request.send().promise.await.map_err(text)?;
        let answer = rt::timeout(PATIENCE, answer).await.map_err(|_| "it does not go on")?.map_err(text)?;
        same(answer.get().map_err(text)?.get_value(), 7)?;
    }
    Ok(())
}

/// Killing goes before pausing: of a process that runs, and of one that waits.
pub async fn paused_process_is_killed(bench: &Bench) -> Verdict {
    for (code, argument) in [(COUNT, 0), (SLEEP, u64::MAX), (SLEEP, 0)] {
        let child = Child::new(bench, code).await.map_err(text)?;
        child.start(argument).await.map_err(text)?;
        child.pause().await?;
        child.kill().await?;
        // It has ended: nothing of this has an effect.
        child.resume().await?;
        child.process.pause_request().send().promise.await.map_err(text)?;
        fails(child.read(DATA, 1).await, ErrorKind::Failed, "nothing is mapped there")?;
    }
    // One that is paused before it has a thread.
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    child.pause().await?;
    child.start(0).await.map_err(text)?;
    rt::sleep(WHILE).await;
    same(child.counter().await.map_err(text)?, 0)?;
    child.resume().await?;
    child.counts_past(0).await?;
    child.kill().await
}

/// Processes are taken apart while the timers of the processors that they waited on strike for nothing: such a processor
/// has the dead process's memory loaded and nothing to do, and is asked to forget it.
pub async fn sleeping_process_is_killed_at_its_deadline(bench: &Bench) -> Verdict {
    for early in 0..400 {
        let child = Child::new(bench, SLEEP).await.map_err(text)?;
        let deadline = rt::now() + Duration::from_micros(500);
        child.start(deadline.as_nanos() as u64).await.map_err(text)?;
        // This processor is to stay awake.
        while rt::now() + Duration::from_micros(early) < deadline {
            core::hint::spin_loop();
        }
        child.kill().await?;
    }
    Ok(())
}

/// What is written can be read, over the border of two pages and at the largest length.
pub async fn copies_into_another(bench: &Bench) -> Verdict {
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    let pattern: Vec<u8> = (0..4000_u32).map(|index| (index % 251) as u8).collect();
    child.write(DATA + 100, &pattern).await.map_err(text)?;
    same(child.read(DATA + 100, 4000).await.map_err(text)? == pattern, true)?;
    same(child.read(DATA + PAGE - 3, 6).await.map_err(text)?, pattern[3993..3999].to_vec())?;
    same(child.read(DATA + 4100, 1).await.map_err(text)?, [0].to_vec())?;
    same(child.read(CODE, 5).await.map_err(text)?, COUNT.to_vec())?;
    same(child.read(DATA, 0).await.map_err(text)?.len(), 0)?;
    child.kill().await
}

/// Nothing outside the mappings, nothing that the process itself could not write, nothing of the kernel's.
pub async fn copies_keep_to_the_mappings(bench: &Bench) -> Verdict {
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    let kernel = 0xffff_8000_0000_0000;
    for (address, length) in
        [(0, 1), (CODE - 1, 2), (DATA + 2 * PAGE - 1, 2), (kernel, 8), (u64::MAX, 1), (u64::MAX - 3, 8)]
    {
        let result = child.read(address, length).await;
        fails(result, ErrorKind::Failed, "nothing is mapped there")
            .map_err(|seen| format!("{address:#x}: {seen}"))?;
    }
    fails(child.read(DATA, 4001).await, ErrorKind::Failed, "at most 4000 bytes")?;
    fails(child.read(DATA, u32::MAX).await, ErrorKind::Failed, "at most 4000 bytes")?;
    fails(child.write(CODE, &[0xcc]).await, ErrorKind::Failed, "cannot write there")?;
    // All of it or none: the first page could be written.
    let end = DATA + 2 * PAGE;
    fails(child.write(end - 1, &[1, 2]).await, ErrorKind::Failed, "nothing is mapped there")?;
    same(child.read(end - 1, 1).await.map_err(text)?, [0].to_vec())?;
    child.kill().await
}

/// Every mapping, by address, with what may be done in it.
pub async fn mappings_are_listed(bench: &Bench) -> Verdict {
    let child = Child::new(bench, COUNT).await.map_err(text)?;
    let list = async |start: u64| -> Result<Vec<(u64, u32, bool)>, Error> {
        let mut request = child.space.mappings_request();
        request.get().set_start(start);
        let answer = request.send().promise.await?;
        let rows = answer.get()?.get_mappings()?;
        rows.iter()
            .map(|row| {
                let executable = row.get_protection()? == Protection::ReadExecute;
                Ok((row.get_address(), row.get_pages(), executable))
            })
            .collect()
    };
    same(list(0).await.map_err(text)?, alloc::vec![(CODE, 1, true), (DATA, 2, false)])?;
    same(list(CODE + 1).await.map_err(text)?, alloc::vec![(DATA, 2, false)])?;
    same(list(u64::MAX).await.map_err(text)?, Vec::new())?;
    child.kill().await
}
