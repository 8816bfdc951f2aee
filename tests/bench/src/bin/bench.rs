//! Measures and prints one line a figure: `UB <name> <instructions>`, then `UB-DONE`, and switches the machine off.
#![no_std]
#![no_main]

extern crate alloc;

use abi::{ClockPage, MessageInfo};
use bench::{raw, time_stamp};
use capnp::Error;
use capnp::capability::Client;
use process_loader::{Image, Launch, Program, Quota, package};
use rt::memory::Mapping;
use schema::memory_capnp::{Protection, memory_object};
use schema::process_capnp::process_manager;
use schema::system_capnp::power;
use schema::test_capnp::echo;
use schema::time_capnp::clock;

rt::program!(run);

/// Repetitions of what is short.
const MANY: u64 = 2000;
/// Process starts.
const FEW: u64 = 20;

/// Where the quick ways are warm.
const WARM_UP: u64 = 50;

/// Name of the process that is started and reaped.
const NULL_PROGRAM: &str = "bench-null";

fn report(name: &str, start: u64, count: u64) {
    log::info!("UB {name} {}", (time_stamp() - start) / count);
}

async fn run(environment: rt::Environment) -> Result<(), Error> {
    calibrate();
    null_system_call();
    // The argument "only" leaves the others out, for profiles.
    let wanted = |name| environment.argument("only").is_none_or(|only| only == name);
    if wanted("call_reply_8_bytes") {
        raw_call(&environment)?;
    }
    if wanted("typed_call") {
        typed_call(&environment).await?;
    }
    if wanted("process_start_reap") {
        process_start(&environment).await?;
    }
    log::info!("UB-DONE");
    let power: power::Client = environment.grant("power")?;
    power.halt_request().send().promise.await?;
    Ok(())
}

/// A loop of known length, which tells whether time stamps count instructions.
fn calibrate() {
    let start = time_stamp();
    let mut count = 0_u64;
    while core::hint::black_box(count) < 1_000_000 {
        count += 1;
    }
    log::info!("UB calibration_loop_of_one_million {}", time_stamp() - start);
}

fn null_system_call() {
    let start = time_stamp();
    for _ in 0..MANY {
        raw::close(abi::NULL_HANDLE);
    }
    report("null_system_call", start, MANY);
}

/// 8 bytes there and back between two address spaces, as the only parameter of a method.
fn raw_call(environment: &rt::Environment) -> Result<(), Error> {
    let server: Client = environment.grant("raw")?;
    let handle = server.hook.get_ptr() as u32;
    // A struct of one data word: its pointer and the word.
    let info = MessageInfo::new(0, 2, 0);
    for _ in 0..WARM_UP {
        raw::call(handle, 0, info);
    }
    let start = time_stamp();
    for _ in 0..MANY {
        let (status, answer) = raw::call(handle, 0, info);
        if status != 0 || answer.words() != 2 {
            return Err(Error::failed("the raw server answered wrongly".into()));
        }
    }
    report("call_reply_8_bytes", start, MANY);
    Ok(())
}

async fn typed_call(environment: &rt::Environment) -> Result<(), Error> {
    let client: echo::Client = environment.grant("echo")?;
    for value in 0..WARM_UP {
        echo_once(&client, value).await?;
    }
    let start = time_stamp();
    for value in 0..MANY {
        echo_once(&client, value).await?;
    }
    report("typed_call", start, MANY);
    Ok(())
}

async fn echo_once(client: &echo::Client, value: u64) -> Result<(), Error> {
    let mut request = client.echo_request();
    request.get().set_value(value);
    let response = request.send().promise.await?;
    if response.get()?.get_value() == value {
        Ok(())
    } else {
        Err(Error::failed("the echo server answered wrongly".into()))
    }
}

async fn process_start(environment: &rt::Environment) -> Result<(), Error> {
    let manager: process_manager::Client = environment.grant("process-manager")?;
    let memory: memory_object::Client = environment.grant("boot-package")?;
    let pages = memory.size_request().send().promise.await?.get()?.get_pages();
    let mapping = Mapping::new(&memory, 0, pages, Protection::Read).await?;
    let clock = clock_page(environment).await?;
    // SAFETY: init grants the boot package as a sealed object.
    let bytes = unsafe { bench::sealed_bytes(&mapping) };
    let binaries = package::binaries(bytes)?;
    let missing = || Error::failed("the boot package does not hold bench-null".into());
    let binary = binaries.iter().find(|binary| binary.name == NULL_PROGRAM).ok_or_else(missing)?;
    let content = bytes.get(binary.range.clone()).ok_or_else(missing)?;
    let image = Image::parse(content).map_err(|error| Error::failed(alloc::format!("{error:?}")))?;
    let launch = Launch {
        name: NULL_PROGRAM,
        program: Program { image: &image, bytes: content, package: &memory, first_page: binary.first_page() },
        quota: Quota { frames: 256, handles: 32, threads: 1, dma_pages: 0 },
        priority: 10,
        arguments: &[],
        grants: &[],
        clock,
    };
    let exited = rt::Signal::new().await?;
    start_and_reap(&manager, launch, &exited).await?;
    let start = time_stamp();
    for _ in 0..FEW {
        start_and_reap(&manager, launch, &exited).await?;
    }
    report("process_start_reap", start, FEW);
    Ok(())
}

async fn start_and_reap(
    manager: &process_manager::Client,
    launch: Launch<'_>,
    exited: &rt::Signal,
) -> Result<(), Error> {
    let process = process_loader::start(manager, launch)
        .await
        .map_err(|error| Error::failed(alloc::format!("{error}")))?;
    let mut request = process.on_exit_request();
    request.get().set_signaller(exited.signaller());
    request.send().promise.await?;
    exited.wait().await;
    let status = process.status_request().send().promise.await?;
    let report = status.get()?.get_report()?;
    if report.get_code() == 0 && status.get()?.get_reaped() {
        Ok(())
    } else {
        Err(Error::failed("the null process ended wrongly".into()))
    }
}

async fn clock_page(environment: &rt::Environment) -> Result<ClockPage, Error> {
    let clock: clock::Client = environment.grant("clock")?;
    let answer = clock.parameters_request().send().promise.await?;
    let parameters = answer.get()?;
    Ok(ClockPage {
        multiplier: parameters.get_multiplier(),
        shift: u64::from(parameters.get_shift()),
        base: parameters.get_base(),
    })
}
