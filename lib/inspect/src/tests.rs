//! From messages to JSON.

use capnp::message::Builder;
use capnp::traits::HasTypeId;
use schema::names::{self, Method};
use schema::network_capnp::interface_status;
use schema::process_capnp::CallKind;
use schema::supervisor_capnp::{ProcessState, crash, process_status};
use schema::system_capnp::{ObjectKind, handle_info, process_info};
use serde_json::{Value, json};

use super::crashes::{self, CallInFlight, LastCalls};
use super::decode::{self, Handle, KernelProcess, PciFunction, SupervisedProcess};
use super::{Gathered, MAXIMUM_HOLDINGS, MAXIMUM_PROCESSES, MAXIMUM_TEXT, Snapshot};

fn value(snapshot: &Snapshot) -> Value {
    serde_json::from_slice(&serde_json::to_vec(snapshot).expect("JSON")).expect("valid JSON")
}

fn supervised(name: &str, id: u32) -> SupervisedProcess {
    SupervisedProcess { name: name.into(), id, state: "running", ..SupervisedProcess::default() }
}

fn kernel(name: &str, id: u32) -> KernelProcess {
    KernelProcess {
        name: name.into(),
        id,
        cause: "running",
        cpu: 5,
        frames: (1, 2),
        ..KernelProcess::default()
    }
}

fn handle(kind: &'static str, object: u64, server: u32) -> Handle {
    Handle { kind, object, server, badge: 0 }
}

#[test]
fn an_empty_view_is_valid() {
    assert_eq!(
        value(&Gathered::default().assemble()),
        json!({"summary": null, "processors": [], "processes": [], "shared": [], "devices": [], "network": null,
               "absent": [], "crashes": [], "truncated": []})
    );
}

#[test]
fn both_views_of_a_process_are_joined() {
    let mut gathered =
        Gathered { supervised: vec![supervised("init", 1), supervised("b", 0)], ..Gathered::default() };
    gathered.supervised[1].state = "restarting";
    gathered.supervised[1].restarts = 3;
    gathered.kernel = vec![kernel("stray", 9), kernel("init", 1)];
    let snapshot = gathered.assemble();
    let seen: Vec<_> = snapshot
        .processes
        .iter()
        .map(|it| (it.name.as_str(), it.id, it.state, it.cpu, it.restarts))
        .collect();
    assert_eq!(
        seen,
        [
            ("init", 1, "running", Some(5), 0),
            ("b", 0, "restarting", None, 3),
            ("stray", 9, "running", Some(5), 0)
        ]
    );
}

#[test]
fn handles_are_counted_by_what_they_lead_to() {
    let mut gathered =
        Gathered { supervised: vec![supervised("a", 10), supervised("b", 20)], ..Gathered::default() };
    for object in 0..3 {
        gathered.holdings.add(10, &handle("facet", object, 20));
    }
    gathered.holdings.add(10, &handle("facet", 9, 77));
    gathered.holdings.add(10, &Handle { badge: 0x1_0010, ..handle("pciFunction", 4, 0) });
    gathered.holdings.add(10, &handle("call", 5, 0));
    gathered.holdings.add(99, &handle("call", 5, 0));
    for (object, holder) in [(1, 10), (1, 20), (2, 20), (2, 10), (3, 10), (3, 10), (4, 20)] {
        gathered.holdings.add(holder, &handle("memoryObject", object, 0));
    }
    let snapshot = value(&gathered.assemble());
    assert_eq!(
        snapshot["processes"][0]["holds"],
        json!([
            ["call", null, 1],
            ["facet", 1, 3],
            ["facet", null, 1],
            ["memoryObject", null, 4],
            ["pciFunction", "0001:00:02.0", 1]
        ])
    );
    assert_eq!(snapshot["shared"], json!([[0, 1, 2]]));
}

#[test]
fn drivers_of_devices_are_processes() {
    let function = |owner, claimed| PciFunction {
        address: 0x01fa,
        vendor: 0x1af4,
        device: 0x1041,
        class: 0x020000,
        interrupt_kind: "MSI-X",
        interrupt_count: 3,
        owner,
        claimed,
    };
    let gathered = Gathered {
        supervised: vec![supervised("a", 10)],
        devices: vec![function(10, true), function(11, true), function(0, false)],
        ..Gathered::default()
    };
    let snapshot = value(&gathered.assemble());
    assert_eq!(
        snapshot["devices"][0],
        json!({"address": "01:1f.2", "vendor": 0x1af4, "device": 0x1041, "class": 0x020000, "interruptKind": "MSI-X",
               "interruptCount": 3, "driver": 0, "claimed": true})
    );
    assert_eq!(snapshot["devices"][1]["driver"], Value::Null);
    assert_eq!(snapshot["devices"][2]["claimed"], false);
}

#[test]
fn what_is_too_long_is_cut_and_said() {
    let mut gathered = Gathered::default();
    for id in 1..=MAXIMUM_PROCESSES as u32 + 1 {
        gathered.supervised.push(supervised("x", id));
        gathered.holdings.add(1, &handle("facet", 1, id));
    }
    gathered.supervised[0].truncated = true;
    for id in 1..=MAXIMUM_HOLDINGS as u32 {
        gathered.holdings.add(1, &Handle { badge: u64::from(id), ..handle("pciFunction", 1, 0) });
    }
    let snapshot = gathered.assemble();
    assert_eq!(snapshot.processes.len(), MAXIMUM_PROCESSES);
    assert_eq!(snapshot.processes[0].holds.len(), MAXIMUM_HOLDINGS);
    assert_eq!(snapshot.truncated, ["grants", "processes", "holdings"]);
}

/// The largest snapshot that can be is a size that a client and the heap can bear.
#[test]
fn a_snapshot_is_bounded() {
    let long = "\u{1}".repeat(MAXIMUM_TEXT);
    let mut gathered = Gathered::default();
    for id in 1..=MAXIMUM_PROCESSES as u32 {
        let mut process = supervised(&long, id);
        process.problem = long.clone();
        gathered.supervised.push(process);
        gathered.kernel.push(kernel(&long, id));
        for server in 1..=100 {
            gathered.holdings.add(id, &handle("facet", 1, server));
        }
    }
    gathered.crashes = vec![
        crashes::Crash {
            process: long.clone(),
            cause: long.clone(),
            trace: vec!["7fffffffffff".into(); 16],
            held: vec![("legacyInterruptManager", u16::MAX); 32],
            in_flight: vec![
                CallInFlight {
                    kind: "received",
                    process: "\u{1}".repeat(32),
                    method: Method { interface: u64::MAX, method: u16::MAX },
                };
                8
            ],
            last_calls: vec![
                LastCalls {
                    thread: u32::MAX,
                    received: Some(Method { interface: u64::MAX, method: u16::MAX }),
                    answered: false,
                    made: Some(Method { interface: u64::MAX, method: u16::MAX }),
                };
                8
            ],
            ..Default::default()
        };
        crashes::MAXIMUM_CRASHES
    ];
    let size = serde_json::to_vec(&gathered.assemble()).expect("JSON").len();
    assert!(size < 420_000, "{size}");
}

#[test]
fn hostile_names_stay_text() {
    for name in ["\"},{\"", "</script><img src=x>", "\u{0}\u{1f}\\\u{7f}", "\u{202e}\u{2028}", "😀", "a\nb\r"]
    {
        let gathered = Gathered { supervised: vec![supervised(name, 1)], ..Gathered::default() };
        assert_eq!(value(&gathered.assemble())["processes"][0]["name"], name);
    }
}

#[test]
fn texts_are_cut_at_characters() {
    assert_eq!(decode::cut(b"short", 5), "short");
    assert_eq!(decode::cut(b"longer", 5), "lo…");
    assert_eq!(decode::cut("äöüß".as_bytes(), 8), "äöüß");
    assert_eq!(decode::cut("äöüßx".as_bytes(), 8), "äö…");
    assert_eq!(decode::cut(b"\xff\xff", 5), "…", "each of the two takes three bytes as a replacement");
    assert_eq!(decode::cut(b"a\xffb", 10), "a\u{fffd}b");
    for limit in 3..20 {
        assert!(decode::cut("aä😀\u{fffd}".repeat(5).as_bytes(), limit).len() <= limit);
        assert!(decode::cut(&[0xff; 64], limit).len() <= limit);
    }
}

#[test]
fn addresses_in_words() {
    assert_eq!(decode::ipv4(0x0a00_020f), "10.0.2.15");
    assert_eq!(decode::pci_name(0x10), "00:02.0");
    assert_eq!(decode::pci_name(0x2_fffd), "0002:ff:1f.5");
}

#[test]
fn a_process_status_is_decoded() {
    let mut message = Builder::new_default();
    let mut status = message.init_root::<process_status::Builder<'_>>();
    status.set_name("netstack");
    status.set_id(7);
    status.set_state(ProcessState::Failed);
    status.set_restarts(2);
    status.set_problem("p".repeat(1000));
    let mut grants = status.reborrow().init_grants(60);
    grants.reborrow().get(0).set_name("nic");
    grants.reborrow().get(0).set_from("virtio-net");
    grants.reborrow().get(0).set_what("Nic");
    status.reborrow().init_exports(1).set(0, "network");
    let decoded = decode::supervised_process(status.into_reader()).expect("decoded");
    assert_eq!(
        (decoded.name.as_str(), decoded.id, decoded.state, decoded.restarts),
        ("netstack", 7, "failed", 2)
    );
    assert_eq!(decoded.problem.len(), MAXIMUM_TEXT);
    assert_eq!((decoded.grants.len(), decoded.truncated), (48, true));
    assert_eq!(decoded.grants[0], super::Grant("nic".into(), "virtio-net".into(), "Nic".into()));
    assert_eq!(decoded.exports, ["network"]);
}

#[test]
fn a_kernel_process_is_decoded() {
    let mut message = Builder::new_default();
    let mut info = message.init_root::<process_info::Builder<'_>>();
    info.set_id(3);
    info.set_name("a");
    let mut usage = info.reborrow().init_usage();
    usage.set_frames(10);
    usage.set_handles(11);
    usage.set_threads(12);
    usage.set_dma_pages(13);
    usage.set_processor_nanoseconds(5_999);
    let mut quota = info.reborrow().init_quota();
    quota.set_frames(20);
    quota.set_handles(21);
    quota.set_threads(22);
    quota.set_dma_pages(23);
    assert_eq!(
        decode::kernel_process(info.into_reader()).expect("decoded"),
        KernelProcess {
            id: 3,
            name: "a".into(),
            cause: "running",
            cpu: 5,
            frames: (10, 20),
            handles: (11, 21),
            threads: (12, 22),
            dma: (13, 23),
        }
    );
}

/// The page knows the kinds by the schema's names.
#[test]
fn kinds_have_the_names_of_the_schema() {
    for (kind, name) in [
        (ObjectKind::Process, "process"),
        (ObjectKind::Facet, "facet"),
        (ObjectKind::MemoryObject, "memoryObject"),
        (ObjectKind::PciFunction, "pciFunction"),
        (ObjectKind::OwnProcess, "ownProcess"),
    ] {
        let mut message = Builder::new_default();
        let mut info = message.init_root::<handle_info::Builder<'_>>();
        info.set_kind(kind);
        info.set_object(1);
        info.set_server(2);
        info.set_badge(3);
        assert_eq!(decode::handle(info.into_reader()), Handle { kind: name, object: 1, server: 2, badge: 3 });
    }
}

/// What the kernel makes is called as its interface is, but with a small letter; only a facet can be of any interface.
#[test]
fn kinds_are_interfaces() {
    let kinds: Vec<&str> =
        (0..).map_while(|kind| ObjectKind::try_from(kind).ok()).map(decode::kind_name).collect();
    assert!(kinds.len() > 20);
    for kind in kinds.into_iter().filter(|kind| *kind != "facet") {
        let name = kind[..1].to_uppercase() + &kind[1..];
        assert!(names::INTERFACES.iter().any(|interface| interface.name == name), "{name}");
    }
}

#[test]
fn calls_of_a_crash_have_names() {
    let mut message = Builder::new_default();
    let mut from = message.init_root::<crash::Builder<'_>>();
    from.set_calls(9);
    let mut calls = from.reborrow().init_in_flight(9);
    for index in 0..9 {
        let mut call = calls.reborrow().get(index);
        call.set_kind(CallKind::Received);
        call.set_process("netstack-with-a-name-that-is-too-long");
        call.set_interface(schema::network_capnp::nic::Client::TYPE_ID);
        call.set_method(1);
    }
    let mut last = from.reborrow().init_last_calls(2);
    last.reborrow().get(0).set_thread(4);
    last.reborrow().get(0).set_received_interface(schema::process_capnp::own_process::Client::TYPE_ID);
    last.reborrow().get(0).set_received_method(6);
    last.reborrow().get(0).set_received_answered(true);
    last.reborrow().get(1).set_made_interface(0xab);
    last.reborrow().get(1).set_made_method(2);
    let crash = crashes::crash(from.into_reader()).expect("decoded");
    assert_eq!(crash.in_flight.len(), 8);
    let value = serde_json::to_value(&crash).expect("JSON");
    assert_eq!(value["calls"], 9);
    assert_eq!(
        value["inFlight"][7],
        json!({"kind": "received", "process": "netstack-with-a-name-that-is-…", "method": "Nic.open"})
    );
    assert_eq!(
        value["lastCalls"],
        json!([{"thread": 4, "received": "OwnProcess.timer", "answered": true, "made": null},
               {"thread": 0, "received": null, "answered": false, "made": "interface 0xab method 2"}])
    );
}

#[test]
fn an_interface_is_decoded() {
    let mut message = Builder::new_default();
    let mut status = message.init_root::<interface_status::Builder<'_>>();
    status.set_name("eth0");
    status.set_mac(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    status.set_address(0x0a00_020f);
    status.set_prefix_length(24);
    status.set_source(schema::network_capnp::AddressSource::Dhcp);
    status.set_dropped_frames(4);
    let mut routes = status.reborrow().init_routes(20);
    routes.reborrow().get(0).set_gateway(0x0a00_0202);
    let network = decode::network(status.into_reader()).expect("decoded");
    assert_eq!(
        (network.address.as_str(), network.mac.as_str(), network.source),
        ("10.0.2.15/24", "52:54:00:12:34:56", "DHCP")
    );
    assert_eq!(network.routes[0], ("0.0.0.0/0".into(), "10.0.2.2".into()));
    assert_eq!((network.routes.len(), network.routes[1].1.as_str()), (16, ""));
    assert_eq!(network.counters.dropped_frames, 4);
    let mut message = Builder::new_default();
    let status = message.init_root::<interface_status::Builder<'_>>();
    assert_eq!(decode::network(status.into_reader()).expect("decoded").address, "");
}
