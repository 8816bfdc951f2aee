//! What the running processor can do, read by CPUID. [SDM vol. 2A, CPUID] [APM vol. 3, appendix E]

use core::arch::x86_64::{__cpuid_count, CpuidResult};

use bitflags::bitflags;

use crate::address::PhysicalRange;

bitflags! {
    /// Abilities that the kernel adapts to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// Pages can be made not executable.
        const NO_EXECUTE = 1 << 0;
        /// The kernel can be kept from executing user pages.
        const SMEP = 1 << 1;
        /// The kernel can be kept from reading and writing user pages.
        const SMAP = 1 << 2;
        /// User code can be kept from reading descriptor table addresses.
        const UMIP = 1 << 3;
        /// User code can read and write its segment bases.
        const FSGSBASE = 1 << 4;
        /// XSAVE and XRSTOR.
        const XSAVE = 1 << 5;
        /// XSAVEOPT.
        const XSAVEOPT = 1 << 6;
        /// The time stamp counter runs at one rate in all power states.
        const INVARIANT_TSC = 1 << 7;
        /// The local APIC timer can fire at a time stamp.
        const TSC_DEADLINE = 1 << 8;
        /// The local APIC can be used through model-specific registers.
        const X2APIC = 1 << 9;
        /// Page tables can map 1 GiB at once.
        const GIGABYTE_PAGES = 1 << 10;
        /// Address space identifiers in CR3.
        const PCID = 1 << 11;
        /// INVPCID.
        const INVPCID = 1 << 12;
        /// RDRAND.
        const RDRAND = 1 << 13;
        /// RDSEED.
        const RDSEED = 1 << 14;
        /// RDTSCP and IA32_TSC_AUX.
        const RDTSCP = 1 << 15;
        /// Translations can be kept over a change of CR3.
        const GLOBAL_PAGES = 1 << 16;
        /// The processor runs under a hypervisor.
        const HYPERVISOR = 1 << 17;
        /// A local APIC is present.
        const LOCAL_APIC = 1 << 18;
        /// The page attribute table.
        const PAT = 1 << 19;
        /// AVX, which makes the extended state larger when it is switched on.
        const AVX = 1 << 20;
    }
}

/// What CPUID says of the processor it ran on.
#[derive(Clone, Copy, Debug)]
pub struct ProcessorInfo {
    /// Abilities.
    pub features: Features,
    /// Bits of a physical address, 36 to 52.
    pub physical_address_bits: u8,
    /// The local APIC's identifier at reset, 8 bits.
    pub initial_apic_id: u8,
    /// Bytes of the XSAVE area for all state that the processor has; 512 without XSAVE (FXSAVE).
    pub extended_state_size: u32,
    /// State components that XCR0 can enable; 0 without XSAVE.
    pub extended_state_components: u64,
    /// Rate of the time stamp counter in Hz as the processor or the hypervisor states it, and who said so.
    pub stated_tsc: Option<(u64, StatedBy)>,
    /// Rate of the local APIC timer before its divider in Hz, as stated.
    pub stated_local_apic_timer: Option<u64>,
    /// The brand string.
    pub brand: Text<48>,
    /// The hypervisor's signature; empty without one.
    pub hypervisor: Text<12>,
}

/// Who stated the rate of the time stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatedBy {
    /// CPUID leaf 0x15: a crystal and a ratio.
    CrystalRatio,
    /// CPUID leaf 0x16: the base frequency in MHz.
    BaseFrequency,
    /// CPUID leaf 0x4000_0010 of the hypervisor.
    Hypervisor,
}

/// A short text that CPUID gave, kept as printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    fn from_registers(registers: impl Iterator<Item = u32>) -> Self {
        let mut bytes = [0; N];
        for (slot, byte) in bytes.iter_mut().zip(registers.flat_map(u32::to_le_bytes)) {
            if byte == 0 {
                break;
            }
            *slot = if byte.is_ascii_graphic() || byte == b' ' { byte } else { b'?' };
        }
        Self { bytes }
    }

    /// The text, without blanks around it.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default().trim()
    }
}

/// Lowest and highest rate of a time stamp counter that is believed, in Hz.
pub const PLAUSIBLE_TSC: core::ops::RangeInclusive<u64> = 100_000_000..=20_000_000_000;

/// Lowest and highest rate of a local APIC timer that is believed, in Hz.
pub const PLAUSIBLE_LOCAL_APIC_TIMER: core::ops::RangeInclusive<u64> = 1_000_000..=20_000_000_000;

/// Asks the running processor.
pub fn identify() -> ProcessorInfo {
    decode(__cpuid_count)
}

/// All addresses that the running processor has.
pub(crate) fn address_space() -> PhysicalRange {
    let bits = identify().physical_address_bits;
    // `decode` keeps it between 36 and 52.
    PhysicalRange::from_zero(u64::MAX >> (64 - bits))
}

/// Reads the answers of `cpuid(leaf, subleaf)`.
fn decode(cpuid: impl Fn(u32, u32) -> CpuidResult) -> ProcessorInfo {
    // A leaf past the maximum answers with another leaf's data on Intel: every use asks this first.
    let leaf = |base: u32, number: u32, subleaf: u32| {
        let maximum = cpuid(base, 0).eax;
        let present = number <= maximum && maximum < base.saturating_add(0x1_0000);
        if present { cpuid(number, subleaf) } else { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } }
    };
    let basic = |number, subleaf| leaf(0, number, subleaf);
    let extended = |number| leaf(0x8000_0000, number, 0);

    let one = basic(1, 0);
    let seven = basic(7, 0);
    let save = basic(0xd, 1);
    let extended_one = extended(0x8000_0001);
    let power = extended(0x8000_0007);

    let mut features = Features::empty();
    for (register, bit, feature) in [
        (extended_one.edx, 20, Features::NO_EXECUTE),
        (seven.ebx, 7, Features::SMEP),
        (seven.ebx, 20, Features::SMAP),
        (seven.ecx, 2, Features::UMIP),
        (seven.ebx, 0, Features::FSGSBASE),
        (one.ecx, 26, Features::XSAVE),
        (save.eax, 0, Features::XSAVEOPT),
        (power.edx, 8, Features::INVARIANT_TSC),
        (one.ecx, 24, Features::TSC_DEADLINE),
        (one.ecx, 21, Features::X2APIC),
        (extended_one.edx, 26, Features::GIGABYTE_PAGES),
        (one.ecx, 17, Features::PCID),
        (seven.ebx, 10, Features::INVPCID),
        (one.ecx, 30, Features::RDRAND),
        (seven.ebx, 18, Features::RDSEED),
        (extended_one.edx, 27, Features::RDTSCP),
        (one.edx, 13, Features::GLOBAL_PAGES),
        (one.ecx, 31, Features::HYPERVISOR),
        (one.edx, 9, Features::LOCAL_APIC),
        (one.edx, 16, Features::PAT),
        (one.ecx, 28, Features::AVX),
    ] {
        features.set(feature, register >> bit & 1 == 1);
    }

    let hypervisor_leaf = |number| {
        if features.contains(Features::HYPERVISOR) {
            leaf(0x4000_0000, number, 0)
        } else {
            CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 }
        }
    };
    let signature = hypervisor_leaf(0x4000_0000);
    let timing = hypervisor_leaf(0x4000_0010);
    let sizes = extended(0x8000_0008);
    let components = basic(0xd, 0);
    let has_xsave = features.contains(Features::XSAVE);

    ProcessorInfo {
        features,
        physical_address_bits: (sizes.eax as u8).clamp(36, 52),
        initial_apic_id: (one.ebx >> 24) as u8,
        extended_state_size: if has_xsave { components.ecx.max(576) } else { 512 },
        extended_state_components: if has_xsave {
            u64::from(components.edx) << 32 | u64::from(components.eax)
        } else {
            0
        },
        stated_tsc: stated_tsc(basic(0x15, 0), basic(0x16, 0), timing),
        stated_local_apic_timer: Some(u64::from(timing.ebx) * 1000)
            .filter(|rate| PLAUSIBLE_LOCAL_APIC_TIMER.contains(rate)),
        brand: Text::from_registers(
            (0x8000_0002..=0x8000_0004)
                .map(extended)
                .flat_map(|part| [part.eax, part.ebx, part.ecx, part.edx]),
        ),
        hypervisor: Text::from_registers([signature.ebx, signature.ecx, signature.edx].into_iter()),
    }
}

/// The first stated rate that is plausible.
///
/// The hypervisor is asked first: leaves 0x15 and 0x16 may be passed through from a host on which the guest's
/// counter is scaled. Leaf 0x15 without a crystal frequency gives only a ratio, and leaf 0x16 is in whole MHz, which is up to 0.05 % off;
/// it is used under no hypervisor only.
fn stated_tsc(ratio: CpuidResult, base: CpuidResult, timing: CpuidResult) -> Option<(u64, StatedBy)> {
    let hypervisor = u64::from(timing.eax) * 1000;
    let crystal = match ratio.eax {
        0 => 0,
        denominator => u64::from(ratio.ecx).saturating_mul(u64::from(ratio.ebx)) / u64::from(denominator),
    };
    let megahertz = u64::from(base.eax as u16) * 1_000_000;
    [
        (hypervisor, StatedBy::Hypervisor),
        (crystal, StatedBy::CrystalRatio),
        (megahertz, StatedBy::BaseFrequency),
    ]
    .into_iter()
    .find(|(rate, _)| PLAUSIBLE_TSC.contains(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

    fn word(text: &[u8; 4]) -> u32 {
        u32::from_le_bytes(*text)
    }

    #[test]
    fn the_host_processor_is_identified() {
        let info = identify();
        assert!(info.features.contains(Features::NO_EXECUTE | Features::LOCAL_APIC));
        assert!(!info.brand.as_str().is_empty());
    }

    #[test]
    fn leaves_past_the_maximum_are_not_believed() {
        let info = decode(|leaf, _| match leaf {
            0 => CpuidResult { eax: 1, ..NOTHING },
            1 => NOTHING,
            0x8000_0000 => CpuidResult { eax: 0x0000_0007, ..NOTHING },
            _ => CpuidResult { eax: !0, ebx: !0, ecx: !0, edx: !0 },
        });
        assert_eq!(info.features, Features::empty());
        assert_eq!(info.stated_tsc, None);
        assert_eq!(info.extended_state_size, 512);
        assert_eq!(info.physical_address_bits, 36);
        assert_eq!(info.brand.as_str(), "");
    }

    #[test]
    fn a_hypervisor_states_the_rate_of_the_counter() {
        let info = decode(|leaf, _| match leaf {
            0 => CpuidResult { eax: 0x16, ..NOTHING },
            1 => CpuidResult { ecx: 1 << 31, ..NOTHING },
            0x16 => CpuidResult { eax: 3000, ..NOTHING },
            0x4000_0000 => CpuidResult {
                eax: 0x4000_0010,
                ebx: word(b"KVMK"),
                ecx: word(b"VMKV"),
                edx: word(b"M\0\0\0"),
            },
            0x4000_0010 => CpuidResult { eax: 2_199_998, ebx: 1_000_000, ..NOTHING },
            _ => NOTHING,
        });
        assert_eq!(info.stated_tsc, Some((2_199_998_000, StatedBy::Hypervisor)));
        assert_eq!(info.stated_local_apic_timer, Some(1_000_000_000));
        assert_eq!(info.hypervisor.as_str(), "KVMKVMKVM");
    }

    #[test]
    fn implausible_rates_are_passed_over() {
        let ratio = CpuidResult { eax: 2, ebx: 200, ecx: 24_000_000, edx: 0 };
        let base = CpuidResult { eax: 2400, ..NOTHING };
        let slow = CpuidResult { eax: 5, ..NOTHING };
        assert_eq!(stated_tsc(ratio, base, slow), Some((2_400_000_000, StatedBy::CrystalRatio)));
        let no_crystal = CpuidResult { ecx: 0, ..ratio };
        assert_eq!(stated_tsc(no_crystal, base, NOTHING), Some((2_400_000_000, StatedBy::BaseFrequency)));
        let no_denominator = CpuidResult { eax: 0, ..ratio };
        assert_eq!(stated_tsc(no_denominator, NOTHING, NOTHING), None);
    }
}
