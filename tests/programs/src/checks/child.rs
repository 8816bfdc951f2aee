//! A process of a check's own, whose few instructions are written here.

use super::{Bench, same, text};
use abi::PAGE_SIZE;
use alloc::{format, string::String, vec::Vec};
use capnp::{Error, capability::FromClientHook};
use core::time::Duration;
use schema::{
    memory_capnp::{Protection, address_space, memory_object},
    process_capnp::{process, process_manager},
};

pub(super) const PAGE: u64 = PAGE_SIZE as u64;

/// Where a child has its code, its data, and its message buffer.
pub(super) const CODE: u64 = 0x20_0000;
pub(super) const DATA: u64 = 0x30_0000;
pub(super) const BUFFER: u64 = 0x40_0000;

/// How long anything here may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a thread that runs to show it.
pub(super) const WHILE: Duration = Duration::from_millis(30);

/// `inc qword ptr [rdi]`, for ever.
pub(super) const COUNT: &[u8] = &[0x48, 0xff, 0x07, 0xeb, 0xfb];

/// Its stack pointer at the start: some words below the end of the data.
pub(super) const STACK_TOP: u64 = DATA + 2 * PAGE - 64;

/// A process of this check's own.
pub(super) struct Child {
    /// Control over it.
    pub(super) process: process::Client,
    /// Its memory.
    pub(super) space: address_space::Client,
}

impl Child {
    /// Maps its code, and two pages of data, of which its counter is the first word.
    pub(super) async fn new(bench: &Bench, code: &[u8]) -> Result<Self, Error> {
        let manager: process_manager::Client = bench.environment.grant("process-manager")?;
        let mut request = manager.create_request();
        let mut fields = request.get();
        fields.set_name("child");
        fields.set_priority(1);
        let mut quota = fields.init_quota();
        quota.set_frames(64);
        quota.set_handles(16);
        quota.set_threads(1);
        let process = request.send().promise.await?.get()?.get_process()?;
        let space = process.address_space_request().send().promise.await?.get()?.get_space()?;
        let child = Self { process, space };
        let memory = child.memory(1).await?;
        child.map(&memory, CODE, 1, Protection::ReadWrite).await?;
        child.write(CODE, code).await?;
        let mut request = child.space.unmap_request();
        request.get().set_address(CODE);
        request.send().promise.await?;
        memory.seal_request().send().promise.await?;
        child.map(&memory, CODE, 1, Protection::ReadExecute).await?;
        child.map(&child.memory(2).await?, DATA, 2, Protection::ReadWrite).await?;
        Ok(child)
    }

    /// Puts a capability into its table; its number there.
    pub(super) async fn grant(&self, capability: &impl FromClientHook) -> Result<u32, Error> {
        let mut request = self.process.grant_request();
        let hook = capability.as_client_hook().add_ref();
        request.get().init_capability().set_as_capability(hook);
        Ok(request.send().promise.await?.get()?.get_handle())
    }

    /// Starts a thread with the address of its data and an argument.
    pub(super) async fn start(&self, argument: u64) -> Result<(), Error> {
        self.start_at(DATA, argument).await
    }

    /// Starts a thread that takes something else for its data.
    pub(super) async fn start_at(&self, data: u64, argument: u64) -> Result<(), Error> {
        let mut request = self.process.start_request();
        let mut fields = request.get();
        fields.set_entry(CODE);
        fields.set_stack_top(STACK_TOP);
        fields.set_message_buffer(BUFFER);
        let mut arguments = fields.init_arguments(2);
        arguments.set(0, data);
        arguments.set(1, argument);
        request.send().promise.await.map(drop)
    }

    async fn memory(&self, pages: u32) -> Result<memory_object::Client, Error> {
        let mut request = self.process.memory_request();
        request.get().set_pages(pages);
        request.send().promise.await?.get()?.get_memory()
    }

    async fn map(
        &self,
        memory: &memory_object::Client,
        address: u64,
        pages: u32,
        protection: Protection,
    ) -> Result<(), Error> {
        let mut request = self.space.map_request();
        let mut fields = request.get();
        fields.reborrow().init_memory().set_as_capability(memory.clone().into_client_hook());
        fields.set_address(address);
        fields.set_pages(pages);
        fields.set_protection(protection);
        request.send().promise.await.map(drop)
    }

    /// Writes its memory.
    pub(super) async fn write(&self, address: u64, data: &[u8]) -> Result<(), Error> {
        let mut request = self.space.write_request();
        request.get().set_address(address);
        request.get().set_data(data);
        request.send().promise.await.map(drop)
    }

    /// Reads its memory.
    pub(super) async fn read(&self, address: u64, length: u32) -> Result<Vec<u8>, Error> {
        let mut request = self.space.read_request();
        request.get().set_address(address);
        request.get().set_length(length);
        Ok(request.send().promise.await?.get()?.get_data()?.to_vec())
    }

    /// The first word of its data.
    pub(super) async fn counter(&self) -> Result<u64, Error> {
        let bytes = self.read(DATA, 8).await?;
        let word = bytes.try_into().map_err(|_| Error::failed("not a word".into()))?;
        Ok(u64::from_le_bytes(word))
    }

    /// Waits until the counter is past a value.
    pub(super) async fn counts_past(&self, value: u64) -> Result<u64, String> {
        let end = rt::now() + PATIENCE;
        while rt::now() < end {
            let counter = self.counter().await.map_err(text)?;
            if counter > value {
                return Ok(counter);
            }
            rt::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("the counter stays at {value}"))
    }

    /// Pauses it, and waits until none of its threads is on a processor.
    pub(super) async fn pause(&self) -> Result<(), String> {
        self.process.pause_request().send().promise.await.map_err(text)?;
        let end = rt::now() + PATIENCE;
        while rt::now() < end {
            let answer = self.process.status_request().send().promise.await.map_err(text)?;
            let status = answer.get().map_err(text)?;
            same(status.get_paused(), true)?;
            if status.get_running() == 0 {
                return Ok(());
            }
            rt::sleep(Duration::from_millis(1)).await;
        }
        Err("a paused process still runs".into())
    }

    /// Threads that would run.
    pub(super) async fn ready(&self) -> Result<u16, String> {
        let answer = self.process.status_request().send().promise.await.map_err(text)?;
        Ok(answer.get().map_err(text)?.get_ready())
    }

    /// Lets it go on.
    pub(super) async fn resume(&self) -> Result<(), String> {
        self.process.resume_request().send().promise.await.map(drop).map_err(text)
    }

    /// Kills it, and waits until nothing of it is left.
    pub(super) async fn kill(&self) -> Result<(), String> {
        self.process.kill_request().send().promise.await.map_err(text)?;
        self.reaped().await
    }

    /// Waits until nothing of it is left.
    pub(super) async fn reaped(&self) -> Result<(), String> {
        let end = rt::now() + PATIENCE;
        while rt::now() < end {
            let answer = self.process.status_request().send().promise.await.map_err(text)?;
            if answer.get().map_err(text)?.get_reaped() {
                return Ok(());
            }
            rt::sleep(Duration::from_millis(1)).await;
        }
        Err("it is not reaped".into())
    }
}
