//! Reads any bytes as a device's vendor capabilities; what is accepted must lie inside the BARs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use virtio::{ModernLayout, Place, VendorCapability};

const BARS: [u64; 6] = [0, 4096, 0, 64, 16384, u32::MAX as u64];

fn inside(place: Place) -> bool {
    u64::from(place.offset) + u64::from(place.length) <= BARS[usize::from(place.bar)]
}

fuzz_target!(|bytes: &[u8]| {
    let capabilities = bytes.chunks_exact(20).filter_map(|bytes| VendorCapability::parse(bytes.try_into().ok()?));
    if let Ok(layout) = ModernLayout::new(capabilities, &BARS) {
        assert!(inside(layout.common) && layout.common.length >= 56);
        assert!(inside(layout.notify) && inside(layout.isr) && layout.device.is_none_or(inside));
    }
});
