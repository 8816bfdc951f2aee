//! A decoded manifest: the types of `schema/manifest.capnp` as owned values.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// Which processes run, with which quotas, and who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the manifest.
    pub name: String,
    /// The processes, in the order in which they are written.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Index of the entry with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, unique in the manifest.
    pub name: String,
    /// Name of its binary in the boot package.
    pub binary: String,
    /// What it is told at its start.
    pub arguments: Vec<Argument>,
    /// Its priority, and the highest of its threads.
    pub priority: u8,
    /// The most that it may have.
    pub quotas: Quotas,
    /// The capabilities that it starts with, besides those that every process has.
    pub grants: Vec<Grant>,
    /// Names of what it offers to others.
    pub exports: Vec<String>,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// How often it is to show that it lives, in milliseconds; 0: never.
    pub heartbeat_milliseconds: u32,
}

impl Entry {
    /// The exports of other processes that it must have before it can start.
    pub fn needs(&self) -> impl Iterator<Item = &Export> {
        self.grants.iter().filter_map(|grant| match &grant.source {
            Source::Export(export) if export.presence == Presence::Required => Some(export),
            _ => None,
        })
    }
}

/// A named text for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Name, unique in the entry.
    pub name: String,
    /// Value.
    pub value: String,
}

/// The most that a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Memory, in frames of 4 KiB.
    pub frames: u32,
    /// Entries of its handle table.
    pub handles: u16,
    /// Threads.
    pub threads: u16,
    /// Pinned device memory, in pages of 4 KiB.
    pub dma_pages: u32,
}

/// One capability that a process starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name in the process, unique there.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where a granted capability comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Another process exports it.
    Export(Export),
    /// One PCI function.
    Device(DeviceMatch),
    /// A range of I/O ports.
    Ports(PortRange),
    /// An ISA interrupt line.
    IsaInterrupt(u8),
    /// One of the kernel's own objects.
    Kernel(KernelObject),
    /// What init itself offers.
    Supervisor(SupervisorPart),
}

/// An export of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The process that exports.
    pub process: String,
    /// The name under which it does.
    pub name: String,
    /// Whether the holder waits for it before it starts.
    pub presence: Presence,
    /// What becomes of the holder when the exporter ends.
    pub fate: Fate,
}

/// What becomes of the holder of an export when the process that exports it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives on, and reconnects.
    LivesOn,
    /// It is ended, and started again with the exporter.
    WithProvider,
}

/// A rule that picks one PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceMatch {
    /// Vendor, or `None` for any.
    pub vendor: Option<u16>,
    /// Device numbers of that vendor, or empty for any; sorted.
    pub devices: Vec<u16>,
    /// Class, subclass and programming interface, or `None` for any.
    pub class: Option<u32>,
    /// Which of the functions that fit, in address order.
    pub index: u16,
    /// Whether the process starts without it when the machine has none.
    pub presence: Presence,
    /// What the driver may do with DMA.
    pub dma: DmaMode,
}

/// Whether a process needs a device, or an export of another process, to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It cannot start without.
    Required,
    /// It starts without when there is none.
    Optional,
}

impl DeviceMatch {
    /// Whether a function with these identifiers fits; `index` is not looked at.
    pub fn fits(&self, vendor: u16, device: u16, class: u32) -> bool {
        self.vendor.is_none_or(|wanted| wanted == vendor)
            && (self.devices.is_empty() || self.devices.contains(&device))
            && self.class.is_none_or(|wanted| wanted == class)
    }

    /// Whether both rules pick the same function on every machine.
    pub fn same_function(&self, other: &Self) -> bool {
        (self.vendor, &self.devices, self.class, self.index)
            == (other.vendor, &other.devices, other.class, other.index)
    }
}

impl fmt::Display for DeviceMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vendor {
            Some(vendor) => write!(formatter, "vendor {vendor:#06x}")?,
            None => formatter.write_str("any vendor")?,
        }
        for (index, device) in self.devices.iter().enumerate() {
            let lead = if index == 0 { ", device " } else { " or " };
            write!(formatter, "{lead}{device:#06x}")?;
        }
        if let Some(class) = self.class {
            write!(formatter, ", class {class:#08x}")?;
        }
        if self.index != 0 {
            write!(formatter, ", index {}", self.index)?;
        }
        Ok(())
    }
}

/// What a driver may do with DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaMode {
    /// None: bus master stays off.
    None,
    /// Only behind an IOMMU.
    Isolated,
    /// Also without an IOMMU, where the driver can reach all memory.
    Trusted,
}

impl fmt::Display for DmaMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Isolated => "isolated",
            Self::Trusted => "trusted",
        })
    }
}

/// A range of I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Number of ports.
    pub count: u16,
}

impl PortRange {
    /// The port behind the last one.
    pub fn end(self) -> u32 {
        u32::from(self.first) + u32::from(self.count)
    }

    /// Whether a port lies in both.
    pub fn overlaps(self, other: Self) -> bool {
        u32::from(self.first) < other.end() && u32::from(other.first) < self.end()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end().checked_sub(1) {
            Some(last) if self.count > 1 => write!(formatter, "ports {:#x}-{last:#x}", self.first),
            _ => write!(formatter, "port {:#x}", self.first),
        }
    }
}

/// One of the kernel's own objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelObject {
    /// Writes the log.
    LogWriter,
    /// Reads the log.
    KernelLog,
    /// Read-only inventories.
    SystemInfo,
    /// Monotonic time.
    Clock,
    /// Reboot and halt.
    Power,
    /// The right to make processes.
    ProcessManager,
    /// The PCI functions, and the right to claim them.
    PciInventory,
}

impl fmt::Display for KernelObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LogWriter => "LogWriter",
            Self::KernelLog => "KernelLog",
            Self::SystemInfo => "SystemInfo",
            Self::Clock => "Clock",
            Self::Power => "Power",
            Self::ProcessManager => "ProcessManager",
            Self::PciInventory => "PciInventory",
        })
    }
}

/// What init itself offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SupervisorPart {
    /// States, restarts and grants of all processes.
    Status,
    /// The right to kill processes.
    Control,
    /// The boot package.
    BootPackage,
    /// The PCI functions, without the right to claim them.
    PciList,
    /// The right to end all processes in order, and then the machine.
    Shutdown,
    /// What processes that crashed had in registers and memory.
    Evidence,
}

impl fmt::Display for SupervisorPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Status => "SupervisorStatus",
            Self::Control => "SupervisorControl",
            Self::BootPackage => "boot package",
            Self::PciList => "PciInventory (list only)",
            Self::Shutdown => "Power (in order)",
            Self::Evidence => "CrashEvidence",
        })
    }
}

/// What happens when a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// When it is started again.
    pub kind: RestartKind,
    /// Restarts in `window_seconds` before init gives up.
    pub maximum: u16,
    /// Length of the window, in seconds.
    pub window_seconds: u16,
    /// Wait before the first restart, in milliseconds.
    pub back_off_milliseconds: u16,
}

/// After which ends a process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartKind {
    /// After every end.
    Always,
    /// After every end but an exit with code 0.
    OnFailure,
    /// Never.
    Never,
}
