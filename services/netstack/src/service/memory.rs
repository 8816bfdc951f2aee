//! Memory shared with drivers and clients.

use alloc::sync::Arc;

use capnp::Error;
use rt::memory::{Mapping, Protection};
use schema::memory_capnp::memory_object;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Pages that hold so many bytes. What is shared is bounded by its makers to some MiB.
pub fn pages(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX)
}

/// Maps the first `bytes` bytes of a memory object.
#[expect(
    clippy::arc_with_non_send_sync,
    reason = "rings share their memory by Arc, and this process has one thread"
)]
pub async fn map(memory: &memory_object::Client, bytes: usize) -> Result<Arc<Mapping>, Error> {
    Ok(Arc::new(Mapping::new(memory, 0, pages(bytes), Protection::ReadWrite).await?))
}
