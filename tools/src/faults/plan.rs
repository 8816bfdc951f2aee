//! What is injected when: everything follows from the campaign's seed and an injection's number.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// What happens to a driver or its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The process stops at whatever instruction it is.
    Hang,
    /// Random words are written to random writable memory of the process.
    Write,
    /// A descriptor or a completion in the device's queues is changed.
    Descriptor,
    /// A wrong value is written to a register of the device.
    Register,
    /// One to three interrupts in a row do not reach the driver.
    Interrupt,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Hang, Self::Write, Self::Descriptor, Self::Register, Self::Interrupt];

    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Write => "write",
            Self::Descriptor => "descriptor",
            Self::Register => "register",
            Self::Interrupt => "interrupt",
        }
    }

    /// Whether something must stand between driver and device.
    pub const fn needs_injector(self) -> bool {
        matches!(self, Self::Descriptor | Self::Register | Self::Interrupt)
    }
}

/// The process that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The driver of the modern card.
    VirtioNet,
    /// The same of a legacy card.
    VirtioNetLegacy,
    /// The NVMe driver.
    Nvme,
    /// The driver of virtio block devices.
    VirtioBlk,
    /// The driver of virtio SCSI hosts.
    VirtioScsi,
    /// The network stack.
    Netstack,
    /// The serial port's driver.
    Uart,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::VirtioNet,
        Self::VirtioNetLegacy,
        Self::Nvme,
        Self::VirtioBlk,
        Self::VirtioScsi,
        Self::Netstack,
        Self::Uart,
    ];

    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VirtioNetLegacy => "virtio-net-legacy",
            other => other.process(),
        }
    }

    /// The process's name in the manifest.
    pub const fn process(self) -> &'static str {
        match self {
            Self::VirtioNet | Self::VirtioNetLegacy => "virtio-net",
            Self::Nvme => "nvme",
            Self::VirtioBlk => "virtio-blk",
            Self::VirtioScsi => "virtio-scsi",
            Self::Netstack => "netstack",
            Self::Uart => "uart",
        }
    }

    /// Whether it has a PCI function that an injector can stand before.
    const fn has_device(self) -> bool {
        !matches!(self, Self::Netstack | Self::Uart)
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Injection {
    /// Its number in the campaign.
    pub index: u64,
    /// Who is hit.
    pub target: Target,
    /// By what.
    pub fault: Fault,
    /// Decides the rest.
    pub seed: u64,
    /// Guest time for which all runs before it.
    #[serde(skip)]
    pub delay: Duration,
}

/// A campaign that can be run again.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Of everything random.
    pub seed: u64,
    /// How many injections.
    pub count: u64,
    /// Who is hit, in turns of equal length.
    pub targets: Vec<Target>,
    /// What by.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// All injections, in order: target by target, since each has a machine of its own.
    pub fn injections(&self) -> Vec<Injection> {
        let each = self.count.div_ceil(self.targets.len().max(1) as u64).max(1);
        (0..self.count).filter_map(|index| self.injection(index, each)).collect()
    }

    fn injection(&self, index: u64, each: u64) -> Option<Injection> {
        let target = *self.targets.get(usize::try_from(index / each).ok()?)?;
        let faults: Vec<_> =
            self.faults.iter().filter(|fault| target.has_device() || !fault.needs_injector()).collect();
        let mut random = Random::new(self.seed ^ index.wrapping_mul(0x2545_f491_4f6c_dd1d));
        // The kinds take turns, so that a short campaign has them all; their order changes.
        let count = faults.len().max(1) as u64;
        let (turn, place) = (index % each / count, index % each % count);
        let fault = **faults.get(usize::try_from((place + turn) % count).ok()?)?;
        let seed = random.number() >> 1;
        let delay = Duration::from_millis(random.below(40));
        Some(Injection { index, target, fault, seed, delay })
    }
}

/// A small generator whose run follows from its seed (splitmix64).
pub struct Random(u64);

impl Random {
    /// Seeds differ in their runs.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    /// The next number, below a limit that is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(count: u64, targets: &[Target]) -> Plan {
        Plan { seed: 7, count, targets: targets.to_vec(), faults: Fault::ALL.to_vec() }
    }

    #[test]
    fn a_seed_decides_everything() {
        let all = plan(100, &[Target::Nvme, Target::VirtioNet]).injections();
        assert_eq!(all, plan(100, &[Target::Nvme, Target::VirtioNet]).injections());
        let other = Plan { seed: 8, ..plan(100, &[Target::Nvme, Target::VirtioNet]) }.injections();
        assert_ne!(all[0].seed, other[0].seed);
    }

    #[test]
    fn kinds_and_targets_take_turns() {
        let all = plan(24, &[Target::Nvme, Target::Uart]).injections();
        assert_eq!(all.len(), 24);
        assert!(all.iter().take(12).all(|one| one.target == Target::Nvme));
        for fault in Fault::ALL {
            assert_eq!(all.iter().take(12).filter(|one| one.fault == fault).count(), 2, "{fault:?}");
        }
        assert!(all.iter().skip(12).all(|one| one.target == Target::Uart && !one.fault.needs_injector()));
    }
}
