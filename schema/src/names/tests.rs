//! The table against the text of the schemas.

extern crate std;

use super::*;
use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use capnp::traits::HasTypeId;

/// Interfaces and their methods as the files spell them. An interface's body is indented; a method is `name @number (`.
fn spelled() -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "capnp") {
            continue;
        }
        let mut methods: Option<&mut Vec<String>> = None;
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            if let Some(rest) = line.strip_prefix("interface ") {
                let name = rest.split_whitespace().next().unwrap();
                methods = Some(found.entry(name.into()).or_default());
            } else if !line.starts_with(' ') && !line.is_empty() {
                methods = None;
            }
            let words: Vec<&str> = line.split_whitespace().take(3).collect();
            if let (Some(methods), [name, number, after]) = (&mut methods, words.as_slice())
                && let Some(number) = number.strip_prefix('@')
                && after.starts_with('(')
            {
                assert_eq!(number.parse(), Ok(methods.len()), "{name} in {}", path.display());
                methods.push((*name).into());
            }
        }
    }
    found
}

#[test]
fn every_interface_and_method_is_in_the_table() {
    let listed: BTreeMap<String, Vec<String>> = INTERFACES
        .iter()
        .map(|interface| {
            (interface.name.into(), interface.methods.iter().map(|method| (*method).into()).collect())
        })
        .collect();
    assert!(listed.len() > 30 && listed.len() == INTERFACES.len(), "two interfaces have one name");
    assert_eq!(listed, spelled());
}

#[test]
fn the_table_is_sorted_by_id() {
    assert!(INTERFACES.is_sorted_by(|one, next| one.id < next.id));
    for known in INTERFACES {
        assert_eq!(interface(known.id).map(|found| found.name), Some(known.name));
    }
}

#[test]
fn methods_are_shown_by_name() {
    let shown = |interface, method| Method { interface, method }.to_string();
    let block = crate::block_capnp::block_device::Client::TYPE_ID;
    let echo = crate::test_capnp::echo::Client::TYPE_ID;
    assert_eq!(shown(block, 1), "BlockDevice.open");
    assert_eq!(shown(echo, 2), "Echo.never");
    assert_eq!(shown(echo, 999), "Echo method 999");
    assert_eq!(shown(0x1234, 7), "interface 0x1234 method 7");
    assert_eq!(shown(0, 0), "interface 0x0 method 0");
}

/// It is part of programs that have little memory.
#[test]
fn the_table_is_small() {
    let texts = |interface: &Interface| {
        let methods =
            interface.methods.iter().map(|method| method.len() + size_of_val(method)).sum::<usize>();
        size_of_val(interface) + interface.name.len() + methods
    };
    let bytes: usize = INTERFACES.iter().map(texts).sum();
    assert!(bytes < 10 << 10, "{bytes} bytes");
}
