//! Evidence of crashes: asked of the kernel before the dead process is let go, kept, and shown to who may see it.

use crate::{launch::INIT, system::System};
use alloc::{rc::Rc, string::String, vec::Vec};
use capnp::{Error, capability};
use core::ops::Range;
use process_loader::{Content, Image};
use schema::{
    memory_capnp::Protection,
    process_capnp::{process, thread_evidence},
    supervisor_capnp::crash_evidence,
};
use supervision::{
    Ending, State, Supervision, Unit,
    crashes::{Crash, Kept, cause, trace},
};

impl System {
    /// Keeps what is known of the end of a process, unless it ended as it wanted to.
    pub(crate) async fn keep_evidence(&self, unit: Unit, process: &process::Client, ending: Ending) {
        if !self.look(|supervision| supervision.is_crash(unit, &ending)) {
            return;
        }
        let Some(mut crash) = self.look(|supervision| self.crash(supervision, unit, ending)) else { return };
        let code = self.binaries.image(crash.name_of_binary).map(|image| code(&image)).unwrap_or_default();
        match self.ask(process, &code, &mut crash.crash).await {
            Ok(()) => {}
            Err(error) => log::warn!("there is no evidence of this end: {}", error.extra),
        }
        // The same end may have been noticed twice meanwhile.
        if self.look(|supervision| supervision.state(unit)) == Some(State::Running(ending.id)) {
            self.crashes.borrow_mut().add(crash.crash);
        }
    }

    fn crash(&self, supervision: &Supervision, unit: Unit, ending: Ending) -> Option<Unasked<'_>> {
        let entry = self.manifest.entries.get(unit)?;
        let time = rt::now();
        let names = self.manifest.entries.iter().enumerate().filter_map(|(unit, entry)| {
            match supervision.state(unit)? {
                State::Running(id) => Some((id, entry.name.clone())),
                _ => None,
            }
        });
        let crash = Crash {
            number: 0,
            unit,
            name: entry.name.clone(),
            id: ending.id,
            time,
            lived: time.saturating_sub(supervision.started_at(unit).unwrap_or(time)),
            restarts: supervision.restarts(unit),
            cause: cause(&ending, supervision.reason(unit)),
            threads: Vec::new(),
            holdings: None,
            names: names.collect(),
            instruction: 0,
            trace: Vec::new(),
        };
        Some(Unasked { crash, name_of_binary: &entry.binary })
    }

    async fn ask(
        &self,
        process: &process::Client,
        code: &[Range<u64>],
        crash: &mut Crash,
    ) -> Result<(), Error> {
        let own = self.first.own_process.usage_request().send().promise.await?.get()?.get_id();
        crash.names.insert(0, (own, INIT.into()));
        let answer = process.holdings_request().send().promise.await?;
        let holdings = answer.get()?;
        crash.holdings =
            Some(Kept::new::<process::holdings_results::Owned>(holdings.total_size()?.word_count, holdings)?);
        let mut numbers: Vec<u32> =
            holdings.get_handles()?.iter().map(|handle| handle.get_server()).collect();
        numbers.extend(holdings.get_calls()?.iter().map(|call| call.get_process()));
        crash.names.retain(|(id, _)| numbers.contains(id));
        for thread in 0.. {
            let mut request = process.evidence_request();
            request.get().set_thread(thread);
            let answer = request.send().promise.await?;
            let answer = answer.get()?;
            let part = answer.get_thread()?;
            if thread == 0 {
                crash.instruction = part.get_instruction();
                crash.trace = trace(part, code)?;
            }
            crash.threads.push(Kept::new::<thread_evidence::Owned>(part.total_size()?.word_count, part)?);
            if thread.saturating_add(1) >= answer.get_threads() {
                break;
            }
        }
        Ok(())
    }
}

/// A crash of which the kernel has not been asked.
struct Unasked<'m> {
    crash: Crash,
    name_of_binary: &'m str,
}

/// The addresses of a program's code.
fn code(image: &Image) -> Vec<Range<u64>> {
    let executable = image.segments.iter().filter(|segment| {
        matches!(segment.content, Content::InPlace { protection: Protection::ReadExecute, .. })
    });
    let range = |address: u64, pages: u32| {
        // The image was checked to lie in the user half.
        address..address.saturating_add(u64::from(pages) * abi::PAGE_SIZE as u64)
    };
    executable.map(|segment| range(segment.address, segment.pages)).collect()
}

/// Shows all that is kept of crashes.
pub(crate) struct Evidence {
    system: Rc<System>,
}

impl Evidence {
    /// Of all processes of the system.
    pub(crate) fn new(system: Rc<System>) -> Self {
        Self { system }
    }
}

fn gone() -> Error {
    Error::failed("this crash is not kept any more".into())
}

impl crash_evidence::Server for Evidence {
    async fn thread(
        self: capability::Rc<Self>,
        parameters: crash_evidence::ThreadParams,
        mut results: crash_evidence::ThreadResults,
    ) -> Result<(), Error> {
        let parameters = parameters.get()?;
        let crashes = self.system.crashes.borrow();
        let crash = crashes.get(parameters.get_crash()).ok_or_else(gone)?;
        let thread = crash.threads.get(usize::from(parameters.get_thread()));
        let thread = thread.ok_or_else(|| Error::failed("no evidence of this thread".into()))?;
        results.get().set_thread(thread.get::<thread_evidence::Owned>()?)
    }

    async fn holdings(
        self: capability::Rc<Self>,
        parameters: crash_evidence::HoldingsParams,
        mut results: crash_evidence::HoldingsResults,
    ) -> Result<(), Error> {
        let crashes = self.system.crashes.borrow();
        let crash = crashes.get(parameters.get()?.get_crash()).ok_or_else(gone)?;
        let Some(holdings) = &crash.holdings else { return Ok(()) };
        let holdings = holdings.get::<process::holdings_results::Owned>()?;
        let mut results = results.get();
        results.set_kinds(holdings.get_kinds()?)?;
        results.set_handles(holdings.get_handles()?)?;
        results.set_calls(holdings.get_calls()?)?;
        write_names(&crash.names, results)
    }
}

/// Names that fit beside the rest of an answer.
const MAXIMUM_NAMES: usize = 24;

fn write_names(
    names: &[(u32, String)],
    results: crash_evidence::holdings_results::Builder<'_>,
) -> Result<(), Error> {
    let names = names.get(..MAXIMUM_NAMES).unwrap_or(names);
    let mut list = results.init_names(names.len() as u32);
    for (index, (id, name)) in (0..).zip(names) {
        let mut row = list.reborrow().get(index);
        row.set_id(*id);
        row.set_name(name);
    }
    Ok(())
}
