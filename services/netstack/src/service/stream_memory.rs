//! The memory of streams. That of a listener's connections is kept for a while and used again for its next ones: to make, clear
//! and map memory costs a third of a short connection.
//!
//! Memory is used again only when the kernel says that nobody but this process has it, and only for connections of the same
//! listener. So what a client wrote or was sent is seen by nobody but who accepts on that listener.

use alloc::{collections::VecDeque, rc::Rc, sync::Arc};
use core::{
    cell::{Cell, RefCell},
    time::Duration,
};

use capnp::Error;
use ring::stream::StreamLayout;
use rt::memory::Mapping;
use schema::memory_capnp::memory_object;

use super::memory::{map, pages};

/// Memory that a listener keeps: as many connections as end together, more or less.
const KEPT: usize = 16;

/// How long it is kept.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Memory that is looked at for one that is free. The oldest is free most likely.
const TRIES: usize = 2;

/// Who holds memory that nobody else has any more: this process's handle and its mapping.
const OWN_HOLDERS: u32 = 2;

/// The memory of one stream.
pub struct StreamMemory {
    /// For the client.
    pub memory: memory_object::Client,
    /// For the stack.
    pub mapping: Arc<Mapping>,
    layout: StreamLayout,
}

impl StreamMemory {
    /// Makes new memory.
    pub async fn new(layout: StreamLayout) -> Result<Self, Error> {
        let memory = rt::memory::allocate(pages(layout.bytes())).await?;
        let mapping = map(&memory, layout.bytes()).await?;
        Ok(Self { memory, mapping, layout })
    }

    /// Whether neither the stack nor a client has it any more.
    async fn is_free(&self) -> bool {
        let asked = Arc::strong_count(&self.mapping) == 1;
        asked && rt::memory::holders(&self.memory).await.is_ok_and(|count| count <= OWN_HOLDERS)
    }
}

/// What the connections of one listener have let go of, oldest first.
#[derive(Default)]
pub struct Kept {
    memories: RefCell<VecDeque<(Duration, StreamMemory)>>,
    /// Whether there is a task that lets go of what is old.
    swept: Cell<bool>,
}

impl Kept {
    /// Memory that is free, or new memory.
    pub async fn take(self: &Rc<Self>, layout: StreamLayout) -> Result<StreamMemory, Error> {
        for _ in 0..TRIES {
            let Some(memory) = self.oldest(layout) else { break };
            if memory.is_free().await {
                return Ok(memory);
            }
            self.put(memory);
        }
        StreamMemory::new(layout).await
    }

    fn oldest(&self, layout: StreamLayout) -> Option<StreamMemory> {
        let mut memories = self.memories.borrow_mut();
        let place = memories.iter().position(|(_, memory)| memory.layout == layout)?;
        memories.remove(place).map(|(_, memory)| memory)
    }

    /// Keeps memory for later, if there is room.
    pub fn put(self: &Rc<Self>, memory: StreamMemory) {
        if self.memories.borrow().len() >= KEPT {
            return;
        }
        self.memories.borrow_mut().push_back((rt::now(), memory));
        if !self.swept.replace(true) {
            rt::spawn(Rc::clone(self).sweep());
        }
    }

    /// Lets go of what nobody has asked for in time, until there is nothing left.
    async fn sweep(self: Rc<Self>) {
        while let Some(until) = self.expiry() {
            if rt::now() < until {
                rt::sleep_until(until).await;
            } else {
                // Not borrowed while it is dropped.
                let old = self.memories.borrow_mut().pop_front();
                drop(old);
            }
        }
        self.swept.set(false);
    }

    /// When the oldest has been kept for long enough.
    fn expiry(&self) -> Option<Duration> {
        self.memories.borrow().front().map(|(since, _)| *since + KEPT_FOR)
    }
}
