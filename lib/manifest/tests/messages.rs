//! Hostile messages: what no manifest text can say, and bytes that nobody wrote. None may panic.

use capnp::{message::Builder, serialize::write_message_to_words};
use capos_manifest::{Fault, Manifest, Problem, Surroundings, graph, read_message};
use schema::manifest_capnp as wire;

const SURROUNDINGS: Surroundings<'_> = Surroundings { frames: 16_384, binaries: None };

fn read(bytes: &[u8]) -> Result<Manifest, Vec<Problem>> {
    read_message(bytes, &SURROUNDINGS)
}

/// A manifest with one entry, as bytes.
fn with_entry(fill: impl FnOnce(wire::entry::Builder<'_>)) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut manifest = message.init_root::<wire::manifest::Builder<'_>>();
    manifest.set_name("m");
    fill(manifest.init_entries(1).get(0));
    write_message_to_words(&message)
}

/// A manifest that uses every part of the schema.
fn full() -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut manifest = message.init_root::<wire::manifest::Builder<'_>>();
    manifest.set_name("full");
    let mut entries = manifest.init_entries(2);
    let mut driver = entries.reborrow().get(0);
    driver.set_name("driver");
    driver.reborrow().init_quotas().set_dma_pages(16);
    driver.reborrow().init_exports(1).set(0, "nic");
    let mut grants = driver.init_grants(3);
    let mut grant = grants.reborrow().get(0);
    grant.set_name("device");
    let mut device = grant.init_device();
    device.set_vendor(0x1af4);
    device.set_dma(wire::DmaMode::Trusted);
    device.init_devices(2).set(0, 0x1000);
    let mut grant = grants.reborrow().get(1);
    grant.set_name("ports");
    let mut ports = grant.init_io_ports();
    ports.set_first(0x3f8);
    ports.set_count(8);
    let mut grant = grants.get(2);
    grant.set_name("clock");
    grant.set_kernel(wire::KernelObject::Clock);
    let mut stack = entries.get(1);
    stack.set_name("stack");
    let mut argument = stack.reborrow().init_arguments(1).get(0);
    argument.set_name("address");
    argument.set_value("dhcp");
    stack.reborrow().init_restart().set_maximum(3);
    let mut grants = stack.init_grants(1);
    let mut grant = grants.reborrow().get(0);
    grant.set_name("nic");
    let mut export = grant.init_export();
    export.set_process("driver");
    export.set_name("nic");
    write_message_to_words(&message)
}

#[test]
fn a_text_that_is_too_long_is_refused_unread() {
    let bytes = with_entry(|mut entry| {
        entry.set_name("a");
        entry.set_binary("x".repeat(1025).as_str());
    });
    let problems = read(&bytes).unwrap_err();
    assert_eq!(problems[0].to_string(), "process \"a\": binary of 1025 bytes is too long");
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let bytes = with_entry(|entry| entry.init_name(2).as_bytes_mut().copy_from_slice(b"\xff\xfe"));
    let problems = read(&bytes).unwrap_err();
    assert_eq!(problems[0].to_string(), "process 1 (unnamed): name is not UTF-8 text");
}

#[test]
fn a_value_of_a_later_schema_is_refused() {
    let bytes = full();
    // The only 16-bit field with the value 3 (clock) that makes the message say "kernel object 9".
    let changed = (0..bytes.len()).find_map(|place| {
        let mut changed = bytes.clone();
        changed[place] = 9;
        read(&changed).err().filter(|problems| {
            problems.len() == 1 && problems[0].fault == Fault::Unknown { what: "kernel object", value: 9 }
        })
    });
    assert_eq!(
        changed.unwrap()[0].to_string(),
        "process \"driver\", grant \"clock\": kernel object 9 is not known to this version"
    );
}

#[test]
fn what_is_no_message_is_malformed() {
    for bytes in [&b""[..], b"\0", &[0xff; 64], &[0; 8]] {
        // Eight zero bytes are a message of one empty segment, which has no root.
        let problems = read(bytes).unwrap_err();
        assert!(matches!(problems[0].fault, Fault::Malformed(_) | Fault::NameEmpty), "{problems:?}");
    }
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let bytes = full();
    assert!(read(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn every_flipped_bit_is_read_or_refused() {
    let bytes = full();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            look_at(&flipped);
        }
    }
}

#[test]
fn many_random_changes_are_read_or_refused() {
    let bytes = full();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..50_000 {
        let mut changed = bytes.clone();
        for _ in 0..4 {
            // xorshift64 (Marsaglia 2003): the same changes in every run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let place = usize::try_from(random >> 16).unwrap() % changed.len();
            changed[place] = random as u8;
        }
        look_at(&changed);
    }
}

/// Reads, and says or draws what came of it.
fn look_at(bytes: &[u8]) {
    match read(bytes) {
        Ok(manifest) => assert!(graph::svg(&manifest).contains("</svg>")),
        Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().is_empty())),
    }
}
