//! Good machines with random bytes changed: nothing may panic, hang or be read out of bounds.

use super::super::*;
use super::build::*;
use super::good::{gce, q35};

/// A small generator with a full period; the sequence is the same in every run. [Vigna, xorshift64*]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn spoil(machine: &mut Machine, random: &mut Random) {
    let count = machine.bytes_mut().count();
    for _ in 0..=random.below(6) {
        let at = random.below(count);
        let value = match random.below(4) {
            0 => 0,
            1 => 0xff,
            2 => 1 << random.below(8),
            _ => random.next() as u8,
        };
        if let Some(byte) = machine.bytes_mut().nth(at) {
            *byte = value;
        }
    }
}

fn assert_bounded(tables: &PlatformTables) {
    let unique = |id| tables.processors.iter().filter(|&&other| other == id).count() == 1;
    assert!(tables.processors.iter().all(|&id| unique(id)));
    assert!(tables.overrides.iter().all(|found| found.isa_irq < 16));
    assert!(tables.soft_off.is_none_or(|off| off.type_a < 8 && off.type_b < 8));
    assert!(tables.ecam_regions.iter().all(|region| region.range().is_some()));
    let units = &tables.dma_remapping.units;
    assert!(units.iter().all(|unit| unit.range().is_some()));
    assert!(units.iter().flat_map(|unit| &unit.listed).all(|scope| !scope.path.is_empty()));
}

/// IOMMUs of every kind that there is.
fn isolated() -> Vec<u8> {
    let listed =
        dmar_unit(0, 0, 0xfed9_1000, &[dmar_scope(1, 0, 0, &[2, 0]), dmar_scope(2, 0, 0, &[28, 0, 0, 0])]);
    dmar(1, &[listed, dmar_unit(1, 0, 0xfed9_0000, &[dmar_scope(3, 0, 0xff, &[0, 0])])])
}

#[test]
fn spoiled_tables_are_read_without_harm() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for good in [gce(), q35(), Machine::with_rsdt(&[isolated()])] {
        for round in 0..20_000 {
            let mut machine = good.clone();
            spoil(&mut machine, &mut random);
            // Every other round the checksums are made right, so that the spoiled fields are used.
            if round % 2 == 0 {
                machine.fix_checksums();
            }
            assert_bounded(&read_tables(Some(PhysicalAddress(ROOT_POINTER)), &machine));
        }
    }
}

#[test]
fn tables_cut_at_any_length_are_read_without_harm() {
    let entries = [local_apic(0, 1), local_x2apic(5, 1), io_apic(0xfec0_0000, 0), source_override(0, 2, 0)];
    for whole in [madt(&entries), isolated()] {
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            if length >= 10 {
                cut[4..8].copy_from_slice(&(length as u32).to_le_bytes());
                fix_checksum(&mut cut, 9);
            }
            assert_bounded(&read_tables(Some(PhysicalAddress(ROOT_POINTER)), &Machine::with_rsdt(&[cut])));
        }
    }
}
