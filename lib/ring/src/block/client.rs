//! The client's side of a queue.

use super::{ANSWER_WORDS, BlockLayout, REQUEST_WORDS, Request, Status, Tag};
use crate::{
    LayoutError, PeerFault, Sleep,
    header::recheck_fence,
    items::{self, Consumer, Held, Producer, Trust},
    memory::SharedMemory,
};
use alloc::sync::Arc;

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Names the request.
    pub tag: Tag,
    /// How it ended.
    pub status: Status,
}

/// The client's roles on the two rings of one queue.
pub struct ClientSide<M> {
    layout: BlockLayout,
    requests: Producer<M, REQUEST_WORDS>,
    answers: Consumer<M, ANSWER_WORDS>,
    /// Tags of requests that are not answered yet.
    unanswered: Held,
    trust: Trust,
}

impl<M: SharedMemory> ClientSide<M> {
    /// Starts on the `rings` object that `BlockDevice.open` answered with.
    pub fn new(rings: &Arc<M>, layout: BlockLayout) -> Result<Self, LayoutError> {
        Ok(Self {
            layout,
            requests: Producer::new(rings, layout.requests())?,
            answers: Consumer::new(rings, layout.answers())?,
            unanswered: Held::new(layout.depth, 0, 0),
            trust: Trust::default(),
        })
    }

    /// The queue's layout.
    pub fn layout(&self) -> &BlockLayout {
        &self.layout
    }

    /// Asks for something. Errors: `Tag` for a tag that is not free, which is this side's own fault and harms nothing.
    pub fn submit(&mut self, request: Request) -> Result<(), PeerFault> {
        self.trust.check()?;
        let tag = u32::from(request.tag.0);
        if tag >= self.layout.depth || !self.unanswered.try_insert(tag) {
            return Err(PeerFault::Tag(request.tag.0));
        }
        let result = self.requests.push(request.to_words());
        self.trust.note(result)
    }

    /// Takes the next answer.
    pub fn take(&mut self) -> Result<Option<Answer>, PeerFault> {
        self.trust.check()?;
        let result = self.take_unchecked();
        self.trust.note(result)
    }

    fn take_unchecked(&mut self) -> Result<Option<Answer>, PeerFault> {
        let Some([word]) = self.answers.pop()? else { return Ok(None) };
        let (tag, status) = Status::from_word(word)?;
        if !self.unanswered.remove(tag.0.into()) {
            return Err(PeerFault::Tag(tag.0));
        }
        Ok(Some(Answer { tag, status }))
    }

    /// Whether the driver's doorbell is to be rung for requests; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        recheck_fence();
        self.requests.must_ring()
    }

    /// Asks for the doorbell when there is an answer, then looks again.
    pub fn arm(&mut self) -> Result<Sleep, PeerFault> {
        self.trust.check()?;
        let result = items::arm(&mut [&mut self.answers]);
        self.trust.note(result)
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.answers.own().disarm();
    }
}
