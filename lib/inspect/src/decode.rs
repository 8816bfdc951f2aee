//! From messages to plain data. Every text is cut, every list bounded; what a newer peer says that this
//! program does not know is called unknown.

use alloc::{format, string::String, vec::Vec};

use capnp::Error;
use schema::{
    device_capnp::{InterruptKind, pci_address, pci_function_info},
    network_capnp::{AddressSource, interface_status},
    process_capnp::ExitCause,
    supervisor_capnp::{ProcessState, process_status},
    system_capnp::{ObjectKind, handle_info, process_info, processor_info, system_info},
};

use super::limits::{MAXIMUM_GRANTS, MAXIMUM_ROUTES, MAXIMUM_TEXT};
use super::model::{Counters, Grant, Network, Processor, Summary};

/// A process as the kernel sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelProcess {
    /// The kernel's number.
    pub id: u32,
    /// The name that its maker gave it.
    pub name: String,
    /// Whether it runs, or how it ended.
    pub cause: &'static str,
    /// Processor time in microseconds.
    pub cpu: u64,
    /// Memory in pages: used, quota.
    pub frames: (u32, u32),
    /// Handles: used, quota.
    pub handles: (u16, u16),
    /// Threads: used, quota.
    pub threads: (u16, u16),
    /// DMA pages: used, quota.
    pub dma: (u32, u32),
}

/// A process as init sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupervisedProcess {
    /// Its name in the manifest.
    pub name: String,
    /// The kernel's number, 0 for none.
    pub id: u32,
    /// What init is doing with it.
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u32,
    /// Its last problem in words.
    pub problem: String,
    /// Its grants.
    pub grants: Vec<Grant>,
    /// Its exports.
    pub exports: Vec<String>,
    /// Whether there are more grants or exports than these.
    pub truncated: bool,
}

/// One entry of a handle table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// What it leads to.
    pub kind: &'static str,
    /// Number of the object.
    pub object: u64,
    /// For facets, processes and threads: the process behind them.
    pub server: u32,
    /// For PCI functions: their address.
    pub badge: u64,
}

/// A PCI function, and the kernel's number of its owner.
#[derive(Clone, Debug, PartialEq)]
pub struct PciFunction {
    /// `segment << 16 | bus << 8 | device << 3 | function`.
    pub address: u64,
    /// Vendor number.
    pub vendor: u16,
    /// Device number.
    pub device: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
    /// The best kind of interrupt.
    pub interrupt_kind: &'static str,
    /// How many of them.
    pub interrupt_count: u16,
    /// Process that holds it, 0 for none.
    pub owner: u32,
    /// Whether it is claimed.
    pub claimed: bool,
}

/// Name of what is not in the schema that this program was built with.
const UNKNOWN: &str = "unknown";

/// The machine and its kernel.
pub fn summary(from: system_info::summary_results::Reader<'_>) -> Result<Summary, Error> {
    Ok(Summary {
        version: text(from.get_version()?),
        commit: text(from.get_commit()?),
        manifest: String::new(),
        boot_loader: text(from.get_boot_loader()?),
        machine: text(from.get_machine()?),
        processors: from.get_processors(),
        memory_frames: from.get_memory_frames(),
        free_frames: from.get_free_frames(),
        kernel_frames: from.get_kernel_frames(),
        uptime_microseconds: from.get_uptime_nanoseconds() / 1000,
        clock_source: text(from.get_clock_source()?),
        clock_event: text(from.get_clock_event()?),
        dma_mode: text(from.get_dma_mode()?),
    })
}

/// One processor.
pub fn processor(from: processor_info::Reader<'_>) -> Processor {
    Processor {
        index: from.get_index(),
        apic_id: from.get_apic_id(),
        idle_microseconds: from.get_idle_nanoseconds() / 1000,
        interrupts: from.get_interrupts(),
    }
}

/// One process as the kernel sees it.
pub fn kernel_process(from: process_info::Reader<'_>) -> Result<KernelProcess, Error> {
    let (usage, quota) = (from.get_usage()?, from.get_quota()?);
    Ok(KernelProcess {
        id: from.get_id(),
        name: text(from.get_name()?),
        cause: match from.get_cause() {
            Ok(ExitCause::Running) => "running",
            Ok(ExitCause::Exited) => "exited",
            Ok(ExitCause::Fault) => "faulted",
            Ok(ExitCause::Killed) => "killed",
            Err(_) => UNKNOWN,
        },
        cpu: usage.get_processor_nanoseconds() / 1000,
        frames: (usage.get_frames(), quota.get_frames()),
        handles: (usage.get_handles(), quota.get_handles()),
        threads: (usage.get_threads(), quota.get_threads()),
        dma: (usage.get_dma_pages(), quota.get_dma_pages()),
    })
}

/// One process as init sees it.
pub fn supervised_process(from: process_status::Reader<'_>) -> Result<SupervisedProcess, Error> {
    let (grants, exports) = (from.get_grants()?, from.get_exports()?);
    Ok(SupervisedProcess {
        name: text(from.get_name()?),
        id: from.get_id(),
        state: match from.get_state() {
            Ok(ProcessState::Waiting) => "waiting",
            Ok(ProcessState::Running) => "running",
            Ok(ProcessState::Restarting) => "restarting",
            Ok(ProcessState::Stopped) => "stopped",
            Ok(ProcessState::Failed) => "failed",
            Err(_) => UNKNOWN,
        },
        restarts: from.get_restarts(),
        problem: text(from.get_problem()?),
        grants: grants
            .iter()
            .take(MAXIMUM_GRANTS)
            .map(|grant| Ok(Grant(text(grant.get_name()?), text(grant.get_from()?), text(grant.get_what()?))))
            .collect::<Result<_, Error>>()?,
        exports: exports
            .iter()
            .take(MAXIMUM_GRANTS)
            .map(|export| Ok(text(export?)))
            .collect::<Result<_, Error>>()?,
        truncated: grants.len() as usize > MAXIMUM_GRANTS || exports.len() as usize > MAXIMUM_GRANTS,
    })
}

/// One entry of a handle table.
pub fn handle(from: handle_info::Reader<'_>) -> Handle {
    Handle {
        kind: from.get_kind().map_or(UNKNOWN, kind_name),
        object: from.get_object(),
        server: from.get_server(),
        badge: from.get_badge(),
    }
}

/// One PCI function.
pub fn pci_function(from: pci_function_info::Reader<'_>) -> Result<PciFunction, Error> {
    Ok(PciFunction {
        address: pci_number(from.get_address()?),
        vendor: from.get_vendor(),
        device: from.get_device(),
        class: from.get_class(),
        interrupt_kind: interrupt_kind(from.get_interrupt_kind()),
        interrupt_count: from.get_interrupt_count(),
        owner: from.get_owner(),
        claimed: from.get_claimed(),
    })
}

/// A kind of interrupt in words.
pub fn interrupt_kind(kind: Result<InterruptKind, capnp::NotInSchema>) -> &'static str {
    match kind {
        Ok(InterruptKind::None) => "none",
        Ok(InterruptKind::Line) => "line",
        Ok(InterruptKind::Msi) => "MSI",
        Ok(InterruptKind::Msix) => "MSI-X",
        Err(_) => UNKNOWN,
    }
}

/// The network interface.
pub fn network(from: interface_status::Reader<'_>) -> Result<Network, Error> {
    let nic = from.get_nic()?;
    Ok(Network {
        name: text(from.get_name()?),
        mac: mac(from.get_mac()?),
        link_up: from.get_link_up(),
        nic_connected: from.get_nic_connected(),
        mtu: from.get_mtu(),
        address: match from.get_address() {
            0 => String::new(),
            address => format!("{}/{}", ipv4(address), from.get_prefix_length()),
        },
        source: match from.get_source() {
            Ok(AddressSource::None) => "none",
            Ok(AddressSource::Static) => "static",
            Ok(AddressSource::Dhcp) => "DHCP",
            Err(_) => UNKNOWN,
        },
        lease_seconds: from.get_lease_seconds(),
        routes: from
            .get_routes()?
            .iter()
            .take(MAXIMUM_ROUTES)
            .map(|route| {
                let gateway = route.get_gateway();
                (
                    format!("{}/{}", ipv4(route.get_destination()), route.get_prefix_length()),
                    if gateway == 0 { String::new() } else { ipv4(gateway) },
                )
            })
            .collect(),
        dns_servers: from.get_dns_servers()?.iter().take(MAXIMUM_ROUTES).map(ipv4).collect(),
        tcp_sockets: from.get_tcp_sockets(),
        udp_sockets: from.get_udp_sockets(),
        counters: Counters {
            received_frames: nic.get_received_frames(),
            received_bytes: nic.get_received_bytes(),
            sent_frames: nic.get_sent_frames(),
            sent_bytes: nic.get_sent_bytes(),
            receive_errors: nic.get_receive_errors(),
            send_errors: nic.get_send_errors(),
            interrupts: nic.get_interrupts(),
            dropped_frames: from.get_dropped_frames(),
        },
    })
}

/// A text as valid UTF-8, cut to [`MAXIMUM_TEXT`] bytes.
pub fn text(from: capnp::text::Reader<'_>) -> String {
    cut(from.as_bytes(), MAXIMUM_TEXT)
}

/// Bytes as valid UTF-8 of at most `limit` bytes; an ellipsis stands for what was cut.
pub fn cut(bytes: &[u8], limit: usize) -> String {
    const ELLIPSIS: char = '…';
    // Cut twice: what is not UTF-8 is replaced by something longer.
    let mut text = String::from_utf8_lossy(bytes.get(..=limit).unwrap_or(bytes)).into_owned();
    if text.len() > limit {
        let mut end = limit.saturating_sub(ELLIPSIS.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(ELLIPSIS);
    }
    text
}

/// An IPv4 address in host order, in dotted decimal.
pub fn ipv4(address: u32) -> String {
    format!("{}", core::net::Ipv4Addr::from_bits(address))
}

/// `bus:device.function` of a PCI address as a number, with the segment before it when that is not 0.
pub fn pci_name(address: u64) -> String {
    let (segment, bus, device, function) =
        (address >> 16, (address >> 8) & 0xff, (address >> 3) & 0x1f, address & 7);
    match segment {
        0 => format!("{bus:02x}:{device:02x}.{function}"),
        _ => format!("{segment:04x}:{bus:02x}:{device:02x}.{function}"),
    }
}

fn pci_number(address: pci_address::Reader<'_>) -> u64 {
    u64::from(address.get_segment()) << 16
        | u64::from(address.get_bus()) << 8
        | u64::from(address.get_device() & 0x1f) << 3
        | u64::from(address.get_function() & 7)
}

fn mac(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().take(6).enumerate() {
        text.push_str(if index == 0 { "" } else { ":" });
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The schema's name of a kind of object.
pub(crate) fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Process => "process",
        ObjectKind::Thread => "thread",
        ObjectKind::MemoryObject => "memoryObject",
        ObjectKind::AddressSpace => "addressSpace",
        ObjectKind::Endpoint => "endpoint",
        ObjectKind::Facet => "facet",
        ObjectKind::Call => "call",
        ObjectKind::Reply => "reply",
        ObjectKind::Notification => "notification",
        ObjectKind::Signaller => "signaller",
        ObjectKind::Timer => "timer",
        ObjectKind::Clock => "clock",
        ObjectKind::PciInventory => "pciInventory",
        ObjectKind::PciFunction => "pciFunction",
        ObjectKind::DeviceMmio => "deviceMmio",
        ObjectKind::Interrupt => "interrupt",
        ObjectKind::DmaPool => "dmaPool",
        ObjectKind::IoPort => "ioPort",
        ObjectKind::IoPortManager => "ioPortManager",
        ObjectKind::LegacyInterruptManager => "legacyInterruptManager",
        ObjectKind::KernelLog => "kernelLog",
        ObjectKind::LogWriter => "logWriter",
        ObjectKind::SystemInfo => "systemInfo",
        ObjectKind::Power => "power",
        ObjectKind::ProcessManager => "processManager",
        ObjectKind::OwnProcess => "ownProcess",
    }
}
