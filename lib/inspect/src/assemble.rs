//! Puts what several services say about the same processes together.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::crashes::Crash;
use super::decode::{Handle, KernelProcess, PciFunction, SupervisedProcess, pci_name};
use super::limits::{MAXIMUM_DEVICES, MAXIMUM_HOLDINGS, MAXIMUM_PROCESSES};
use super::model::{Absent, Device, Holding, Network, Process, Processor, Snapshot, Summary, Target};

/// What was gathered for one snapshot, as it came.
#[derive(Default)]
pub struct Gathered {
    /// The machine and its kernel.
    pub summary: Option<Summary>,
    /// Processors.
    pub processors: Vec<Processor>,
    /// Processes as init sees them, in the manifest's order.
    pub supervised: Vec<SupervisedProcess>,
    /// Processes as the kernel sees them.
    pub kernel: Vec<KernelProcess>,
    /// Their handle tables.
    pub holdings: Holdings,
    /// Crashes that are remembered, the oldest first.
    pub crashes: Vec<Crash>,
    /// PCI functions.
    pub devices: Vec<PciFunction>,
    /// The network interface.
    pub network: Option<Network>,
    /// What could not be asked.
    pub absent: Vec<Absent>,
    /// Lists of which only a part was asked for.
    pub truncated: Vec<&'static str>,
}

/// The handle tables of all processes, counted as they are read.
#[derive(Default)]
pub struct Holdings {
    /// (holder, kind, what it leads to) and how many.
    counts: BTreeMap<(u32, &'static str, Leads), u32>,
    /// (object, holder) of memory objects.
    memory: BTreeMap<(u64, u32), ()>,
}

/// What a handle leads to, by the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leads {
    Process(u32),
    Device(u64),
    Nowhere,
}

impl Holdings {
    /// Takes one handle of the process `holder`.
    pub fn add(&mut self, holder: u32, handle: &Handle) {
        let leads = match handle.kind {
            "facet" | "process" | "thread" => Leads::Process(handle.server),
            "pciFunction" => Leads::Device(handle.badge),
            _ => Leads::Nowhere,
        };
        let count = self.counts.entry((holder, handle.kind, leads)).or_default();
        *count = count.saturating_add(1);
        if handle.kind == "memoryObject" {
            self.memory.insert((handle.object, holder), ());
        }
    }
}

impl Gathered {
    /// Notes that `what` could not be had.
    pub fn note_absent(&mut self, what: &'static str, why: String) {
        self.absent.push(Absent { what, why });
    }

    /// Notes that there is more of `list` than was gathered.
    pub fn note_truncated(&mut self, list: &'static str) {
        note_once(&mut self.truncated, list);
    }

    /// The snapshot.
    pub fn assemble(self) -> Snapshot {
        let mut truncated = self.truncated;
        let mut note = |list, cut: bool| {
            if cut {
                note_once(&mut truncated, list);
            }
        };
        note("grants", self.supervised.iter().any(|process| process.truncated));
        let mut processes = merge(self.supervised, self.kernel);
        note("processes", processes.len() > MAXIMUM_PROCESSES);
        processes.truncate(MAXIMUM_PROCESSES);

        let index: BTreeMap<u32, usize> =
            processes.iter().enumerate().filter(|(_, it)| it.id != 0).map(|(i, it)| (it.id, i)).collect();
        for ((holder, kind, leads), count) in &self.holdings.counts {
            let Some(process) = index.get(holder).and_then(|holder| processes.get_mut(*holder)) else {
                continue;
            };
            if process.holds.len() == MAXIMUM_HOLDINGS {
                note("holdings", true);
                continue;
            }
            let target = match leads {
                Leads::Process(id) => index.get(id).map_or(Target::Unnamed, |index| Target::Process(*index)),
                Leads::Device(address) => Target::Device(pci_name(*address)),
                Leads::Nowhere => Target::Unnamed,
            };
            process.holds.push(Holding(kind, target, *count));
        }
        let mut shared = shared(&self.holdings.memory, &index);
        note("shared", shared.len() > MAXIMUM_HOLDINGS);
        shared.truncate(MAXIMUM_HOLDINGS);

        note("devices", self.devices.len() > MAXIMUM_DEVICES);
        let devices = self.devices.into_iter().take(MAXIMUM_DEVICES);
        Snapshot {
            summary: self.summary,
            processors: self.processors,
            processes,
            shared,
            crashes: self.crashes,
            devices: devices.map(|device| describe(&device, &index)).collect(),
            network: self.network,
            absent: self.absent,
            truncated,
        }
    }
}

fn note_once(lists: &mut Vec<&'static str>, list: &'static str) {
    if !lists.contains(&list) {
        lists.push(list);
    }
}

/// Joins both views of each process by the kernel's number; init's order and state come first.
fn merge(supervised: Vec<SupervisedProcess>, kernel: Vec<KernelProcess>) -> Vec<Process> {
    let mut by_id: BTreeMap<u32, KernelProcess> = kernel.into_iter().map(|it| (it.id, it)).collect();
    let mut processes = Vec::new();
    for known in supervised {
        let mut process = match by_id.remove(&known.id) {
            Some(kernel) => from_kernel(kernel),
            None => Process::default(),
        };
        process.name = known.name;
        process.id = known.id;
        process.state = known.state;
        process.restarts = known.restarts;
        process.problem = known.problem;
        process.grants = known.grants;
        process.exports = known.exports;
        processes.push(process);
    }
    processes.extend(by_id.into_values().map(from_kernel));
    processes
}

fn from_kernel(kernel: KernelProcess) -> Process {
    Process {
        name: kernel.name,
        id: kernel.id,
        state: kernel.cause,
        cpu: Some(kernel.cpu),
        frames: kernel.frames,
        handles: kernel.handles,
        threads: kernel.threads,
        dma: kernel.dma,
        ..Process::default()
    }
}

/// Pairs of processes that hold the same memory objects. A chain through one object counts neighbours only,
/// so that the work is bounded by the number of handles.
fn shared(memory: &BTreeMap<(u64, u32), ()>, index: &BTreeMap<u32, usize>) -> Vec<(usize, usize, usize)> {
    let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for ((object, holder), (next_object, next)) in memory.keys().zip(memory.keys().skip(1)) {
        let (Some(one), Some(two)) = (index.get(holder), index.get(next)) else { continue };
        if object == next_object {
            *pairs.entry((*one.min(two), *one.max(two))).or_default() += 1;
        }
    }
    pairs.into_iter().map(|((one, two), count)| (one, two, count)).collect()
}

fn describe(device: &PciFunction, index: &BTreeMap<u32, usize>) -> Device {
    Device {
        address: pci_name(device.address),
        vendor: device.vendor,
        device: device.device,
        class: device.class,
        interrupt_kind: device.interrupt_kind,
        interrupt_count: device.interrupt_count,
        driver: index.get(&device.owner).copied(),
        claimed: device.claimed,
    }
}
