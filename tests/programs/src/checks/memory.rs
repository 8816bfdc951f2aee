//! Memory: where it can be mapped and how, and that it is given back.

use super::{Bench, FREE, Verdict, fails, same, text};
use abi::{PAGE_SIZE, USER_END};
use alloc::{format, string::String};
use capnp::{Error, ErrorKind, capability::FromClientHook};
use rt::memory::{Mapping, Protection};
use schema::memory_capnp::memory_object;

const PAGE: u64 = PAGE_SIZE as u64;

async fn map(
    bench: &Bench,
    memory: &memory_object::Client,
    offset: u32,
    pages: u32,
    address: u64,
    protection: Protection,
) -> Result<(), Error> {
    let mut request = bench.space.map_request();
    let mut fields = request.get();
    fields.reborrow().init_memory().set_as_capability(memory.clone().into_client_hook());
    fields.set_offset(offset);
    fields.set_pages(pages);
    fields.set_address(address);
    fields.set_protection(protection);
    request.send().promise.await.map(drop)
}

async fn unmap(bench: &Bench, address: u64) -> Result<(), Error> {
    let mut request = bench.space.unmap_request();
    request.get().set_address(address);
    request.send().promise.await.map(drop)
}

async fn allocate(pages: u32) -> Result<memory_object::Client, String> {
    rt::memory::allocate(pages).await.map_err(text)
}

/// Addresses that are the kernel's, or nobody's.
pub async fn map_outside_user_half(bench: &Bench) -> Verdict {
    let memory = allocate(2).await?;
    let kernel = 0xffff_8000_0000_0000;
    for address in [0, USER_END, USER_END - PAGE, 0x8000_0000_0000, kernel, 0_u64.wrapping_sub(PAGE)] {
        let result = map(bench, &memory, 0, 2, address, Protection::ReadWrite).await;
        fails(result, ErrorKind::Failed, "outside the user half")
            .map_err(|seen| format!("{address:#x}: {seen}"))?;
    }
    // The last page that there is.
    map(bench, &memory, 0, 1, USER_END - PAGE, Protection::ReadWrite).await.map_err(text)?;
    unmap(bench, USER_END - PAGE).await.map_err(text)
}

/// An address inside a page.
pub async fn map_unaligned(bench: &Bench) -> Verdict {
    let memory = allocate(1).await?;
    let result = map(bench, &memory, 0, 1, FREE + 8, Protection::Read).await;
    fails(result, ErrorKind::Failed, "not page aligned")
}

/// Addresses that are in use; and that can be used again once they are not.
pub async fn map_twice(bench: &Bench) -> Verdict {
    let memory = allocate(4).await?;
    map(bench, &memory, 0, 2, FREE, Protection::ReadWrite).await.map_err(text)?;
    for address in [FREE, FREE + PAGE, FREE - PAGE] {
        let result = map(bench, &memory, 0, 2, address, Protection::ReadWrite).await;
        fails(result, ErrorKind::Failed, "overlaps a mapping")?;
    }
    fails(unmap(bench, FREE + PAGE).await, ErrorKind::Failed, "no mapping starts at this address")?;
    unmap(bench, FREE).await.map_err(text)?;
    map(bench, &memory, 0, 4, FREE - PAGE, Protection::Read).await.map_err(text)?;
    unmap(bench, FREE - PAGE).await.map_err(text)
}

/// Pages that the object does not have.
pub async fn map_outside_object(bench: &Bench) -> Verdict {
    let memory = allocate(2).await?;
    for (offset, pages) in [(0, 3), (2, 1), (u32::MAX, 2), (1, u32::MAX), (0, 0)] {
        let result = map(bench, &memory, offset, pages, FREE, Protection::Read).await;
        fails(result, ErrorKind::Failed, "outside the memory object")?;
    }
    for pages in [0, u32::MAX] {
        fails(rt::memory::allocate(pages).await, ErrorKind::Failed, "a memory object has")?;
    }
    Ok(())
}

/// Memory that somebody might still write.
pub async fn execute_unsealed(bench: &Bench) -> Verdict {
    let memory = allocate(1).await?;
    let result = map(bench, &memory, 0, 1, FREE, Protection::ReadExecute).await;
    fails(result, ErrorKind::Failed, "only sealed memory can be mapped executable")
}

/// Sealed memory can be executed and never written again.
pub async fn write_sealed(bench: &Bench) -> Verdict {
    let memory = allocate(1).await?;
    memory.seal_request().send().promise.await.map_err(text)?;
    memory.seal_request().send().promise.await.map_err(text)?;
    let result = map(bench, &memory, 0, 1, FREE, Protection::ReadWrite).await;
    fails(result, ErrorKind::Failed, "sealed memory cannot be mapped writable")?;
    map(bench, &memory, 0, 1, FREE, Protection::ReadExecute).await.map_err(text)?;
    unmap(bench, FREE).await.map_err(text)
}

/// Memory with a writable mapping cannot be sealed.
pub async fn seal_while_writable(bench: &Bench) -> Verdict {
    let memory = allocate(1).await?;
    map(bench, &memory, 0, 1, FREE, Protection::ReadWrite).await.map_err(text)?;
    let refused = fails(
        memory.seal_request().send().promise.await,
        ErrorKind::Failed,
        "memory that is mapped writable cannot be sealed",
    );
    unmap(bench, FREE).await.map_err(text)?;
    refused?;
    memory.seal_request().send().promise.await.map(drop).map_err(text)
}

/// A view for reading gives no way to write, nor to seal.
pub async fn write_read_only_view(bench: &Bench) -> Verdict {
    let memory = allocate(1).await?;
    let answer = memory.read_only_request().send().promise.await.map_err(text)?;
    let view = answer.get().and_then(|answer| answer.get_memory()).map_err(text)?;
    let result = map(bench, &view, 0, 1, FREE, Protection::ReadWrite).await;
    fails(result, ErrorKind::Failed, "read-only memory cannot be mapped writable")?;
    fails(view.seal_request().send().promise.await, ErrorKind::Failed, "a read-only view cannot seal")?;
    let answer = view.read_only_request().send().promise.await.map_err(text)?;
    let again = answer.get().and_then(|answer| answer.get_memory()).map_err(text)?;
    let result = map(bench, &again, 0, 1, FREE, Protection::ReadWrite).await;
    fails(result, ErrorKind::Failed, "read-only memory cannot be mapped writable")?;
    map(bench, &view, 0, 1, FREE, Protection::Read).await.map_err(text)?;
    unmap(bench, FREE).await.map_err(text)
}

/// New memory holds nothing of who had it before.
pub async fn memory_is_zeroed(_: &Bench) -> Verdict {
    const PAGES: u32 = 32;
    for round in 0..4 {
        let memory = allocate(PAGES).await?;
        let mapping = Mapping::new(&memory, 0, PAGES, Protection::ReadWrite).await.map_err(text)?;
        if crate::memory::bytes(&mapping).any(|byte| byte != 0) {
            return Err(format!("round {round}: there are bytes other than zero"));
        }
        let full = alloc::vec![0xa5; PAGE_SIZE];
        for page in 0..PAGES as usize {
            mapping.write(page * PAGE_SIZE, &full).map_err(text)?;
        }
    }
    Ok(())
}

/// What is dropped is taken off the account, page tables included.
pub async fn quota_is_given_back(bench: &Bench) -> Verdict {
    const PAGES: u32 = 64;
    round(PAGES).await?;
    let before = frames(bench).await?;
    let memory = allocate(PAGES).await?;
    let during = frames(bench).await?;
    if during < before + PAGES {
        return Err(format!("{PAGES} pages cost {} frames", during - before));
    }
    drop(memory);
    for _ in 0..20 {
        round(PAGES).await?;
    }
    same(frames(bench).await?, before)
}

async fn round(pages: u32) -> Verdict {
    let memory = allocate(pages).await?;
    let mapping = Mapping::new(&memory, 0, pages, Protection::ReadWrite).await.map_err(text)?;
    drop(mapping);
    Ok(())
}

async fn frames(bench: &Bench) -> Result<u32, String> {
    let answer = bench.own.usage_request().send().promise.await.map_err(text)?;
    Ok(answer.get().and_then(|answer| answer.get_usage()).map_err(text)?.get_frames())
}
