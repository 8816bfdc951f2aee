//! From a checked image to a running process.

use crate::{
    image::{Content, Image},
    layout::{Layout, STACK_PAGES},
    start_info::StartInfo,
};
use abi::{ClockPage, PAGE_SIZE};
use alloc::{string::String, vec::Vec};
use capnp::capability::{Client, FromClientHook};
use core::fmt;
use rt::memory::Mapping;
use schema::{
    memory_capnp::{Protection, address_space, memory_object},
    process_capnp::{process, process_manager},
};

/// A binary of the boot package.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    /// What [`Image::parse`] made of `bytes`.
    pub image: &'a Image,
    /// The binary.
    pub bytes: &'a [u8],
    /// The boot package, sealed.
    pub package: &'a memory_object::Client,
    /// Page of the package in which the binary starts.
    pub first_page: u32,
}

/// Everything that a new process is given.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// Name of the process.
    pub name: &'a str,
    /// What it runs.
    pub program: Program<'a>,
    /// The most that it may have: frames, handles, threads, DMA pages.
    pub quota: Quota,
    /// Its priority.
    pub priority: u8,
    /// Names and values of what it is told.
    pub arguments: &'a [(&'a str, &'a str)],
    /// Names and capabilities that it is granted; `None` tells it that an optional one is not there.
    pub grants: &'a [(&'a str, Option<Client>)],
    /// How it tells the time.
    pub clock: ClockPage,
}

/// The most that a process may have (`Quota` of schema/process.capnp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Memory, in frames of 4 KiB.
    pub frames: u32,
    /// Entries of its handle table.
    pub handles: u16,
    /// Threads.
    pub threads: u16,
    /// Pinned device memory, in pages of 4 KiB.
    pub dma_pages: u32,
}

/// Why a process could not be started. Nothing of it is left.
#[derive(Clone, Debug)]
pub enum StartError {
    /// The user half has no room behind the image.
    NoRoom,
    /// The kernel refused a step.
    Refused {
        /// The step, as in "cannot ...".
        step: &'static str,
        /// Its answer.
        error: capnp::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => formatter.write_str("no room for a stack behind the image"),
            Self::Refused { step, error } => write!(formatter, "cannot {step}: {}", reason(error)),
        }
    }
}

/// An error's own words, or its kind when it has none.
fn reason(error: &capnp::Error) -> String {
    if error.extra.is_empty() { alloc::format!("{:?}", error.kind) } else { error.extra.clone() }
}

/// Names the step in which a call failed.
trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, StartError>;
}

impl<T> Step<T> for Result<T, capnp::Error> {
    fn step(self, step: &'static str) -> Result<T, StartError> {
        self.map_err(|error| StartError::Refused { step, error })
    }
}

/// Starts a process.
///
/// # Errors
/// When the kernel refuses a step: the process is killed then.
pub async fn start(
    manager: &process_manager::Client,
    launch: Launch<'_>,
) -> Result<process::Client, StartError> {
    let process = create(manager, &launch).await.step("create the process")?;
    match build(&process, &launch).await {
        Ok(()) => Ok(process),
        Err(error) => {
            // It has no thread yet: what it holds is freed at once. There is nobody to tell of a second error.
            let _ = process.kill_request().send().promise.await;
            Err(error)
        }
    }
}

async fn create(manager: &process_manager::Client, launch: &Launch<'_>) -> capnp::Result<process::Client> {
    let mut request = manager.create_request();
    let mut parameters = request.get();
    parameters.set_name(launch.name);
    parameters.set_priority(launch.priority);
    let mut quota = parameters.init_quota();
    quota.set_frames(launch.quota.frames);
    quota.set_handles(launch.quota.handles);
    quota.set_threads(launch.quota.threads);
    quota.set_dma_pages(launch.quota.dma_pages);
    request.send().promise.await?.get()?.get_process()
}

async fn build(process: &process::Client, launch: &Launch<'_>) -> Result<(), StartError> {
    let Program { image, bytes, package, first_page } = launch.program;
    let grants = grant_all(process, launch.grants).await.step("grant its capabilities")?;
    let own_process = own_process(process).await.step("grant its own process")?;
    let info = StartInfo {
        name: launch.name,
        arguments: launch.arguments,
        grants: &grants,
        own_process,
        clock: launch.clock,
    };
    let layout = Layout::new(image, info.maximum_bytes()).ok_or(StartError::NoRoom)?;
    let message = info.encode(layout.free).step("write its start message")?;

    let memory = memory(process, layout.pages).await.step("get its memory")?;
    fill(&memory, &layout, &message, image, bytes).await.step("fill its memory")?;

    let space = address_space(process).await.step("reach its address space")?;
    for segment in &image.segments {
        if let Content::InPlace { file_page, protection } = segment.content {
            // The sum of two page numbers of one package; past its end the kernel refuses.
            let offset = first_page.saturating_add(file_page);
            map(&space, package, offset, segment.pages, segment.address, protection)
                .await
                .step("map its code")?;
        }
    }
    for (first, segment, ..) in layout.fresh(image) {
        map(&space, &memory, first, segment.pages, segment.address, Protection::ReadWrite)
            .await
            .step("map its data")?;
    }
    map(&space, &memory, layout.filled_pages, STACK_PAGES, layout.stack, Protection::ReadWrite)
        .await
        .step("map its stack")?;
    map(&space, &memory, 0, layout.message_pages, layout.message, Protection::Read)
        .await
        .step("map its start message")?;

    let words = (message.len() / size_of::<u64>()) as u64;
    let registers = [u64::from(own_process), layout.message, words, layout.buffer];
    run(process, image.entry, &layout, registers).await.step("start its first thread")
}

/// Grants everything in order; answers names and handles.
async fn grant_all<'a>(
    process: &process::Client,
    grants: &[(&'a str, Option<Client>)],
) -> capnp::Result<Vec<(&'a str, u32)>> {
    let mut handles = Vec::with_capacity(grants.len());
    for (name, capability) in grants {
        let handle = match capability {
            Some(capability) => grant(process, capability.clone()).await?,
            None => abi::NULL_HANDLE,
        };
        handles.push((*name, handle));
    }
    Ok(handles)
}

async fn grant(process: &process::Client, capability: Client) -> capnp::Result<u32> {
    let mut request = process.grant_request();
    request.get().init_capability().set_as_capability(capability.into_client_hook());
    Ok(request.send().promise.await?.get()?.get_handle())
}

async fn own_process(process: &process::Client) -> capnp::Result<u32> {
    Ok(process.grant_own_process_request().send().promise.await?.get()?.get_handle())
}

async fn memory(process: &process::Client, pages: u32) -> capnp::Result<memory_object::Client> {
    let mut request = process.memory_request();
    request.get().set_pages(pages);
    request.send().promise.await?.get()?.get_memory()
}

async fn address_space(process: &process::Client) -> capnp::Result<address_space::Client> {
    process.address_space_request().send().promise.await?.get()?.get_space()
}

/// Writes the start message and the writable segments through a mapping that lasts only so long. The rest of
/// the memory is zero as the kernel gives it.
async fn fill(
    memory: &memory_object::Client,
    layout: &Layout,
    message: &[u8],
    image: &Image,
    bytes: &[u8],
) -> capnp::Result<()> {
    let mapping = Mapping::new(memory, 0, layout.filled_pages, Protection::ReadWrite).await?;
    mapping.write(0, message)?;
    for (first, _, file, offset) in layout.fresh(image) {
        let content =
            bytes.get(file).ok_or_else(|| capnp::Error::failed("the image is not of this file".into()))?;
        // Page numbers of one memory object, far below the range of usize.
        mapping.write(first as usize * PAGE_SIZE + offset, content)?;
    }
    Ok(())
}

async fn map(
    space: &address_space::Client,
    memory: &memory_object::Client,
    offset: u32,
    pages: u32,
    address: u64,
    protection: Protection,
) -> capnp::Result<()> {
    let mut request = space.map_request();
    let mut parameters = request.get();
    parameters.reborrow().init_memory().set_as_capability(memory.clone().into_client_hook());
    parameters.set_offset(offset);
    parameters.set_pages(pages);
    parameters.set_address(address);
    parameters.set_protection(protection);
    request.send().promise.await.map(drop)
}

async fn run(
    process: &process::Client,
    entry: u64,
    layout: &Layout,
    registers: [u64; 4],
) -> capnp::Result<()> {
    let mut request = process.start_request();
    let mut parameters = request.get();
    parameters.set_entry(entry);
    parameters.set_stack_top(layout.stack_top);
    parameters.set_message_buffer(layout.buffer);
    let mut arguments = parameters.init_arguments(registers.len() as u32);
    for (index, register) in (0..).zip(registers) {
        arguments.set(index, register);
    }
    request.send().promise.await.map(drop)
}
