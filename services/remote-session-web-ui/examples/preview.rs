//! Serves the page on the host, with a made-up system behind it that lives: counters run, a process dies now and then.
//!
//! `cargo run -p remote-session-web-ui --example preview [port] [small|hostile|blind]`

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use inspect::crashes::{CallInFlight, LastCalls};
use inspect::decode::{Handle, KernelProcess, PciFunction, SupervisedProcess};
use inspect::{Counters, Gathered, Grant, Network, Processor, Summary};
use schema::names::{INTERFACES, Method};
use web_ui::server::{ByteStream, Interest, Received, Server, Wake, Written};
use web_ui::site::Site;

/// A TCP connection of the host.
struct HostStream(TcpStream);

impl ByteStream for HostStream {
    fn read(&mut self, into: &mut [u8]) -> Received {
        match self.0.read(into) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Pending,
            Err(_) => Received::Broken,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Written {
        match self.0.write(bytes) {
            Ok(count) => Written::Bytes(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Written::Bytes(0),
            Err(_) => Written::Broken,
        }
    }

    fn finish(&mut self) {
        // The peer may be gone already.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    fn arm(&mut self, _: Interest) -> bool {
        true
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.first().and_then(|port| port.parse().ok()).unwrap_or(8081);
    let scene = arguments.get(1).map_or("", String::as_str).to_owned();
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    println!("http://127.0.0.1:{port}/");
    let start = Instant::now();
    let mut server = Server::new(32, Site::new(1));
    let mut logged = 0;
    loop {
        let now = start.elapsed();
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            server.accept(HostStream(stream), now);
        }
        let wake = server.turn(now);
        let site = server.handler();
        if site.take_wanted() {
            let text = log(now, &mut logged, &scene);
            let cursor = site.log().cursor() + text.len() as u64;
            site.log().push(text.as_bytes(), cursor, 0);
            site.update(&system(now, &scene).assemble(), now);
        } else if wake != Wake::Now {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// A method of an interface of the schemas.
fn method(interface: &str, method: u16) -> Method {
    let interface = INTERFACES.iter().find(|known| known.name == interface).map_or(0, |known| known.id);
    Method { interface, method }
}

/// What a process of the made-up system is.
struct Entry {
    name: &'static str,
    frames: (u32, u32),
    dma: (u32, u32),
    /// Share of one processor.
    load: f64,
    grants: &'static [(&'static str, &'static str, &'static str)],
    exports: &'static [&'static str],
    /// Kind, object, server, count.
    handles: &'static [(&'static str, u64, u32, u32)],
}

const INIT: Entry = Entry {
    name: "init",
    frames: (402, 1024),
    dma: (0, 0),
    load: 0.001,
    grants: &[],
    exports: &[],
    handles: &[
        ("processManager", 1, 0, 1),
        ("ioPortManager", 2, 0, 1),
        ("legacyInterruptManager", 3, 0, 1),
        ("pciInventory", 4, 0, 1),
        ("power", 5, 0, 1),
        ("kernelLog", 6, 0, 1),
        ("systemInfo", 7, 0, 1),
        ("clock", 8, 0, 1),
        ("pciFunction", 0x10, 0, 1),
        ("facet", 100, 2, 1),
        ("facet", 101, 3, 1),
        ("process", 20, 2, 1),
        ("process", 21, 3, 1),
        ("process", 22, 4, 1),
        ("call", 30, 0, 8),
        ("memoryObject", 900, 0, 1),
    ],
};

const NIC: Entry = Entry {
    name: "virtio-net",
    frames: (188, 512),
    dma: (160, 256),
    load: 0.021,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("device", "kernel", "PciFunction 00:02.0"),
    ],
    exports: &["nic"],
    handles: &[
        ("pciFunction", 0x10, 0, 1),
        ("deviceMmio", 11, 0, 2),
        ("interrupt", 12, 0, 3),
        ("dmaPool", 13, 0, 1),
        ("memoryObject", 501, 0, 1),
        ("memoryObject", 502, 0, 1),
        ("logWriter", 14, 0, 1),
        ("call", 15, 0, 6),
        ("signaller", 16, 0, 4),
        ("facet", 90, 1, 1),
    ],
};

const STACK: Entry = Entry {
    name: "netstack",
    frames: (611, 1024),
    dma: (0, 0),
    load: 0.034,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("nic", "virtio-net", "Nic"),
    ],
    exports: &["network"],
    handles: &[
        ("facet", 200, 2, 2),
        ("facet", 90, 1, 1),
        ("memoryObject", 501, 0, 1),
        ("memoryObject", 502, 0, 1),
        ("memoryObject", 601, 0, 1),
        ("memoryObject", 602, 0, 1),
        ("memoryObject", 603, 0, 1),
        ("call", 70, 0, 6),
        ("timer", 71, 0, 1),
    ],
};

const WEB: Entry = Entry {
    name: "remote-session-web-ui",
    frames: (344, 768),
    dma: (0, 0),
    load: 0.012,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("network", "netstack", "NetworkManager"),
        ("system-info", "kernel", "SystemInfo"),
        ("kernel-log", "kernel", "KernelLog"),
        ("pci", "kernel", "PciInventory"),
        ("status", "init", "SupervisorStatus"),
    ],
    exports: &[],
    handles: &[
        ("facet", 300, 3, 5),
        ("facet", 90, 1, 2),
        ("systemInfo", 7, 0, 1),
        ("kernelLog", 6, 0, 1),
        ("pciInventory", 4, 0, 1),
        ("memoryObject", 601, 0, 1),
        ("memoryObject", 602, 0, 1),
        ("memoryObject", 603, 0, 1),
        ("call", 80, 0, 8),
    ],
};

const UART: Entry = Entry {
    name: "uart",
    frames: (96, 256),
    dma: (0, 0),
    load: 0.0,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("ports", "kernel", "ports 0x3f8-0x3ff"),
        ("interrupt", "kernel", "ISA interrupt 4"),
    ],
    exports: &["console"],
    handles: &[("ioPort", 40, 0, 1), ("interrupt", 41, 0, 1), ("call", 42, 0, 4), ("facet", 90, 1, 1)],
};

const NVME: Entry = Entry {
    name: "nvme",
    frames: (201, 512),
    dma: (128, 256),
    load: 0.004,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("device", "kernel", "PciFunction 00:04.0"),
    ],
    exports: &["disk"],
    handles: &[
        ("pciFunction", 0x20, 0, 1),
        ("deviceMmio", 51, 0, 1),
        ("interrupt", 52, 0, 2),
        ("dmaPool", 53, 0, 1),
        ("memoryObject", 701, 0, 1),
    ],
};

const STORE: Entry = Entry {
    name: "store",
    frames: (480, 2048),
    dma: (0, 0),
    load: 0.002,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("disk", "nvme", "BlockDevice"),
    ],
    exports: &["files"],
    handles: &[("facet", 400, 6, 2), ("memoryObject", 701, 0, 1)],
};

const DIAG: Entry = Entry {
    name: "diag",
    frames: (120, 256),
    dma: (0, 0),
    load: 0.0,
    grants: &[
        ("log", "kernel", "LogWriter"),
        ("supervisor", "init", "Supervisor"),
        ("console", "uart", "Console"),
        ("network", "netstack", "NetworkManager"),
        ("files", "store", "FileStore"),
        ("control", "init", "SupervisorControl"),
        ("system-info", "kernel", "SystemInfo"),
    ],
    exports: &[],
    handles: &[
        ("facet", 500, 5, 1),
        ("facet", 501, 3, 1),
        ("facet", 502, 7, 1),
        ("facet", 90, 1, 2),
        ("systemInfo", 7, 0, 1),
    ],
};

fn system(now: Duration, scene: &str) -> Gathered {
    let entries: &[Entry] = match scene {
        "small" => &[INIT, NIC, STACK, WEB],
        _ => &[INIT, NIC, STACK, WEB, UART, NVME, STORE, DIAG],
    };
    let seconds = now.as_secs_f64();
    let mut gathered = Gathered::default();
    for (entry, number) in entries.iter().zip(1u32..) {
        let died = entry.name == "store" && now.as_secs() % 20 > 16;
        let wave = 1.0 + 0.3 * (seconds * 0.7 + f64::from(number)).sin();
        let name = if scene == "hostile" { hostile(entry.name) } else { entry.name.to_owned() };
        gathered.supervised.push(SupervisedProcess {
            name: name.clone(),
            id: if died { 0 } else { number },
            state: match entry.name {
                "store" if died => "restarting",
                "diag" if scene == "blind" => "failed",
                _ => "running",
            },
            restarts: if entry.name == "store" { now.as_secs() as u32 / 20 + 2 } else { 0 },
            problem: match entry.name {
                "store" => "page fault at 0x41d2c0 reading 0x18 (exception 14)".to_owned(),
                _ => String::new(),
            },
            grants: entry
                .grants
                .iter()
                .map(|(grant, from, what)| Grant(grant.to_string(), from_name(from, scene), what.to_string()))
                .collect(),
            exports: entry.exports.iter().map(|export| export.to_string()).collect(),
            truncated: false,
        });
        if died {
            continue;
        }
        let handles: u32 = entry.handles.iter().map(|(_, _, _, count)| count).sum();
        gathered.kernel.push(KernelProcess {
            id: number,
            name,
            cause: "running",
            cpu: (entry.load * 1e6 * (seconds + 0.4 * (seconds * 0.7 + f64::from(number)).sin())).max(0.0)
                as u64,
            frames: (entry.frames.0 + (4.0 * wave) as u32, entry.frames.1),
            handles: (handles as u16, 128),
            threads: (1, 2),
            dma: entry.dma,
        });
        for (kind, object, server, count) in entry.handles {
            for _ in 0..*count {
                gathered.holdings.add(
                    number,
                    &Handle {
                        kind,
                        object: *object,
                        server: *server,
                        badge: if *kind == "pciFunction" { *object } else { 0 },
                    },
                );
            }
        }
    }
    if scene == "blind" {
        gathered.note_absent("pci", "not granted to this process".into());
        gathered.note_absent("network", "the network stack is being restarted".into());
        return gathered;
    }
    gathered.crashes = vec![inspect::crashes::Crash {
        number: 1,
        process: "store".into(),
        id: 40,
        at_microseconds: 12_000_000,
        lived_microseconds: 11_300_000,
        cause: "page fault reading 0x18 at 0x41d2c0".into(),
        instruction: "41d2c0".into(),
        trace: vec!["41c001".into(), "40a120".into()],
        held: vec![("facet", 3), ("memoryObject", 2)],
        threads: 1,
        calls: 2,
        in_flight: vec![
            CallInFlight { kind: "made", process: String::new(), method: method("BlockDevice", 1) },
            CallInFlight {
                kind: "received",
                process: if scene == "hostile" { "<img src=x>".into() } else { "netstack".into() },
                method: method("TcpSocket", 0),
            },
        ],
        last_calls: vec![LastCalls {
            thread: 44,
            received: Some(method("TcpSocket", 1)),
            answered: true,
            made: Some(Method { interface: 0xab, method: 3 }),
        }],
        ..Default::default()
    }];
    gathered.devices = devices();
    gathered.processors = (0..4)
        .map(|index| Processor {
            index,
            apic_id: index,
            idle_microseconds: (seconds * 1e6 * 0.93) as u64,
            interrupts: 1000 + now.as_millis() as u64,
        })
        .collect();
    gathered.network = Some(network(seconds));
    gathered.summary = Some(Summary {
        version: "0.1.0".into(),
        commit: "171fdc7aa0b2c4d6e8f0".into(),
        manifest: "system".into(),
        boot_loader: "GRUB 2.06".into(),
        machine: "QEMU q35".into(),
        processors: 4,
        memory_frames: 65_000,
        free_frames: 61_200,
        kernel_frames: 612,
        uptime_microseconds: 4_000_000_000 + now.as_micros() as u64,
        clock_source: "invariant TSC".into(),
        clock_event: "LAPIC one-shot".into(),
        dma_mode: "direct".into(),
    });
    gathered
}

fn from_name(from: &str, scene: &str) -> String {
    if scene == "hostile" && !matches!(from, "kernel" | "init") { hostile(from) } else { from.to_owned() }
}

fn hostile(name: &str) -> String {
    match name {
        "init" => name.to_owned(),
        _ => format!("<img src=x onerror=alert(1)>\"'{name}\u{202e}"),
    }
}

fn devices() -> Vec<PciFunction> {
    let function = |address, vendor, device, class, interrupt_kind, interrupt_count, owner| PciFunction {
        address,
        vendor,
        device,
        class,
        interrupt_kind,
        interrupt_count,
        owner,
        claimed: owner != 0,
    };
    vec![
        function(0x00, 0x8086, 0x29c0, 0x060000, "none", 0, 0),
        function(0x08, 0x1234, 0x1111, 0x030000, "line", 1, 0),
        function(0x10, 0x1af4, 0x1041, 0x020000, "MSI-X", 3, 2),
        function(0x20, 0x1b36, 0x0010, 0x010802, "MSI-X", 65, 6),
        function(0xf8, 0x8086, 0x2918, 0x060100, "none", 0, 0),
        function(0xfa, 0x8086, 0x2922, 0x010601, "MSI", 1, 0),
        function(0xfb, 0x8086, 0x2930, 0x0c0500, "line", 1, 0),
    ]
}

fn network(seconds: f64) -> Network {
    let bytes = |rate: f64| (rate * (seconds + (seconds * 0.9).sin())).max(0.0) as u64;
    Network {
        name: "eth0".into(),
        mac: "52:54:00:12:34:56".into(),
        link_up: true,
        nic_connected: true,
        mtu: 1500,
        address: "10.0.2.15/24".into(),
        source: "DHCP",
        lease_seconds: 86_400u32.saturating_sub(seconds as u32),
        routes: vec![("0.0.0.0/0".into(), "10.0.2.2".into()), ("10.0.2.0/24".into(), String::new())],
        dns_servers: vec!["10.0.2.3".into()],
        tcp_sockets: 7,
        udp_sockets: 1,
        counters: Counters {
            received_frames: bytes(40.0) + 1200,
            received_bytes: bytes(9_000.0) + 150_000,
            sent_frames: bytes(42.0) + 1300,
            sent_bytes: bytes(64_000.0) + 2_400_000,
            interrupts: bytes(35.0) + 900,
            ..Counters::default()
        },
    }
}

/// The log since the last time.
fn log(now: Duration, logged: &mut u64, scene: &str) -> String {
    let mut text = String::new();
    if *logged == 0 {
        text.push_str(
            "[    0.000000] kernel: capos kernel starting\n[    0.000041] kernel: version 0.1.0 commit 171fdc7aa0b2\n\
             [    0.004210] kernel: 4 processors, 254 MiB, clock invariant TSC 2.1 GHz\n\
             [    0.009833] kernel: no IOMMU: every driver that can start DMA is trusted\n\
             [    0.021377] init: manifest \"system\", 8 entries\n\
             [    0.058102] virtio-net: 00:02.0 modern, 52:54:00:12:34:56, MTU 1500, MSI-X x3\n\
             [    0.101929] netstack: DHCP lease 10.0.2.15/24 by 10.0.2.2 for 86400 s\n\
             [    0.104552] remote-session-web-ui: http://10.0.2.15:8080/\n",
        );
    }
    while *logged < now.as_secs() / 3 + 1 {
        let at = *logged as f64 * 3.0 + 4000.25;
        text.push_str(&match (scene, *logged % 7) {
            ("hostile", _) => format!("[{at:12.6}] <script>alert(\"log\")</script>\u{0}\u{1b}[31m\n"),
            (_, 5) => format!(
                "[{at:12.6}] init: store ended by a fault: page fault at 0x41d2c0 reading 0x18; restart {}\n",
                *logged / 7
            ),
            (_, minute) => {
                format!("[{at:12.6}] netstack: {} connections open, {minute} waiting\n", 3 + minute)
            }
        });
        *logged += 1;
    }
    text
}
