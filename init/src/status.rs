//! The rows of the status, and how many of them fit a message.

use crate::{
    ending::{Cause, Ending},
    supervision::State,
};
use alloc::{string::String, vec::Vec};
use schema::{
    process_capnp::{ExitCause, exit_report},
    supervisor_capnp::{ProcessState, process_status},
};

/// Words that the rows of one answer may have: a message less what is around the list.
const MAXIMUM_WORDS: usize = abi::MAXIMUM_WORDS - 8;

/// Words of a row besides its texts and lists: the struct, the tag of the list of grants, and the exit report.
const ROW_WORDS: usize = 7 + 1 + 6;

/// Words of a grant besides its texts.
const GRANT_WORDS: usize = 3;

/// Longest `what` and `problem` that a row shows, in bytes.
const MAXIMUM_WHAT: usize = 63;
const MAXIMUM_PROBLEM: usize = 159;

/// One capability that a process holds, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Its name in the process.
    pub name: String,
    /// Who gave it: "kernel", "init" or a process.
    pub from: String,
    /// What it is.
    pub what: String,
}

/// One process as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
    /// What went wrong last.
    pub problem: String,
    /// What it holds.
    pub grants: Vec<GrantRow>,
    /// What it offers.
    pub exports: Vec<String>,
    /// How it ended last.
    pub last: Option<Ending>,
}

impl Row {
    /// How many of its grants fit a message that has `room` words; `None` when not even the row without
    /// grants does.
    fn fitting_grants(&self, room: usize) -> Option<usize> {
        let texts = text_words(&self.name) + text_words(cut(&self.problem, MAXIMUM_PROBLEM));
        let exports: usize = self.exports.iter().map(|export| 1 + text_words(export)).sum();
        let mut left = room.checked_sub(ROW_WORDS + texts + exports)?;
        let fits = |grant: &&GrantRow| match left.checked_sub(grant.words()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        Some(self.grants.iter().take_while(fits).count())
    }

    fn words(&self) -> usize {
        let texts = text_words(&self.name) + text_words(cut(&self.problem, MAXIMUM_PROBLEM));
        let exports: usize = self.exports.iter().map(|export| 1 + text_words(export)).sum();
        ROW_WORDS + texts + exports + self.grants.iter().map(GrantRow::words).sum::<usize>()
    }

    /// Writes it, with as many grants as the largest message has room for.
    ///
    /// # Errors
    /// When it has more grants than a list can have.
    pub fn write(&self, mut to: process_status::Builder<'_>) -> capnp::Result<()> {
        to.set_name(&self.name);
        to.set_id(if let State::Running(id) = self.state { id } else { 0 });
        to.set_state(self.process_state());
        to.set_restarts(self.restarts);
        to.set_problem(cut(&self.problem, MAXIMUM_PROBLEM));
        let shown = self.fitting_grants(MAXIMUM_WORDS).unwrap_or(0);
        to.set_more_grants(u16::try_from(self.grants.len().saturating_sub(shown)).unwrap_or(u16::MAX));
        let mut grants = to.reborrow().init_grants(length(shown)?);
        for (index, grant) in (0..).zip(self.grants.iter().take(shown)) {
            let mut row = grants.reborrow().get(index);
            row.set_name(&grant.name);
            row.set_from(&grant.from);
            row.set_what(cut(&grant.what, MAXIMUM_WHAT));
        }
        let mut exports = to.reborrow().init_exports(length(self.exports.len())?);
        for (index, export) in (0..).zip(&self.exports) {
            exports.set(index, export);
        }
        if let Some(last) = self.last {
            write_report(last.cause, to.init_last_exit());
        }
        Ok(())
    }

    fn process_state(&self) -> ProcessState {
        match self.state {
            State::Running(_) => ProcessState::Running,
            State::Waiting | State::Starting if self.last.is_none() => ProcessState::Waiting,
            State::Waiting | State::Starting | State::BackOff(_) => ProcessState::Restarting,
            State::Stopped => ProcessState::Stopped,
            State::Failed => ProcessState::Failed,
        }
    }
}

impl GrantRow {
    fn words(&self) -> usize {
        let what = cut(&self.what, MAXIMUM_WHAT);
        GRANT_WORDS + text_words(&self.name) + text_words(&self.from) + text_words(what)
    }
}

/// How many rows from the first on fit one message: at least one, whose grants are cut if need be.
pub fn fitting(rows: &[Row]) -> usize {
    let mut words = 0;
    let fits = |row: &&Row| {
        words += row.words();
        words <= MAXIMUM_WORDS
    };
    rows.iter().take_while(fits).count().max(1).min(rows.len())
}

fn write_report(cause: Cause, mut to: exit_report::Builder<'_>) {
    match cause {
        Cause::Exited(code) => {
            to.set_cause(ExitCause::Exited);
            to.set_code(code);
        }
        Cause::Killed => to.set_cause(ExitCause::Killed),
        Cause::Fault { vector, error_code, thread, instruction, address } => {
            to.set_cause(ExitCause::Fault);
            to.set_code(vector.into());
            to.set_error_code(error_code);
            to.set_thread(thread);
            to.set_instruction_address(instruction);
            to.set_fault_address(address);
        }
    }
}

/// The longest start of a text that has at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

/// Words of a text with its closing zero byte.
fn text_words(text: &str) -> usize {
    text.len() / size_of::<u64>() + 1
}

fn length(count: usize) -> capnp::Result<u32> {
    u32::try_from(count).map_err(|_| capnp::Error::failed("a list is too long".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::{Builder, HeapAllocator};
    use schema::supervisor_capnp::supervisor_status::processes_results;

    fn row(name: &str, grants: usize) -> Row {
        let grant = |index| GrantRow {
            name: format!("grant-number-{index}-of-the-process"),
            from: "a-process-with-a-very-long-name".into(),
            what: "PciFunction 00:02.0".into(),
        };
        let cause = Cause::Fault { vector: 14, error_code: 6, thread: 3, instruction: 4, address: 5 };
        Row {
            name: name.into(),
            state: State::Running(7),
            restarts: 2,
            problem: "page fault writing 0x10 at 0x201234".into(),
            grants: (0..grants).map(grant).collect(),
            exports: vec!["nic".into(); 16],
            last: Some(Ending { id: 6, cause }),
        }
    }

    /// Writes as many rows as fit and answers their number and the words of the whole message.
    fn write(rows: &[Row]) -> (usize, usize) {
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(4096));
        let count = fitting(rows);
        let mut list = message.init_root::<processes_results::Builder<'_>>().init_processes(count as u32);
        for (index, row) in rows[..count].iter().enumerate() {
            row.write(list.reborrow().get(index as u32)).unwrap();
        }
        (count, message.size_in_words())
    }

    #[test]
    fn every_answer_fits_a_message() {
        for grants in 0..=34 {
            let rows = vec![row("a-process-with-a-very-long-name", grants); 40];
            let (count, words) = write(&rows);
            assert!(
                count >= 1 && words <= abi::MAXIMUM_WORDS,
                "{grants} grants: {count} rows, {words} words"
            );
        }
    }

    #[test]
    fn words_are_counted_as_they_are_written() {
        for grants in [0, 1, 7, 20] {
            let (count, words) = write(&[row("virtio-net", grants)]);
            // Root pointer, results, and the pointer and tag of the list.
            assert_eq!((count, words), (1, row("virtio-net", grants).words() + 4));
        }
    }

    #[test]
    fn grants_without_room_are_counted() {
        let big = row("big", 64);
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(4096));
        big.write(message.init_root()).unwrap();
        let read = message.get_root_as_reader::<process_status::Reader<'_>>().unwrap();
        let shown = read.get_grants().unwrap().len();
        assert!(shown > 20);
        assert_eq!(shown + u32::from(read.get_more_grants()), 64);
    }

    #[test]
    fn no_rows_are_no_rows() {
        assert_eq!(fitting(&[]), 0);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("häuser", 2), "h");
        assert_eq!(cut("häuser", 3), "hä");
        assert_eq!(cut("short", 63), "short");
    }

    #[test]
    fn a_process_that_ended_before_is_restarting() {
        let state = |state, last| Row { state, last, ..row("a", 0) }.process_state();
        let last = row("a", 0).last;
        assert_eq!(state(State::Waiting, None), ProcessState::Waiting);
        assert_eq!(state(State::Starting, last), ProcessState::Restarting);
        assert_eq!(state(State::Failed, last), ProcessState::Failed);
    }
}
