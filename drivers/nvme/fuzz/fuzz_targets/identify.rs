//! Reads any bytes as what controller and namespaces say of themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvme::{active_namespaces, controller, namespace};

fuzz_target!(|bytes: &[u8]| {
    let facts = controller(bytes, 12);
    assert!(facts.name.len() <= 64 && facts.model.len() <= 40);
    if let Ok(namespace) = namespace(bytes, &facts) {
        assert!(namespace.block_bytes.is_power_of_two() && (512..=65536).contains(&namespace.block_bytes));
        assert!(namespace.blocks.checked_mul(namespace.block_bytes.into()).is_some());
    }
    let list = active_namespaces(bytes, 0);
    assert!(list.is_sorted() && list.len() <= 32);
});
