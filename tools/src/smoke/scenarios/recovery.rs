//! Killed processes come back, and nothing is lost by it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::live;
use crate::{
    guest::Channel,
    qemu::{Iommu, Machine, Nic},
    smoke::{Context, Scenario},
};

/// Times that each process is killed in a row.
const KILLS: usize = 10;

/// Guest time in which the page must be back.
const BACK: Duration = Duration::from_secs(2);

/// How long a client waits for one answer while its server may be dying.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections of a crowd: more than the kills leave behind.
const CROWD: usize = 16;

/// How long the network stack keeps a connection whose client and peer are gone (its `ORPHAN_TIMEOUT`), and a little more.
const LINGERS: Duration = Duration::from_secs(32);

/// Between two looks at what the processes have.
const LOOK: Duration = Duration::from_millis(500);

/// Frames that the kernel's own heap may keep more or fewer of.
const SLACK: u64 = 8;

/// Calls that a process may have made more in the second row: its runtime keeps as many as were ever in flight at
/// once, a handle and a page each. What is lost with each kill would be [`KILLS`] of them.
const KEPT_CALLS: u64 = 4;

/// Looks that must show the same before it counts as settled.
const SAME: usize = 4;

/// Processes whose usage must be what it was.
const PROCESSES: [&str; 4] = ["virtio-net", "netstack", "remote-session-web-ui", "init"];

/// One scenario for each process that dies.
pub fn scenarios() -> Vec<Scenario> {
    [("netstack", Nic::Modern), ("virtio-net", Nic::Modern), ("virtio-net", Nic::Legacy)]
        .into_iter()
        .map(|(process, nic)| {
            let name = format!("recovery-{process}-{}", format!("{nic:?}").to_lowercase());
            Scenario::new(name, "a killed process is back in time, with nothing lost", 300, move |context| {
                recover(context, process, nic, Iommu::None)
            })
        })
        .collect()
}

/// Kills a process again and again, and looks for what is lost by it.
pub fn recover(context: &mut Context, process: &str, nic: Nic, iommu: Iommu) -> Result<()> {
    let mut machine = Machine::new(context.direct("manifests/tests/hook.capnp")?);
    (machine.nic, machine.iommu) = (Some(nic), iommu);
    let (mut guest, address) = live::start(context, machine)?;
    let mut hook = Hook { channel: guest.hook()? };
    hook.channel.wait_for("hook ready")?;
    // What is made once and kept is not a loss: the first row of kills and a crowd come before anything is counted.
    let downloads = Downloads::start(address);
    hook.kill_in_a_row(process, address, &downloads, context.deadline())?;
    downloads.stop()?;
    crowd(address)?;
    hook.fresh_usage(process, address, context.deadline())?;
    hook.wait(LINGERS, context.deadline())?;
    let before = hook.settled(context.deadline())?;
    let downloads = Downloads::start(address);
    let longest = hook.kill_in_a_row(process, address, &downloads, context.deadline())?;
    let finished = downloads.stop()?;
    println!("  back after at most {longest:?} of guest time, {finished} downloads finished meanwhile");
    let mut after = hook.fresh_usage(process, address, context.deadline())?;
    if ensure_same(&before, &after, process).is_err() {
        hook.wait(LINGERS, context.deadline())?;
        after = hook.settled(context.deadline())?;
    }
    ensure_same(&before, &after, process)
        .with_context(|| format!("something was lost\n  {before:?}\n  {after:?}"))
}

/// More connections at once, beside those that rest: the network stack keeps the memory of as many as it has ever had together,
/// and kills leave now more and now fewer behind for a while.
fn crowd(address: SocketAddr) -> Result<()> {
    // QEMU's user network lets hardly any connection wait, so that some are tried again after a second.
    let patience = 10 * PATIENCE;
    let clients = (0..CROWD).map(|_| live::connect(address, patience)).collect::<Result<Vec<_>>>()?;
    drop(clients);
    Ok(())
}

/// What the system has, while one process has just been started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Usage {
    /// What the hook says of each process.
    processes: BTreeMap<&'static str, String>,
    /// Free frames of the machine.
    free: u64,
}

/// Whether the processes that lived on have what they had, and so has the machine. The young one may have served a
/// client more or less; what it has is not free, and back with its death.
fn ensure_same(before: &Usage, after: &Usage, young: &str) -> Result<()> {
    let frames = |usage: &Usage| -> Result<u64> {
        let young = usage.processes.values().map(|words| number(words, "frames")).sum::<Result<u64>>()?;
        Ok(usage.free + young)
    };
    for (process, was) in &before.processes {
        let is = after.processes.get(process).context("a process is missing")?;
        let all = ["handles", "threads", "dma-pages", "frames"];
        for what in all.iter().filter(|what| *process != young || **what != "frames") {
            let kept = if matches!(*what, "handles" | "frames") { KEPT_CALLS } else { 0 };
            ensure!(number(was, what)?.abs_diff(number(is, what)?) <= kept, "{process}: {was}, then {is}");
        }
    }
    let (was, is) = (frames(before)?, frames(after)?);
    ensure!(was.abs_diff(is) <= SLACK, "the machine had {was} frames free or in processes, then {is}");
    Ok(())
}

/// The number behind a name in the hook's answer.
fn number(words: &str, name: &str) -> Result<u64> {
    let word = words.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Ok(word.with_context(|| format!("no {name} in {words:?}"))?.parse()?)
}

/// The test hook in the guest.
struct Hook {
    channel: Channel,
}

impl Hook {
    /// The words of the answer of the order `status`, by name.
    fn status(&mut self) -> Result<BTreeMap<String, String>> {
        let answer = self.channel.order("status")?;
        let words = answer.split(' ').filter_map(|word| word.split_once('='));
        Ok(words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn uptime(&mut self) -> Result<Duration> {
        let status = self.status()?;
        Ok(Duration::from_nanos(status.get("uptime-ns").context("no uptime")?.parse()?))
    }

    fn restarts(&mut self, process: &str) -> Result<u32> {
        let status = self.status()?;
        let row = status.get(process).with_context(|| format!("no process {process}"))?;
        Ok(row.split('/').nth(1).context("no count of restarts")?.parse()?)
    }

    /// Kills a process; returns the guest time until the page answered again.
    fn kill_and_wait(&mut self, process: &str, address: SocketAddr, deadline: Instant) -> Result<Duration> {
        let restarts = self.restarts(process)?;
        let killed = self.uptime()?;
        self.channel.order(&format!("kill {process}"))?;
        live::wait_healthy(address, deadline)
            .with_context(|| format!("after {process} was killed for the {}. time", restarts + 1))?;
        let took = self.uptime()?.saturating_sub(killed);
        let now = self.restarts(process)?;
        ensure!(now == restarts + 1, "{process} was restarted {} times by one kill", now - restarts);
        Ok(took)
    }

    /// Waits for so much guest time.
    fn wait(&mut self, time: Duration, deadline: Instant) -> Result<()> {
        let until = self.uptime()? + time;
        while self.uptime()? < until {
            ensure!(Instant::now() < deadline, "the guest's time stands still");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn usage(&mut self) -> Result<Usage> {
        let mut processes = BTreeMap::new();
        for process in PROCESSES {
            processes.insert(process, self.channel.order(&format!("usage {process}"))?);
        }
        let free = self.status()?.get("free-frames").context("no free frames")?.parse()?;
        Ok(Usage { processes, free })
    }

    /// Kills a process again and again; returns the longest guest time until the page was back.
    fn kill_in_a_row(
        &mut self,
        process: &str,
        address: SocketAddr,
        downloads: &Downloads,
        deadline: Instant,
    ) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        for round in 0..KILLS {
            let seen = downloads.count();
            let took = self.kill_and_wait(process, address, deadline)?;
            longest = longest.max(took);
            ensure!(took <= BACK, "round {round}: the page was back after {took:?} of guest time");
            downloads.wait_more(seen, deadline)?;
        }
        Ok(longest)
    }

    /// Waits until nothing changes any more: connections that were closed linger for a while.
    fn settled(&mut self, deadline: Instant) -> Result<Usage> {
        let mut last = self.usage()?;
        let mut same = 0;
        while same < SAME {
            ensure!(Instant::now() < deadline, "the usage does not settle: {last:?}");
            thread::sleep(LOOK);
            let now = self.usage()?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    /// What the system has while the process is as young as it was the last time: how much memory a process keeps
    /// depends on what it has served.
    fn fresh_usage(&mut self, process: &str, address: SocketAddr, deadline: Instant) -> Result<Usage> {
        self.settled(deadline)?;
        self.kill_and_wait(process, address, deadline)?;
        self.settled(deadline)
    }
}

/// A client that downloads in a loop.
struct Downloads {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Downloads {
    fn start(address: SocketAddr) -> Self {
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&count), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // One that its server's death cuts off is what this is for.
                if live::get(address, "/", PATIENCE).is_ok_and(|response| response.status == 200) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { count, stop, thread }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until a download that started after `seen` were counted has finished.
    fn wait_more(&self, seen: u64, deadline: Instant) -> Result<()> {
        // One may have been under way.
        while self.count() < seen + 2 {
            ensure!(Instant::now() < deadline, "the client cannot download any more");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            bail!("the client panicked");
        }
        Ok(self.count.load(Ordering::Relaxed))
    }
}
