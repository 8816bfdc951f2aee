//! The machine: ports, registers, time, and the making of processes.

use super::{Bench, Verdict, fails, same, text};
use crate::compute::{self, Computing, Ringing};
use crate::raw;
use abi::{Event, Status};
use alloc::{format, vec, vec::Vec};
use capnp::{Error, ErrorKind};
use core::time::Duration;
use rt::{
    Ports,
    memory::{Mapping, Protection},
};
use schema::{
    device_capnp::io_port,
    process_capnp::{process, process_manager},
    system_capnp::{kernel_log, system_info},
    test_capnp::echo,
    time_capnp::clock,
};

/// Threads that compute at the same time, more than the machine has processors.
const THREADS: u64 = 5;

/// Rounds of each: long enough to be interrupted often.
const ROUNDS: u64 = 300_000;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ports behind the granted range, and accesses that reach over its end.
pub async fn ports_outside_range(bench: &Bench) -> Verdict {
    let ports = Ports::new(bench.environment.grant("ports").map_err(text)?);
    ports.read_u8(7).map_err(text)?;
    fails(ports.read_u8(8), ErrorKind::Failed, "")?;
    fails(ports.read_u16(7), ErrorKind::Failed, "")?;
    fails(ports.read_u32(5), ErrorKind::Failed, "")?;
    fails(ports.write_u8(u16::MAX, 0), ErrorKind::Failed, "")
}

/// How far the log was written is for who has the console's ports to say. Those themselves are not granted here: the kernel would not
/// write these checks' results there.
pub async fn no_console_cursor(bench: &Bench) -> Verdict {
    let ports: io_port::Client = bench.environment.grant("ports").map_err(text)?;
    fails(log_cursor(&ports).await, ErrorKind::Failed, "these ports are not the console's")?;
    fails(set_log_cursor(&ports, 0).await, ErrorKind::Failed, "these ports are not the console's")
}

async fn log_cursor(ports: &io_port::Client) -> Result<u64, Error> {
    Ok(ports.log_cursor_request().send().promise.await?.get()?.get_cursor())
}

async fn set_log_cursor(ports: &io_port::Client, cursor: u64) -> Result<(), Error> {
    let mut request = ports.log_written_request();
    request.get().set_cursor(cursor);
    request.send().promise.await.map(drop)
}

/// Who follows the log is signalled by every line that comes after, and only a few can follow.
pub async fn log_is_followed(bench: &Bench) -> Verdict {
    const FOLLOWERS: usize = 8;
    let log: kernel_log::Client = bench.environment.grant("kernel-log").map_err(text)?;
    let mut signals = Vec::new();
    for _ in 0..FOLLOWERS {
        let signal = rt::Signal::new().await.map_err(text)?;
        follow(&log, &signal).await.map_err(text)?;
        // The same again takes no room.
        follow(&log, &signal).await.map_err(text)?;
        signals.push(signal);
    }
    let one_more = rt::Signal::new().await.map_err(text)?;
    fails(follow(&log, &one_more).await, ErrorKind::Overloaded, "")?;
    for _ in 0..3 {
        log::info!("a line to follow");
        for signal in &signals {
            rt::timeout(PATIENCE, signal.wait()).await.map_err(|_| "it did not signal")?;
        }
    }
    // One that nobody holds makes room.
    signals.pop();
    follow(&log, &one_more).await.map_err(text)
}

async fn follow(log: &kernel_log::Client, signal: &rt::Signal) -> Result<(), Error> {
    let mut request = log.follow_request();
    request.get().set_signaller(signal.signaller());
    request.send().promise.await.map(drop)
}

/// Inventories come whole, in parts that fit, and end.
pub async fn inventories_end(bench: &Bench) -> Verdict {
    let system: system_info::Client = bench.environment.grant("system-info").map_err(text)?;
    let mut request = system.acpi_tables_request();
    request.get().set_start(u32::MAX);
    let answer = request.send().promise.await.map_err(text)?;
    let answer = answer.get().map_err(text)?;
    same((answer.get_tables().map_err(text)?.len(), answer.get_next()), (0, 0))?;
    let tables = system.acpi_tables_request().send().promise.await.map_err(text)?;
    let tables = tables.get().and_then(|answer| answer.get_tables()).map_err(text)?;
    let mut signatures =
        tables.iter().map(|table| table.get_signature().and_then(|name| Ok(name.to_string()?)));
    if !signatures.any(|name| name.is_ok_and(|name| name == "APIC")) {
        return Err("no MADT is shown".into());
    }
    for start in [0, 48, 239, 240, 255, 256, u32::MAX] {
        let mut request = system.interrupts_request();
        request.get().set_start(start);
        let answer = request.send().promise.await.map_err(text)?;
        let next = answer.get().map_err(text)?.get_next();
        if next != 0 && next <= start {
            return Err(format!("from {start} on it goes on with {next}"));
        }
    }
    let mut request = system.timers_request();
    request.get().set_start(u32::MAX);
    let answer = request.send().promise.await.map_err(text)?;
    same(answer.get().and_then(|answer| answer.get_timers()).map_err(text)?.len(), 0)?;
    let answer = system.timers_request().send().promise.await.map_err(text)?;
    let answer = answer.get().map_err(text)?;
    let processors = answer.get_timers().map_err(text)?.len();
    if processors == 0 || answer.get_counter_frequency() == 0 || answer.get_next() != 0 {
        return Err(format!("{processors} processors at {} Hz", answer.get_counter_frequency()));
    }
    Ok(())
}

/// Floating point registers of threads that interrupt each other, and calls between them.
pub async fn registers_survive_preemption(bench: &Bench) -> Verdict {
    let mut threads = Vec::new();
    for seed in 1..=THREADS {
        let memory = rt::memory::allocate(1).await.map_err(text)?;
        let stack = Mapping::new(&memory, 0, 1, Protection::ReadWrite).await.map_err(text)?;
        threads.push(Computing::start(&bench.own, stack, seed, ROUNDS).await.map_err(text)?);
    }
    let start = rt::now();
    let mut results = vec![None; threads.len()];
    while results.contains(&None) {
        if rt::now() - start > PATIENCE {
            return Err(format!("not done: {results:?}"));
        }
        echo(bench).await.map_err(text)?;
        rt::sleep(Duration::from_millis(5)).await;
        results = threads.iter().map(Computing::result).collect();
    }
    same(results, vec![Some(true); threads.len()])
}

async fn echo(bench: &Bench) -> Result<(), Error> {
    // The server was restarted by a check before this one.
    let echo: echo::Client = bench.environment.reacquire("echo").await?;
    echo.echo_request().send().promise.await.map(drop)
}

/// Rounding modes are a thread's own, whatever other processes do between.
pub async fn control_words_survive_calls(bench: &Bench) -> Verdict {
    let before = compute::set_rounding(compute::Rounding::Down);
    let result = echo(bench).await;
    rt::sleep(Duration::from_millis(20)).await;
    let during = compute::set_rounding(before);
    result.map_err(text)?;
    same(during, compute::Rounding::Down)?;
    same(before, compute::Rounding::Nearest)
}

/// Time goes on, the same for the kernel and for this process, and a sleep does not end early.
pub async fn sleep_is_long_enough(bench: &Bench) -> Verdict {
    let clock: clock::Client = bench.environment.grant("clock").map_err(text)?;
    for milliseconds in [1, 7, 30] {
        let wanted = Duration::from_millis(milliseconds);
        let start = rt::now();
        rt::sleep(wanted).await;
        let took = rt::now() - start;
        if took < wanted || took > wanted + Duration::from_secs(2) {
            return Err(format!("{wanted:?} took {took:?}"));
        }
    }
    let before = rt::now();
    let answer = clock.now_request().send().promise.await.map_err(text)?;
    let kernel = Duration::from_nanos(answer.get().map_err(text)?.get_nanoseconds());
    let after = rt::now();
    if before <= kernel && kernel <= after { Ok(()) } else { Err(format!("{before:?} {kernel:?} {after:?}")) }
}

/// A timer whose time has passed signals at once.
pub async fn past_deadline(bench: &Bench) -> Verdict {
    let answer = bench.own.timer_request().send().promise.await.map_err(text)?;
    let timer = answer.get().and_then(|answer| answer.get_timer()).map_err(text)?;
    let signal = rt::Signal::new().await.map_err(text)?;
    let mut request = timer.arm_request();
    request.get().set_deadline(1);
    request.get().set_signaller(signal.signaller());
    request.send().promise.await.map_err(text)?;
    rt::timeout(Duration::from_secs(2), signal.wait()).await.map_err(|_| "it did not signal".into())
}

/// A signal and the wait behind it in one system call. That another thread runs in the caller's place is what every packet does.
pub async fn signal_and_wait(bench: &Bench) -> Verdict {
    let own = rt::Signal::new().await.map_err(text)?;
    let bell = raw::handle(&own.signaller());
    // What it sets itself it finds, however long the wait may be.
    let (event, bits) = raw::signal_receive(bell, abi::NO_DEADLINE);
    same((event, bits.count_ones()), (Some(Event::Signals), 1))?;
    same(raw::signal_receive(bell, 0), (Some(Event::Signals), bits))?;
    same(raw::poll(0).0, Some(Event::Timeout))?;
    // What is no signaller ends the wait at once.
    for wrong in [0, 0xdead_beef, raw::handle(&bench.own)] {
        let refused = (Some(Event::Error), Status::Failed as u64);
        same(raw::signal_receive(wrong, abi::NO_DEADLINE), refused)?;
    }
    Ok(())
}

/// Who rings a doorbell of a more important thread goes on, but not for longer than a slice.
pub async fn doorbell_waits_its_turn(bench: &Bench) -> Verdict {
    let signal = rt::Signal::new().await.map_err(text)?;
    let memory = rt::memory::allocate(1).await.map_err(text)?;
    let stack = Mapping::new(&memory, 0, 1, Protection::ReadWrite).await.map_err(text)?;
    let bell = raw::handle(&signal.signaller());
    let ringing = Ringing::start(&bench.own, stack, bell).await.map_err(text)?;
    let mut request = ringing.thread.set_priority_request();
    request.get().set_priority(1);
    request.send().promise.await.map_err(text)?;
    ringing.begin();
    // It never waits: if it were not for the end of its slice, nothing would come to its end on one processor.
    signal.wait().await;
    let counted = ringing.count();
    ringing.end().await;
    let system: system_info::Client = bench.environment.grant("system-info").map_err(text)?;
    let answer = system.summary_request().send().promise.await.map_err(text)?;
    let alone = answer.get().map_err(text)?.get_processors() == 1;
    if alone && counted == 0 { Err("it did not go on after it rang".into()) } else { Ok(()) }
}

/// Names and quotas that no process can have.
pub async fn process_limits(bench: &Bench) -> Verdict {
    let long = "a-name-of-more-than-31-characters";
    for (name, handles, threads, priority) in [
        ("", 32, 1, 1),
        (long, 32, 1, 1),
        ("a b", 32, 1, 1),
        ("few", 15, 1, 1),
        ("many", 4097, 1, 1),
        ("none", 32, 0, 1),
        ("high", 32, 1, 32),
    ] {
        fails(create(bench, name, handles, threads, priority).await, ErrorKind::Failed, "")
            .map_err(|seen| format!("{name:?}: {seen}"))?;
    }
    Ok(())
}

/// Threads do not start in the kernel's half.
pub async fn start_outside_user_half(bench: &Bench) -> Verdict {
    let process = create(bench, "child", 16, 1, 1).await.map_err(text)?;
    for (entry, stack) in
        [(0xffff_ffff_8000_0000, 0x2000), (0x1000, 0xffff_ffff_8000_0000), (0x8000_0000_0000, 0x2000)]
    {
        let mut request = process.start_request();
        request.get().set_entry(entry);
        request.get().set_stack_top(stack);
        request.get().set_message_buffer(0x10_0000);
        fails(request.send().promise.await, ErrorKind::Failed, "entry or stack is outside the user half")?;
    }
    process.kill_request().send().promise.await.map(drop).map_err(text)
}

async fn create(
    bench: &Bench,
    name: &str,
    handles: u16,
    threads: u16,
    priority: u8,
) -> Result<process::Client, Error> {
    let manager: process_manager::Client = bench.environment.grant("process-manager")?;
    let mut request = manager.create_request();
    let mut fields = request.get();
    fields.set_name(name);
    fields.set_priority(priority);
    let mut quota = fields.init_quota();
    quota.set_frames(64);
    quota.set_handles(handles);
    quota.set_threads(threads);
    request.send().promise.await?.get()?.get_process()
}
