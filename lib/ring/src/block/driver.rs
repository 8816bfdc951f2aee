//! The driver's side of a queue.

use super::{ANSWER_WORDS, BlockLayout, REQUEST_WORDS, Request, Status, Tag};
use crate::{
    LayoutError, PeerFault, Sleep,
    header::recheck_fence,
    items::{self, Consumer, Held, Producer, Trust},
    memory::SharedMemory,
};
use alloc::sync::Arc;

/// The driver's roles on the two rings of one queue.
pub struct DriverSide<M> {
    layout: BlockLayout,
    requests: Consumer<M, REQUEST_WORDS>,
    answers: Producer<M, ANSWER_WORDS>,
    /// Tags of requests that were taken and not answered.
    unanswered: Held,
    trust: Trust,
}

impl<M: SharedMemory> DriverSide<M> {
    /// Starts on a new, zeroed `rings` object.
    pub fn new(rings: &Arc<M>, layout: BlockLayout) -> Result<Self, LayoutError> {
        Ok(Self {
            layout,
            requests: Consumer::new(rings, layout.requests())?,
            answers: Producer::new(rings, layout.answers())?,
            unanswered: Held::new(layout.depth, 0, 0),
            trust: Trust::default(),
        })
    }

    /// The queue's layout.
    pub fn layout(&self) -> &BlockLayout {
        &self.layout
    }

    /// Takes the next request. Its data lies in the buffers and its tag is its own; its blocks are still to be checked.
    pub fn take(&mut self) -> Result<Option<Request>, PeerFault> {
        self.trust.check()?;
        let result = self.take_unchecked();
        self.trust.note(result)
    }

    fn take_unchecked(&mut self) -> Result<Option<Request>, PeerFault> {
        let Some(words) = self.requests.pop()? else { return Ok(None) };
        let request = Request::from_words(words, &self.layout)?;
        let tag = u32::from(request.tag.0);
        if tag >= self.layout.depth || !self.unanswered.try_insert(tag) {
            return Err(PeerFault::Tag(request.tag.0));
        }
        Ok(Some(request))
    }

    /// Answers a request that was taken. A tag that has no request is ignored: each is answered once.
    pub fn answer(&mut self, tag: Tag, status: Status) -> Result<(), PeerFault> {
        self.trust.check()?;
        if !self.unanswered.remove(tag.0.into()) {
            return Ok(());
        }
        let result = self.answers.push([status.to_word(tag)]);
        self.trust.note(result)
    }

    /// Whether the client's doorbell is to be rung for answers; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        recheck_fence();
        self.answers.must_ring()
    }

    /// Asks for the doorbell when there is a request, then looks again.
    pub fn arm(&mut self) -> Result<Sleep, PeerFault> {
        self.trust.check()?;
        let result = items::arm(&mut [&mut self.requests]);
        self.trust.note(result)
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.requests.own().disarm();
    }
}
