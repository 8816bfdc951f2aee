//! What a process has used of its quotas.
//!
//! Memory is counted in bytes, so that small kernel objects add up fairly; a frame is 4096 of them.

use crate::error::Error;
use crate::memory::{PAGE, frames};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The limits of one process.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Frames of 4 KiB for user pages, page tables and kernel objects.
    pub frames: u32,
    /// Entries of the handle table.
    pub handles: u16,
    /// Threads.
    pub threads: u16,
    /// Frames of pinned device memory.
    pub dma_pages: u32,
}

/// Usage against a quota. It outlives its process as long as something is charged to it.
#[derive(Debug)]
pub struct Account {
    quota: Quota,
    bytes: AtomicU64,
    dma_pages: AtomicU32,
    /// Threads that have been made and not ended.
    pub threads: AtomicU32,
}

impl Account {
    /// An account with nothing charged.
    pub const fn new(quota: Quota) -> Self {
        Self { quota, bytes: AtomicU64::new(0), dma_pages: AtomicU32::new(0), threads: AtomicU32::new(0) }
    }

    /// The limits.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Frames in use, rounded up.
    pub fn frames(&self) -> u32 {
        self.bytes.load(Ordering::Relaxed).div_ceil(PAGE) as u32
    }

    /// DMA frames in use.
    pub fn dma_pages(&self) -> u32 {
        self.dma_pages.load(Ordering::Relaxed)
    }

    fn charge_bytes(&self, bytes: u64) -> Result<(), Error> {
        if !frames::available(bytes.div_ceil(PAGE) as usize) {
            return Err(Error::overloaded("the machine is out of memory"));
        }
        let limit = u64::from(self.quota.frames) * PAGE;
        self.bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|total| *total <= limit)
            })
            .map(|_| ())
            .map_err(|_| Error::overloaded("frame quota used up"))
    }
}

/// Bytes that stay charged until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: u64,
    dma_pages: u32,
}

impl Charge {
    /// Charges kernel memory for an object; afterwards allocating it cannot fail.
    pub fn bytes(account: &Arc<Account>, bytes: usize) -> Result<Self, Error> {
        // What the heap really takes: the next power of two, at least 32.
        let bytes = (bytes as u64).max(32).next_power_of_two();
        account.charge_bytes(bytes)?;
        Ok(Self { account: account.clone(), bytes, dma_pages: 0 })
    }

    /// Charges an object of type `T` and the reference counts beside it.
    pub fn object<T>(account: &Arc<Account>) -> Result<Self, Error> {
        Self::bytes(account, size_of::<T>() + 16)
    }

    /// Charges whole frames.
    pub fn frames(account: &Arc<Account>, frames: u32) -> Result<Self, Error> {
        let bytes = u64::from(frames) * PAGE;
        account.charge_bytes(bytes)?;
        Ok(Self { account: account.clone(), bytes, dma_pages: 0 })
    }

    /// Charges frames of device memory, to the DMA quota only.
    pub fn dma(account: &Arc<Account>, pages: u32) -> Result<Self, Error> {
        if !frames::available(pages as usize) {
            return Err(Error::overloaded("the machine is out of memory"));
        }
        let limit = account.quota.dma_pages;
        account
            .dma_pages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(pages).filter(|total| *total <= limit)
            })
            .map_err(|_| Error::overloaded("DMA quota used up"))?;
        Ok(Self { account: account.clone(), bytes: 0, dma_pages: pages })
    }

    /// Adds one frame to this charge.
    pub fn add_frame(&mut self) -> Result<(), Error> {
        self.account.charge_bytes(PAGE)?;
        self.bytes += PAGE;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.account.dma_pages.fetch_sub(self.dma_pages, Ordering::Relaxed);
    }
}
