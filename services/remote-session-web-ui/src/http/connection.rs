//! The state machine of one connection.

use core::time::Duration;

use super::body::Discard;
use super::head::{Expectation, Head, Method, Persistence, Request, Scan};
use super::input::Input;
use super::limits::{
    DELIVERY_TIME, IDLE_TIME, LINGER_TIME, MAXIMUM_EMPTY_LINES, QUIET_TIME, REQUEST_TIME, STALL_TIME,
    STEPS_PER_TURN,
};
use super::output::{Flushed, Output};
use super::response::{Content, Exchange, Response};
use super::status::{Failure, Status};
use super::target::Target;
use crate::server::{Answer, ByteStream, Handler, Received};

/// One client's connection.
///
/// `Q` names an answer that the handler is still working on.
pub struct Connection<Q> {
    input: Input,
    output: Output,
    phase: Phase<Q>,
    /// When bytes last left, or began to wait for leaving.
    progress: Duration,
    answered: bool,
    empty_lines: u8,
}

/// Where a connection is in its cycle; drawn in the module's parent. Times say when the phase was entered.
enum Phase<Q> {
    Idle(Duration),
    Head(Duration, Scan),
    Body(Duration, Discard, Answer<Q>, Exchange),
    Waiting(Q, Exchange),
    /// No further request is read; the stream is finished once the output is empty.
    Closing(Ending),
    Linger(Duration),
    Ended,
}

/// What the client still has to say when the last response has been written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Perhaps something, which is read and dropped.
    Open,
    /// Nothing: it has finished its direction.
    Finished,
}

/// What one turn of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for more input.
    Reading,
    /// It waits for room to write.
    Writing,
    /// It waits for the handler.
    Waiting,
    /// All has been said, a moment ago. It wants a turn with any other event, or at this time.
    Lingering(Duration),
    /// It has more to do and had its share.
    Busy,
    /// It is over; the stream can be dropped.
    Ended,
}

/// How dear a connection is when there are too many; the least dear comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// All has been said; the rest of the client's input is being dropped. Since when.
    Lingering(Duration),
    /// No request is in progress. Since when.
    Idle(Duration),
    /// A request is incomplete. Since when.
    Incomplete(Duration),
    /// A response is on its way. When it last moved.
    Responding(Duration),
}

/// What a step needs to be followed by another.
enum Step {
    /// Nothing.
    Progress,
    /// More bytes from the client.
    NeedInput,
    /// The handler's answer.
    Waiting,
    /// Room in the output.
    Full,
}

impl<Q: Copy> Connection<Q> {
    /// A connection that was accepted at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            input: Input::default(),
            output: Output::default(),
            phase: Phase::Idle(now),
            progress: now,
            answered: false,
            empty_lines: 0,
        }
    }

    /// Does all that can be done at `now`: time-outs, reading, answering, writing.
    pub fn turn<S: ByteStream, H: Handler<Query = Q>>(
        &mut self,
        stream: &mut S,
        handler: &mut H,
        now: Duration,
    ) -> Outcome {
        self.expire(now);
        for _ in 0..STEPS_PER_TURN {
            let step = if self.output.has_room() { self.step(handler, now) } else { Step::Full };
            if matches!(step, Step::Progress) {
                continue;
            }
            match self.output.flush(stream) {
                Flushed::All(written) => self.wrote(written, now),
                Flushed::Blocked(written) => {
                    self.wrote(written, now);
                    return Outcome::Writing;
                }
                Flushed::Broken => self.phase = Phase::Ended,
            }
            match (&self.phase, step) {
                (Phase::Ended, _) => return Outcome::Ended,
                (Phase::Closing(Ending::Finished), _) => {
                    stream.finish();
                    self.phase = Phase::Ended;
                    return Outcome::Ended;
                }
                (Phase::Closing(Ending::Open), _) => {
                    stream.finish();
                    self.input.clear();
                    self.phase = Phase::Linger(now);
                }
                (_, Step::Full) => continue,
                (_, Step::Waiting) => return Outcome::Waiting,
                (_, Step::Progress | Step::NeedInput) => {}
            }
            match stream.read(self.input.space()) {
                Received::Bytes(count) => self.received(count),
                Received::Pending => {
                    return match self.phase {
                        Phase::Linger(since) if now < since + QUIET_TIME => {
                            Outcome::Lingering(since + QUIET_TIME)
                        }
                        _ => Outcome::Reading,
                    };
                }
                Received::End => self.end_of_input(),
                Received::Broken => self.phase = Phase::Ended,
            }
        }
        Outcome::Busy
    }

    /// When the next time-out falls due.
    #[inline]
    pub fn deadline(&self) -> Option<Duration> {
        let written = (!self.output.is_empty()).then(|| self.progress + STALL_TIME);
        let phase = match self.phase {
            _ if written.is_some() => None,
            Phase::Idle(since) => Some(since + IDLE_TIME),
            Phase::Head(since, _) | Phase::Body(since, ..) => Some(since + REQUEST_TIME),
            Phase::Linger(since) => Some(since + LINGER_TIME),
            Phase::Waiting(..) | Phase::Closing(_) | Phase::Ended => None,
        };
        written.or(phase)
    }

    /// How dear it is.
    pub fn activity(&self) -> Activity {
        match self.phase {
            _ if !self.output.is_empty() => Activity::Responding(self.progress),
            Phase::Idle(since) => Activity::Idle(since),
            Phase::Head(since, _) | Phase::Body(since, ..) => Activity::Incomplete(since),
            Phase::Linger(since) => Activity::Lingering(since),
            Phase::Waiting(..) | Phase::Closing(_) | Phase::Ended => Activity::Responding(self.progress),
        }
    }

    /// Whether a part of a response may still be on its way to the client at `now`, so that a reset could destroy it.
    pub fn may_be_delivering(&self, now: Duration) -> bool {
        self.answered && now.saturating_sub(self.progress) < DELIVERY_TIME
    }

    fn expire(&mut self, now: Duration) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.time_out();
        }
    }

    #[inline(never)]
    fn time_out(&mut self) {
        if !self.output.is_empty() {
            // The client does not read: there is nobody to tell.
            self.phase = Phase::Ended;
            self.output = Output::default();
            return;
        }
        match self.phase {
            Phase::Idle(_) => self.phase = Phase::Closing(Ending::Open),
            Phase::Head(..) | Phase::Body(..) => {
                self.refuse(Failure::new(
                    Status::RequestTimeout,
                    "the request did not end within 10 seconds",
                ));
            }
            _ => self.phase = Phase::Ended,
        }
    }

    /// So many bytes of the output have left.
    fn wrote(&mut self, count: usize, now: Duration) {
        if count > 0 {
            self.progress = now;
            self.answered = true;
            if let Phase::Idle(since) = &mut self.phase {
                *since = now;
            }
        }
    }

    fn received(&mut self, count: usize) {
        match self.phase {
            Phase::Linger(_) => self.input.clear(),
            _ => self.input.received(count),
        }
    }

    /// The client will send nothing more. What it had asked has been answered; half a request never will be.
    fn end_of_input(&mut self) {
        self.phase = match self.phase {
            Phase::Linger(_) | Phase::Ended => Phase::Ended,
            _ => Phase::Closing(Ending::Finished),
        };
    }

    /// Takes one step on what has been received.
    fn step<H: Handler<Query = Q>>(&mut self, handler: &mut H, now: Duration) -> Step {
        match &mut self.phase {
            Phase::Idle(_) => self.begin(now),
            Phase::Head(_, scan) => match scan.advance(self.input.bytes()) {
                Ok(Some(length)) => self.head(length, handler, now),
                Ok(None) => Step::NeedInput,
                Err(failure) => self.refuse(failure),
            },
            Phase::Body(..) => self.body(now),
            Phase::Waiting(query, exchange) => {
                let (query, exchange) = (*query, *exchange);
                match handler.resolve(query, now) {
                    Some(response) => self.respond(response, exchange, now),
                    None => Step::Waiting,
                }
            }
            Phase::Closing(_) | Phase::Linger(_) | Phase::Ended => Step::NeedInput,
        }
    }

    /// Reads on in a request's content, or answers at its end.
    #[inline(never)]
    fn body(&mut self, now: Duration) -> Step {
        let Phase::Body(_, discard, answer, exchange) = &mut self.phase else { return Step::NeedInput };
        if discard.is_done() {
            let (answer, exchange) = (answer.clone(), *exchange);
            return self.answer(answer, exchange, now);
        }
        match discard.advance(self.input.bytes()) {
            Ok(0) => Step::NeedInput,
            Ok(used) => {
                self.input.consume(used);
                Step::Progress
            }
            Err(failure) => self.refuse(failure),
        }
    }

    /// Skips empty lines before a request \[RFC 9112 2.2\], and notes when its first byte came.
    fn begin(&mut self, now: Duration) -> Step {
        loop {
            match self.input.bytes() {
                [] | [b'\r'] => return Step::NeedInput,
                [b'\r', b'\n', ..] => self.input.consume(2),
                [b'\n', ..] => self.input.consume(1),
                _ => break,
            }
            self.empty_lines = self.empty_lines.saturating_add(1);
            if self.empty_lines > MAXIMUM_EMPTY_LINES {
                return self.refuse(Failure::malformed("there are only empty lines"));
            }
        }
        self.phase = Phase::Head(now, Scan::default());
        self.empty_lines = 0;
        Step::Progress
    }

    /// A head of `length` bytes is complete.
    fn head<H: Handler<Query = Q>>(&mut self, length: usize, handler: &mut H, now: Duration) -> Step {
        let decided = self.input.bytes().get(..length).map(Head::parse).map(|head| {
            let head = head?;
            decide(&head, handler)
        });
        let (discard, answer, exchange) = match decided {
            Some(Ok(decided)) => decided,
            Some(Err(failure)) => return self.refuse(failure),
            None => return Step::NeedInput,
        };
        self.input.consume(length);
        if discard.is_done() {
            return self.answer(answer, exchange, now);
        }
        self.phase = Phase::Body(now, discard, answer, exchange);
        Step::Progress
    }

    fn answer(&mut self, answer: Answer<Q>, exchange: Exchange, now: Duration) -> Step {
        match answer {
            Answer::Ready(response) => self.respond(response, exchange, now),
            Answer::Later(query) => {
                self.phase = Phase::Waiting(query, exchange);
                Step::Progress
            }
        }
    }

    fn respond(&mut self, response: Response, exchange: Exchange, now: Duration) -> Step {
        if self.output.is_empty() {
            self.progress = now;
        }
        self.output.push(response, exchange);
        self.phase = match exchange.persistence {
            Persistence::KeepAlive => Phase::Idle(now),
            Persistence::Close => Phase::Closing(Ending::Open),
        };
        Step::Progress
    }

    /// Answers with a failure and closes: where the next request starts is not known any more.
    #[inline(never)]
    fn refuse(&mut self, failure: Failure) -> Step {
        self.output.push(failure.into(), Exchange::BROKEN);
        self.phase = Phase::Closing(Ending::Open);
        Step::Progress
    }

    /// Bytes of memory that it holds in buffers.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }
}

/// What content to read off, what to answer after that, and how.
fn decide<H: Handler>(
    head: &Head<'_>,
    handler: &mut H,
) -> Result<(Discard, Answer<H::Query>, Exchange), Failure> {
    let mut exchange = Exchange {
        version: head.version,
        persistence: head.persistence,
        content: if head.method == Method::Head { Content::Withheld } else { Content::Sent },
    };
    let mut discard = Discard::new(head.framing)?;
    match head.expectation {
        Expectation::Unknown => {
            return Err(Failure::new(Status::ExpectationFailed, "the only expectation here is 100-continue"));
        }
        // The answer does not depend on the content, so the client need not send it; whether it
        // does cannot be known, and so the connection ends here.
        Expectation::Continue if !discard.is_done() => {
            exchange.persistence = Persistence::Close;
            discard = Discard::EMPTY;
        }
        Expectation::Continue | Expectation::None => {}
    }
    let answer = match head.target {
        Target::Path { path, query } => handler.route(&Request { method: head.method, path, query }),
        Target::Server if head.method == Method::Options => Answer::Ready(handler.options()),
        Target::Server => return Err(Failure::malformed("the target * is for OPTIONS alone")),
    };
    Ok((discard, answer, exchange))
}
