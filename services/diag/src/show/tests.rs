//! What the commands print of a system that was made up.

use super::*;
use alloc::{collections::BTreeMap, vec};
use inspect::{
    Absent, Counters, Device, Grant, Holding, Network, Process, Processor, Summary, Target,
    decode::PciFunction,
    machine::{AcpiTable, Bar, Deadlines, Function, Interrupt, Interrupts, Timers},
};

fn snapshot() -> Snapshot {
    let process = |name: &str, id| Process {
        name: name.into(),
        id,
        state: "running",
        cpu: Some(12_345),
        frames: (256, 512),
        handles: (10, 64),
        threads: (1, 2),
        ..Process::default()
    };
    let mut driver = process("virtio-net", 4);
    driver.grants = vec![
        Grant("device".into(), "kernel".into(), "PciFunction 00:01.0".into()),
        Grant("ports".into(), "kernel".into(), "ports 0x3f8-0x3ff".into()),
    ];
    driver.exports = vec!["nic".into()];
    driver.holds = vec![
        Holding("facet", Target::Process(0), 2),
        Holding("pciFunction", Target::Device("00:01.0".into()), 1),
    ];
    let failed = Process {
        name: "netstack".into(),
        state: "failed",
        problem: "page\x1bfault".into(),
        ..Process::default()
    };
    Snapshot {
        summary: Some(Summary {
            version: "0.1.0".into(),
            commit: "abc".into(),
            manifest: "default".into(),
            boot_loader: "capos".into(),
            machine: "QEMU".into(),
            processors: 1,
            memory_frames: 64 * 256,
            free_frames: 32 * 256,
            kernel_frames: 128,
            uptime_microseconds: 2_000_000,
            clock_source: "tsc".into(),
            clock_event: "local APIC timer".into(),
            dma_mode: "direct".into(),
        }),
        processors: vec![Processor { index: 0, apic_id: 0, idle_microseconds: 1_500_000, interrupts: 99 }],
        processes: vec![process("init", 1), driver, failed],
        devices: vec![Device {
            address: "00:01.0".into(),
            vendor: 0x1af4,
            device: 0x1000,
            class: 0x02_0000,
            interrupt_kind: "MSI-X",
            interrupt_count: 3,
            driver: Some(1),
            claimed: true,
        }],
        ..Snapshot::default()
    }
}

#[test]
fn status_at_a_glance() {
    assert_eq!(
        status(&snapshot(), Some("16550")),
        [
            "version    capOS 0.1.0 abc",
            "manifest   default",
            "uptime     2.000 s",
            "machine    1 processor of QEMU, loaded by capos",
            "memory     64.0 MiB, 32.0 MiB free",
            "time       tsc, local APIC timer",
            "DMA        direct: drivers that start DMA reach all memory",
            "processes  2 of 3 running",
            "           netstack is failed",
            "network    none",
            "console    16550",
        ]
    );
}

#[test]
fn processors_and_memory() {
    assert_eq!(cpu(&snapshot()), ["QEMU", "cpu  apic   idle  interrupts", "  0     0  75.0%          99"]);
    assert_eq!(
        memory(&snapshot()),
        [
            "total       64.0 MiB",
            "free        32.0 MiB",
            "kernel       0.5 MiB",
            "process        used    quota         DMA used  DMA quota",
            "init        1.0 MiB  2.0 MiB  50.0%   0.0 MiB    0.0 MiB",
            "virtio-net  1.0 MiB  2.0 MiB  50.0%   0.0 MiB    0.0 MiB",
        ]
    );
}

#[test]
fn processes_and_what_they_hold() {
    assert_eq!(
        processes(&snapshot()),
        [
            "id  process     state    restarts  cpu ms   frames  handles  threads",
            " 1  init        running         0      12  256/512    10/64      1/2",
            " 4  virtio-net  running         0      12  256/512    10/64      1/2",
            " -  netstack    failed          0       -      0/0      0/0      0/0",
            "netstack: page?fault",
        ]
    );
    assert_eq!(
        capabilities(&snapshot(), Some("virtio-net")),
        [
            "virtio-net (running)",
            "  granted  device           PciFunction 00:01.0 from kernel",
            "  granted  ports            ports 0x3f8-0x3ff from kernel",
            "  offers   nic",
            "  holds       2 facet of init",
            "  holds       1 pciFunction 00:01.0",
        ]
    );
    assert_eq!(capabilities(&snapshot(), Some("x")), ["there is no process \"x\"; ps lists them"]);
}

#[test]
fn devices_and_functions() {
    assert_eq!(
        devices(&snapshot()),
        [
            "device             what                driver",
            "00:01.0            1af4:1000 Ethernet  virtio-net",
            "ports 0x3f8-0x3ff  legacy              virtio-net",
        ]
    );
    let function = Function {
        function: PciFunction {
            address: 8,
            vendor: 0x1af4,
            device: 0x1000,
            class: 0x02_0000,
            interrupt_kind: "MSI-X",
            interrupt_count: 3,
            owner: 4,
            claimed: true,
        },
        subsystem: (0x1af4, 1),
        revision: 0,
        bars: vec![Bar { index: 0, kind: "io", address: 0xc000, size: 32 }],
    };
    let names = BTreeMap::from([(4, "virtio-net".into())]);
    assert_eq!(
        functions(&[function], &names),
        [
            "00:01.0 1af4:1000 rev 00 sub 1af4:0001 020000 Ethernet, MSI-X x3, owner virtio-net",
            "    BAR0 io    0xc000 size 0x20",
        ]
    );
    assert_eq!(functions(&[], &names), ["no PCI functions"]);
}

#[test]
fn interrupts_timers_and_tables() {
    let interrupt = Interrupt {
        vector: 48,
        kind: "line",
        line: Some(4),
        function: None,
        index: 0,
        object: 7,
        processor: 1,
        count: 12,
        dropped: 0,
    };
    let all = Interrupts {
        interrupts: vec![
            interrupt.clone(),
            Interrupt { kind: "MSI-X", line: None, function: Some(8), object: 9, ..interrupt },
        ],
        stray: 3,
    };
    let (holders, names) = (BTreeMap::from([(7, 2)]), BTreeMap::from([(2, "uart".into())]));
    assert_eq!(
        interrupts(&all, &holders, &names),
        [
            "vector  kind   source      cpu  count  dropped  owner",
            "    48  line   line 4        1     12        0  uart",
            "    48  MSI-X  00:01.0 #0    1     12        0  -",
            "3 of vectors that belong to nobody",
        ]
    );
    let clocks = Timers {
        deadlines: vec![
            Deadlines { processor: 0, armed: 2, next: Some(1_500_000) },
            Deadlines { processor: 1, armed: 0, next: None },
        ],
        frequency: 1_000_000_000,
    };
    assert_eq!(
        timers(&snapshot(), &clocks),
        [
            "clock   tsc",
            "        1000000 kHz",
            "events  local APIC timer",
            "uptime  2.000 s",
            "cpu  deadlines  first in",
            "  0          2   0.001 s",
            "  1          0         -",
        ]
    );
    let table = AcpiTable { signature: "APIC".into(), address: 0x7fe_1234, length: 120, revision: 1 };
    assert_eq!(
        acpi_tables(&[table]),
        ["table  revision  bytes  address", "APIC          1    120  0x7fe1234"]
    );
    assert_eq!(acpi_tables(&[]), ["no usable ACPI tables"]);
}

#[test]
fn the_interface() {
    let interface = Network {
        name: "eth0".into(),
        mac: "52:54:00:12:34:56".into(),
        link_up: true,
        nic_connected: true,
        mtu: 1460,
        address: "10.0.2.15/32".into(),
        source: "DHCP",
        lease_seconds: 60,
        routes: vec![("10.0.2.1/32".into(), String::new()), ("0.0.0.0/0".into(), "10.0.2.1".into())],
        dns_servers: vec!["10.0.2.3".into()],
        tcp_sockets: 1,
        udp_sockets: 0,
        counters: Counters { received_frames: 5, ..Counters::default() },
    };
    assert_eq!(
        network(&interface),
        [
            "eth0  52:54:00:12:34:56, MTU 1460, link up, driver connected",
            "address    10.0.2.15/32 by DHCP, 60 s left",
            "route      10.0.2.1/32 on the link",
            "route      0.0.0.0/0 by 10.0.2.1",
            "DNS        10.0.2.3",
            "sockets    1 TCP, 0 UDP",
            "received   5 frames, 0 bytes, 0 errors, 0 refused by the stack",
            "sent       0 frames, 0 bytes, 0 errors; 0 interrupts",
        ]
    );
}

#[test]
fn what_cannot_be_seen_is_said() {
    let blind = Snapshot {
        absent: vec![Absent { what: "system-info", why: "not granted to this process".into() }],
        truncated: vec!["processes"],
        ..Snapshot::default()
    };
    for lines in [status(&blind, None), memory(&blind), processes(&blind)] {
        assert!(lines.contains(&"(system-info: not granted to this process)".into()), "{lines:?}");
        assert!(lines.contains(&"(there are more processes than are shown)".into()), "{lines:?}");
    }
}

fn crash() -> inspect::crashes::Crash {
    inspect::crashes::Crash {
        number: 3,
        process: "netstack".into(),
        id: 9,
        at_microseconds: 2_500_000,
        lived_microseconds: 1_250_000,
        restarts: 2,
        cause: "page\x1bfault".into(),
        instruction: "201234".into(),
        trace: vec!["202000".into()],
        held: vec![("facet", 2)],
        threads: 1,
        calls: 1,
        ..Default::default()
    }
}

#[test]
fn crashes_are_one_line_each() {
    assert_eq!(
        crashes(&[crash()], None),
        [
            "no  process   id       at    lived  restarts  cause",
            " 3  netstack   9  2.500 s  1.250 s         2  page?fault",
        ]
    );
    assert_eq!(crashes(&[crash()], Some("nvme")), ["no crash of \"nvme\" is known"]);
    assert_eq!(crashes(&[], None), ["no crash is known"]);
}

#[test]
fn evidence_of_a_crash() {
    use capnp::traits::HasTypeId;
    use inspect::crashes::{Call, Holdings, LastCalls, Thread};
    use schema::{block_capnp::block_device, names::Method, network_capnp::nic};
    let thread = Thread {
        id: 4,
        in_system_call: true,
        instruction: 0x20_1234,
        flags: 0x202,
        registers: (0..16).collect(),
        stack: (0..40).collect(),
        message: vec![1],
        last: LastCalls {
            thread: 4,
            received: Some(Method { interface: nic::Client::TYPE_ID, method: 1 }),
            answered: true,
            made: Some(Method { interface: 0xcd, method: 3 }),
        },
    };
    let idle =
        Thread { last: LastCalls::default(), stack: Vec::new(), registers: Vec::new(), ..thread.clone() };
    let call = |interface, process: &str| Call {
        kind: "made",
        process: process.into(),
        method: Method { interface, method: 2 },
        message: vec![7],
    };
    let holdings = Holdings {
        handles: vec![(0x1_0002, "facet", "virtio-net".into()), (3, "timer", String::new())],
        calls: vec![call(block_device::Client::TYPE_ID, "nvme"), call(0xac, "")],
    };
    assert_eq!(
        evidence(&crash(), &[thread, idle], &holdings),
        [
            "crash 3: page?fault",
            "  code at 201234, on the stack 202000",
            "  thread 4 at 201234, flags 202, in a system call",
            "    rax 0000000000000000 rbx 0000000000000001 rcx 0000000000000002 rdx 0000000000000003",
            "    rsi 0000000000000004 rdi 0000000000000005 rbp 0000000000000006 rsp 0000000000000007",
            "     r8 0000000000000008  r9 0000000000000009 r10 000000000000000a r11 000000000000000b",
            "    r12 000000000000000c r13 000000000000000d r14 000000000000000e r15 000000000000000f",
            "    message 0000000000000001",
            "    received last: Nic.open, answered",
            "    made last: interface 0xcd method 3",
            "    rsp+000 0706050403020100 0f0e0d0c0b0a0908 1716151413121110 1f1e1d1c1b1a1918",
            "    rsp+020 2726252423222120",
            "  thread 4 at 201234, flags 202, in a system call",
            "    message 0000000000000001",
            "  held 2 facet",
            "       10002 facet of virtio-net",
            "           3 timer",
            "  call made, nvme, BlockDevice.readOnly: 0000000000000007",
            "  call made, -, interface 0xac method 2: 0000000000000007",
        ]
    );
}
