//! A machine under load, and one fault after the other in it.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::{
    accounts::Accounts,
    client::{Client, Ending},
    hook::{Hook, Load},
    outcome::{Found, Outcome},
    plan::{Fault, Injection, Random, Target},
};
use crate::{
    guest::Guest,
    qemu::{Iommu, Machine, Nic},
    smoke::{Context, block_kill, stream},
};

/// Time of the host for one injection.
const PATIENCE: Duration = Duration::from_secs(120);

/// Guest time after which a system that is not back is not coming back.
const BACK: Duration = Duration::from_secs(45);

/// Guest time in which a fault that shows at all has shown itself.
const WINDOW: Duration = Duration::from_millis(700);

/// Guest time that a process has lived before it is hit: init waits ever longer before it starts one again that lived
/// shorter than a second.
const LIFE: Duration = Duration::from_millis(1050);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Kills before anything is counted: what is made once and kept is not a loss.
const WARM_UP: u64 = 3;

/// Most words of a wild write.
const WORDS: u64 = 64;

/// Pages of the largest memory that is written to at a disk's driver: more is its clients' own, which it carries without a
/// copy. What it does to that only its clients can see.
const CLIENTS_PAGES: u64 = 200;

/// Bytes of a disk's block.
const BLOCK_BYTES: usize = 512;

/// Bytes of a stream, and requests of a disk, after which the load works again: more than all buffers on the way hold.
const STREAM_MOVES: u64 = 512 << 10;
const DISK_MOVES: u64 = 64;

/// What loads the target.
#[derive(Debug)]
enum Work {
    /// The client outside, on a connection.
    Stream(Client),
    /// A process inside, on this image.
    Disk(PathBuf),
}

/// A running machine.
pub struct Bench {
    guest: Guest,
    hook: Hook,
    work: Work,
    target: Target,
    lines: usize,
    /// When the target was last seen to be another process.
    born: Duration,
    _folder: TempDir,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Client")
    }
}

/// What a client found wrong.
#[derive(Debug)]
struct WrongData(String);

impl std::fmt::Display for WrongData {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WrongData {}

/// What is between driver and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Nothing: the manifest grants the device.
    Plain,
    /// The injector.
    Injector,
}

impl Wiring {
    /// What these faults need.
    pub fn of(injections: &[Injection]) -> Self {
        if injections.iter().any(|one| one.fault.needs_injector()) { Self::Injector } else { Self::Plain }
    }
}

fn manifest(target: Target, wiring: Wiring) -> String {
    let name = match target {
        Target::VirtioNet | Target::VirtioNetLegacy | Target::Netstack | Target::Uart => "net",
        disk => disk.process(),
    };
    let injector = if wiring == Wiring::Injector { "-injector" } else { "" };
    format!("manifests/tests/faults-{name}{injector}.capnp")
}

/// The machine of a target. What is spoiled in a modern device's queues meets an IOMMU.
fn machine(context: &mut Context, target: Target, wiring: Wiring, image: &Path) -> Result<Machine> {
    let mut machine = Machine::new(context.direct(&manifest(target, wiring))?);
    machine.iommu = if target == Target::VirtioNetLegacy { Iommu::None } else { Iommu::Intel };
    let devices: &[&str] = match target {
        Target::VirtioNet | Target::Netstack | Target::Uart => {
            machine.nic = Some(Nic::Modern);
            return Ok(machine);
        }
        Target::VirtioNetLegacy => {
            machine.nic = Some(Nic::Legacy);
            return Ok(machine);
        }
        Target::Nvme => &["nvme,serial=one,drive=drive0"],
        Target::VirtioBlk => &["virtio-blk-pci,drive=drive0,disable-legacy=on,iommu_platform=on"],
        Target::VirtioScsi => &[
            "virtio-scsi-pci,id=scsi0,disable-legacy=on,iommu_platform=on",
            "scsi-hd,bus=scsi0.0,drive=drive0",
        ],
    };
    block_kill::create_image(image, BLOCK_BYTES)?;
    machine.add_drive("drive0", image)?;
    for device in devices {
        machine.more.extend(["-device".into(), device.into()]);
    }
    Ok(machine)
}

impl Bench {
    /// Boots the target's machine and puts it under load.
    pub fn start(
        context: &mut Context,
        target: Target,
        wiring: Wiring,
        log: &Path,
        limit: Duration,
    ) -> Result<Self> {
        let folder = context.temporary()?;
        let image = folder.path().join("disk");
        let machine = machine(context, target, wiring, &image)?;
        let has_card = machine.nic.is_some();
        let ports: &[u16] = if has_card { &[stream::PORT] } else { &[] };
        let mut guest = Guest::start(machine, ports, log, Instant::now() + limit)?;
        let hook = Hook::new(guest.hook()?)?;
        let work = if has_card {
            guest.wait_for("stream: listening")?;
            let ending = if target == Target::Netstack { Ending::Expected } else { Ending::Failure };
            Work::Stream(Client::start(guest.address(stream::PORT)?, 0x5eed, ending))
        } else {
            Work::Disk(image)
        };
        let mut bench = Self { guest, hook, work, target, lines: 0, born: Duration::ZERO, _folder: folder };
        bench.hook.give(PATIENCE);
        bench.until_moving()?;
        Ok(bench)
    }

    /// Kills the target a few times, so that all that is kept once is there.
    pub fn warm_up(&mut self) -> Result<()> {
        for number in 0..WARM_UP {
            self.kill_once(number)?;
        }
        Ok(())
    }

    fn kill_once(&mut self, number: u64) -> Result<()> {
        let injection = Injection {
            index: number,
            target: self.target,
            fault: Fault::Kill,
            seed: number,
            delay: Duration::ZERO,
        };
        let found = self.inject(&injection)?;
        ensure!(found.outcome != Outcome::Failed, "a plain kill: {}", found.detail);
        Ok(())
    }

    /// What everybody has, while the target has just been started.
    pub fn accounts(&mut self) -> Result<Accounts> {
        self.kill_once(0)?;
        self.hook.give(PATIENCE);
        Accounts::settled(&mut self.hook, self.target.process())
    }

    /// Ends the machine and looks at what it left behind.
    pub fn finish(mut self) -> Result<()> {
        if let Work::Disk(image) = &self.work {
            self.guest.qmp()?.execute("quit", json!({}))?;
            self.guest.wait_exit()?;
            block_kill::check_image(&std::fs::read(image)?, BLOCK_BYTES)
                .context("the disk's image, as the host sees it")?;
        }
        Ok(())
    }

    /// An error in words, and that QEMU itself has ended, if it has.
    pub fn explain(&mut self, error: &anyhow::Error) -> String {
        match self.guest.exit_status() {
            Some(status) => format!("QEMU itself ended, {status}: {error:#}"),
            None => format!("{error:#}"),
        }
    }

    fn moves(&self) -> u64 {
        match self.work {
            Work::Stream(_) => STREAM_MOVES,
            Work::Disk(_) => DISK_MOVES,
        }
    }

    /// Waits until the load works.
    fn until_moving(&mut self) -> Result<()> {
        let first = self.load()?.moved;
        let until = Instant::now() + PATIENCE;
        while self.load()?.moved < first + self.moves() {
            ensure!(Instant::now() < until, "the load does not move");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The load, if neither it nor the client has found anything wrong.
    fn load(&mut self) -> Result<Load> {
        let load = self.hook.load()?;
        if !load.failure.is_empty() {
            return Err(WrongData(load.failure).into());
        }
        if let Work::Stream(client) = &self.work
            && let Some(failure) = client.failure()
        {
            return Err(WrongData(failure).into());
        }
        Ok(load)
    }

    /// Injects one fault and watches what becomes of it. Errors: what a client saw wrong, or that the system is not back.
    pub fn inject(&mut self, injection: &Injection) -> Result<Found> {
        self.hook.give(PATIENCE);
        self.lines = self.guest.lines().len();
        while self.hook.look(self.target.process())?.0 < self.born + LIFE {
            thread::sleep(LOOK);
        }
        thread::sleep(injection.delay);
        let before = self.hook.look(self.target.process())?.1;
        self.hook.order("mark")?;
        let what = match self.fault(injection) {
            Ok(what) => what,
            // Nothing to be hit: no interrupt comes, or the driver was not up.
            Err(error) => return Ok(Found::not_injected(format!("{error:#}"))),
        };
        let result = self.watch(injection, before.restarts);
        let recovery = match result {
            Ok(recovery) => recovery,
            // Streams lie in the network stack's memory for a while, and a disk's driver asks for whatever its memory says
            // by then. Frames have checksums.
            Err(error)
                if !matches!(self.target, Target::VirtioNet | Target::VirtioNetLegacy)
                    && injection.fault == Fault::Write
                    && error.downcast_ref::<WrongData>().is_some() =>
            {
                return Ok(Found::garbled(what, format!("{error:#}")));
            }
            Err(error) => return Ok(Found::failed(what, self.explain(&error))),
        };
        let lines = self.guest.lines();
        let lines = lines.get(self.lines..).unwrap_or_default();
        let found = Found::new(what, self.target.process(), lines, recovery);
        if injection.fault == Fault::Write && !found.outcome.restarts() {
            // What is spoiled and was not used yet would be taken for a later fault's doing.
            self.kill_once(injection.seed)?;
        }
        Ok(found)
    }

    fn fault(&mut self, injection: &Injection) -> Result<String> {
        let (process, seed) = (self.target.process(), injection.seed);
        match injection.fault {
            Fault::Kill => self.hook.order(&format!("kill {process}")).map(|_| "killed".into()),
            Fault::Hang => self.hook.order(&format!("pause {process}")).map(|_| "paused".into()),
            Fault::Write => self.wild_write(seed),
            other => self.hook.order(&format!("inject {} {seed}", other.name())),
        }
    }

    /// Writes random words to random places.
    fn wild_write(&mut self, seed: u64) -> Result<String> {
        let process = self.target.process();
        let places = self.writable(process)?;
        let total: u64 = places.iter().map(|(_, pages)| pages * 512).sum();
        ensure!(total > 0, "nothing of {process} can be written");
        let mut random = Random::new(seed);
        let words = 1 + random.below(WORDS);
        for number in 0..words {
            let mut place = random.below(total);
            for (address, pages) in &places {
                if place < pages * 512 {
                    let value = random.number().to_be();
                    let at = address + place * 8;
                    // After the first, the process may have died of it.
                    match self.hook.order(&format!("write {process} {at:x} {value:016x}")) {
                        Err(_) if number > 0 => return Ok(format!("{number} of {words} words")),
                        Err(error) => return Err(error),
                        Ok(_) => break,
                    }
                }
                place -= pages * 512;
            }
        }
        Ok(format!("{words} words"))
    }

    /// Start and pages of what a process may write.
    fn writable(&mut self, process: &str) -> Result<Vec<(u64, u64)>> {
        let mut places = Vec::new();
        let mut from = String::from("0");
        loop {
            let answer = self.hook.order(&format!("mappings {process} {from}"))?;
            for part in answer.split(' ') {
                if let Some(next) = part.strip_prefix("next=") {
                    from = next.to_owned();
                    continue;
                }
                let mut parts = part.split('/');
                let (address, pages, protection) = (parts.next(), parts.next(), parts.next());
                let (Some(address), Some(pages)) = (address, pages) else { continue };
                let pages: u64 = pages.parse()?;
                let lent = matches!(self.work, Work::Disk(_)) && pages > CLIENTS_PAGES;
                if protection == Some("rw") && parts.next().is_none() && !lent {
                    places.push((u64::from_str_radix(address, 16)?, pages));
                }
            }
            if from.trim_start_matches('0').is_empty() {
                return Ok(places);
            }
        }
    }

    /// Waits until the fault has shown itself and is over, or has not shown itself; how long the load stood still.
    fn watch(&mut self, injection: &Injection, restarts: u32) -> Result<Duration> {
        let process = self.target.process();
        let must_restart = matches!(injection.fault, Fault::Kill | Fault::Hang);
        let (begin, _) = self.hook.look(process)?;
        // What the load had moved when the target was last seen to be well.
        let mut well: Option<(u32, u64)> = None;
        let mut back = Duration::ZERO;
        loop {
            let (now, state) = self.hook.look(process)?;
            let load = self.load()?;
            let passed = now.saturating_sub(begin);
            ensure!(state.state != "failed" && state.state != "stopped", "init gave {process} up");
            let shown = state.restarts != restarts || (!must_restart && passed >= WINDOW);
            match well {
                _ if state.state != "running" || !shown => well = None,
                Some((life, moved)) if life == state.restarts => {
                    // Each way has moved since, too.
                    if load.moved >= moved + self.moves() && back + load.present <= passed {
                        return Ok(if self.target == Target::Uart { back } else { load.longest });
                    }
                }
                _ => {
                    well = Some((state.restarts, load.moved));
                    back = passed;
                    if state.restarts != restarts {
                        self.born = now;
                    }
                }
            }
            ensure!(passed < BACK, "not back after {passed:?}: {process} is {}, {load:?}", state.state);
            thread::sleep(LOOK);
        }
    }
}
