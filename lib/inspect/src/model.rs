//! One snapshot of the system as plain data. The field names are those of the JSON at `/api/state`.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

/// The system at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// The machine and its kernel.
    pub summary: Option<Summary>,
    /// The processors, by index.
    pub processors: Vec<Processor>,
    /// The processes: those of the manifest in its order, then others that the kernel knows.
    pub processes: Vec<Process>,
    /// Memory objects that two processes hold: indices into `processes`, and how many there are.
    pub shared: Vec<(usize, usize, usize)>,
    /// Crashes that are remembered, the oldest first.
    pub crashes: Vec<crate::crashes::Crash>,
    /// PCI functions.
    pub devices: Vec<Device>,
    /// The network interface.
    pub network: Option<Network>,
    /// What could not be seen.
    pub absent: Vec<Absent>,
    /// Which lists are longer than what is shown of them.
    pub truncated: Vec<&'static str>,
}

/// The machine and its kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Version of capOS.
    pub version: String,
    /// Source commit.
    pub commit: String,
    /// Name of the boot manifest, empty when it is not known.
    pub manifest: String,
    /// What loaded the kernel.
    pub boot_loader: String,
    /// What machine it runs on.
    pub machine: String,
    /// Processors in use.
    pub processors: u32,
    /// Memory in 4 KiB pages.
    pub memory_frames: u64,
    /// Free memory in pages.
    pub free_frames: u64,
    /// Memory of the kernel itself in pages.
    pub kernel_frames: u64,
    /// Time since the kernel started its clock.
    pub uptime_microseconds: u64,
    /// What measures time.
    pub clock_source: String,
    /// What wakes at deadlines.
    pub clock_event: String,
    /// What keeps devices from memory that is not theirs; "direct" is nothing.
    pub dma_mode: String,
}

/// One processor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Processor {
    /// Its number in the kernel.
    pub index: u32,
    /// Number of its local APIC.
    pub apic_id: u32,
    /// Time that it had nothing to do.
    pub idle_microseconds: u64,
    /// Interrupts that it took.
    pub interrupts: u64,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Process {
    /// Its name in the manifest.
    pub name: String,
    /// The kernel's number of it, 0 while it does not run.
    pub id: u32,
    /// What it is doing, as init or else the kernel sees it.
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u32,
    /// Its last fault or failure, in words.
    pub problem: String,
    /// Processor time that it has used, in microseconds; `None` when it is not known.
    pub cpu: Option<u64>,
    /// Memory in 4 KiB pages: used, and the most that it may.
    pub frames: (u32, u32),
    /// Handles: used, and the most that it may.
    pub handles: (u16, u16),
    /// Threads: used, and the most that it may.
    pub threads: (u16, u16),
    /// Pages that devices reach: used, and the most that it may.
    pub dma: (u32, u32),
    /// What the manifest grants it.
    pub grants: Vec<Grant>,
    /// What it offers to others.
    pub exports: Vec<String>,
    /// What is in its handle table now.
    pub holds: Vec<Holding>,
}

/// A capability that the manifest grants: its name, who gives it, and what it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Grant(pub String, pub String, pub String);

/// Handles of one kind to one target, and how many they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Holding(pub &'static str, pub Target, pub u32);

/// What a handle leads to, besides its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// The process itself or one that serves it: its index.
    Process(usize),
    /// A device, by its address.
    Device(String),
    /// Nothing that has a name.
    Unnamed,
}

/// One PCI function.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `bus:device.function` in hexadecimal, with the segment before it when that is not 0.
    pub address: String,
    /// Vendor number.
    pub vendor: u16,
    /// Device number.
    pub device: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
    /// The best kind of interrupt that it offers.
    pub interrupt_kind: &'static str,
    /// How many interrupts of that kind.
    pub interrupt_count: u16,
    /// Index of the process that drives it.
    pub driver: Option<usize>,
    /// Whether it is claimed, also between two runs of its driver.
    pub claimed: bool,
}

/// The network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Whether the cable is in.
    pub link_up: bool,
    /// Whether its driver answers.
    pub nic_connected: bool,
    /// Bytes of the largest packet.
    pub mtu: u16,
    /// Address and prefix length, empty while there is none.
    pub address: String,
    /// Where the address is from.
    pub source: &'static str,
    /// What is left of the lease.
    pub lease_seconds: u32,
    /// Destination and gateway; the gateway is empty for a destination on the link.
    pub routes: Vec<(String, String)>,
    /// Name servers.
    pub dns_servers: Vec<String>,
    /// TCP sockets in use.
    pub tcp_sockets: u16,
    /// UDP sockets in use.
    pub udp_sockets: u16,
    /// What has passed and what was lost.
    pub counters: Counters,
}

/// Counts since the driver started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Frames received.
    pub received_frames: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent_frames: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Frames that the driver refused.
    pub receive_errors: u64,
    /// Requests to send that the driver refused.
    pub send_errors: u64,
    /// Interrupts of the device.
    pub interrupts: u64,
    /// Frames that the stack refused.
    pub dropped_frames: u64,
}

/// A part of the picture that is missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Absent {
    /// Which part.
    pub what: &'static str,
    /// Why.
    pub why: String,
}
