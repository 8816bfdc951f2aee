//! Resetting one function, and restoring what firmware had set up.
//!
//! The kernel cannot wait, so a reset is a state machine whose owner calls back when the time that it asked for is over:
//!
//! ```text
//!              1 start_reset                    2 no transaction pending, or time up
//!  (function) ---------------> Draining -----------------------------------------------> Recovering
//!                                 |                                                       |   |
//!                                 | 2 (power state)                        3 answers again|   |4 does not
//!                                 +-------> Sleeping --- 5 back to D0 -------> Recovering v   v
//!                                                                                      Done   Failed
//! ```

use core::time::Duration;

use super::capabilities::SPACE;
use super::{ConfigurationSpace, Function, MAXIMUM_BARS, PciAddress, ResetCapability, command, register};

/// How a function is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetMethod {
    /// Function-level reset by the PCI Express capability.
    FunctionLevel,
    /// Function-level reset by the Advanced Features capability.
    AdvancedFeatures,
    /// Leaving and entering power state D0.
    PowerState,
}

impl ResetMethod {
    /// The method's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FunctionLevel => "function-level reset",
            Self::AdvancedFeatures => "advanced features reset",
            Self::PowerState => "power-state reset",
        }
    }
}

/// What a reset wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetStep {
    /// [`Reset::advance`] again after so long, not earlier.
    Wait(Duration),
    /// The function is reset; its BARs and command register are as before, less decoding, bus master and interrupts.
    Done,
    /// The function does not answer any more. It must not be used again.
    Failed,
}

/// A reset under way.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    address: PciAddress,
    capability: ResetCapability,
    identity: u32,
    saved: Saved,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Draining { polls_left: u8 },
    Sleeping,
    Recovering { polls_left: u8 },
    Done,
    Failed,
}

/// What a reset destroys and drivers rely on.
#[derive(Clone, Copy, Debug)]
struct Saved {
    command: u16,
    cache_line_and_latency: u16,
    bars: [u32; MAXIMUM_BARS],
    expansion_rom: u32,
    interrupt_line: u8,
    express: Option<ExpressControl>,
}

/// Settings of the link and of the transactions that firmware chose. [PCIe-6.0 7.5.3]
#[derive(Clone, Copy, Debug)]
struct ExpressControl {
    offset: u16,
    device: u16,
    link: u16,
    device_2: Option<u16>,
}

const EXPRESS_CAPABILITIES: u16 = 0x02;
const EXPRESS_DEVICE_CONTROL: u16 = 0x08;
const EXPRESS_DEVICE_STATUS: u16 = 0x0a;
const EXPRESS_LINK_CONTROL: u16 = 0x10;
const EXPRESS_DEVICE_CONTROL_2: u16 = 0x28;
const EXPRESS_INITIATE_RESET: u16 = 1 << 15;
const EXPRESS_TRANSACTIONS_PENDING: u16 = 1 << 5;
const FEATURES_CONTROL: u16 = 0x04;
const FEATURES_STATUS: u16 = 0x05;
const FEATURES_INITIATE_RESET: u8 = 1;
const FEATURES_TRANSACTIONS_PENDING: u8 = 1;
const POWER_CONTROL: u16 = 0x04;
const POWER_STATE: u16 = 0b11;
const POWER_STATE_D3: u16 = 0b11;

/// A function may take so long to end its transactions once it is no bus master. [PCIe-6.0 6.6.2]
const DRAIN_POLL: Duration = Duration::from_millis(1);
const DRAIN_POLLS: u8 = 100;
/// A function-level reset is over after so long. [PCIe-6.0 6.6.2]
const FUNCTION_LEVEL_RESET_TIME: Duration = Duration::from_millis(100);
/// Entering and leaving D3hot takes so long each. [PCI-PM-1.2 5.6.1]
const POWER_STATE_TIME: Duration = Duration::from_millis(10);
/// A function may ask for more time by not answering, one second in all. [PCIe-6.0 6.6.1]
const RECOVERY_POLL: Duration = Duration::from_millis(10);
const RECOVERY_POLLS: u8 = 100;

/// Vendor ids that stand for "no answer" and "not yet" (configuration request retry status).
const NO_ANSWER: u16 = 0xffff;
const NOT_YET: u16 = 0x0001;

/// Silences the function and starts its reset; `None` when it offers none, and it is then only silenced. [`Reset::advance`] comes
/// next, at once.
pub fn start_reset(configuration: &mut impl ConfigurationSpace, function: &Function) -> Option<Reset> {
    function.silence(configuration);
    let capability = function.reset?;
    let address = function.address;
    let saved = Saved::read(configuration, function);
    let before = configuration.read_u16(address, register::COMMAND);
    let decode = command::IO_DECODE | command::MEMORY_DECODE;
    configuration.write_u16(address, register::COMMAND, before & !decode);
    let identity = configuration.read_u32(address, register::VENDOR);
    let stage = Stage::Draining { polls_left: DRAIN_POLLS };
    Some(Reset { address, capability, identity, saved, stage })
}

impl Reset {
    /// How the function is being reset.
    pub const fn method(&self) -> ResetMethod {
        match self.capability {
            ResetCapability::Express(_) => ResetMethod::FunctionLevel,
            ResetCapability::AdvancedFeatures(_) => ResetMethod::AdvancedFeatures,
            ResetCapability::PowerState(_) => ResetMethod::PowerState,
        }
    }

    /// Does the next step. Bounded: it is over after about 1.3 seconds of the waits that it asks for.
    pub fn advance(&mut self, configuration: &mut impl ConfigurationSpace) -> ResetStep {
        match self.stage {
            Stage::Draining { polls_left: 1.. } if self.has_transactions(configuration) => {
                if let Stage::Draining { polls_left } = &mut self.stage {
                    *polls_left -= 1;
                }
                ResetStep::Wait(DRAIN_POLL)
            }
            Stage::Draining { .. } => self.initiate(configuration),
            Stage::Sleeping => {
                if let ResetCapability::PowerState(offset) = self.capability {
                    set_power_state(configuration, self.address, offset, 0);
                }
                self.stage = Stage::Recovering { polls_left: RECOVERY_POLLS };
                ResetStep::Wait(POWER_STATE_TIME)
            }
            Stage::Recovering { polls_left } => self.recover(configuration, polls_left),
            Stage::Done => ResetStep::Done,
            Stage::Failed => ResetStep::Failed,
        }
    }

    fn has_transactions(&self, configuration: &mut impl ConfigurationSpace) -> bool {
        match self.capability {
            ResetCapability::Express(offset) => {
                let status = configuration.read_u16(self.address, offset + EXPRESS_DEVICE_STATUS);
                status & EXPRESS_TRANSACTIONS_PENDING != 0
            }
            ResetCapability::AdvancedFeatures(offset) => {
                let status = configuration.read_u8(self.address, offset + FEATURES_STATUS);
                status & FEATURES_TRANSACTIONS_PENDING != 0
            }
            ResetCapability::PowerState(_) => false,
        }
    }

    fn initiate(&mut self, configuration: &mut impl ConfigurationSpace) -> ResetStep {
        if matches!(self.stage, Stage::Draining { polls_left: 0 }) {
            log::error!("pci: {}: transactions stay pending; reset all the same", self.address);
        }
        let recovering = Stage::Recovering { polls_left: RECOVERY_POLLS };
        let (stage, time) = match self.capability {
            ResetCapability::Express(offset) => {
                let at = offset + EXPRESS_DEVICE_CONTROL;
                let control = configuration.read_u16(self.address, at);
                configuration.write_u16(self.address, at, control | EXPRESS_INITIATE_RESET);
                (recovering, FUNCTION_LEVEL_RESET_TIME)
            }
            ResetCapability::AdvancedFeatures(offset) => {
                configuration.write_u8(self.address, offset + FEATURES_CONTROL, FEATURES_INITIATE_RESET);
                (recovering, FUNCTION_LEVEL_RESET_TIME)
            }
            ResetCapability::PowerState(offset) => {
                set_power_state(configuration, self.address, offset, POWER_STATE_D3);
                (Stage::Sleeping, POWER_STATE_TIME)
            }
        };
        self.stage = stage;
        ResetStep::Wait(time)
    }

    fn recover(&mut self, configuration: &mut impl ConfigurationSpace, polls_left: u8) -> ResetStep {
        let identity = configuration.read_u32(self.address, register::VENDOR);
        // The low half is the vendor id.
        let answers = !matches!(identity as u16, NO_ANSWER | NOT_YET);
        if answers && identity == self.identity {
            self.saved.restore(configuration, self.address);
            self.stage = Stage::Done;
            return ResetStep::Done;
        }
        if answers || polls_left == 0 {
            log::error!("pci: {}: gone after its reset (answers {identity:#x})", self.address);
            self.stage = Stage::Failed;
            return ResetStep::Failed;
        }
        self.stage = Stage::Recovering { polls_left: polls_left - 1 };
        ResetStep::Wait(RECOVERY_POLL)
    }
}

fn set_power_state(
    configuration: &mut impl ConfigurationSpace,
    address: PciAddress,
    offset: u16,
    state: u16,
) {
    let control = configuration.read_u16(address, offset + POWER_CONTROL);
    configuration.write_u16(address, offset + POWER_CONTROL, control & !POWER_STATE | state);
}

impl Saved {
    fn read(configuration: &mut impl ConfigurationSpace, function: &Function) -> Self {
        let address = function.address;
        let mut bars = [0; MAXIMUM_BARS];
        for (bar, offset) in bars.iter_mut().zip((register::FIRST_BAR..).step_by(4)) {
            *bar = configuration.read_u32(address, offset);
        }
        let express = function.express.map(|offset| {
            let version = configuration.read_u16(address, offset + EXPRESS_CAPABILITIES) & 0xf;
            ExpressControl {
                offset,
                device: configuration.read_u16(address, offset + EXPRESS_DEVICE_CONTROL),
                link: configuration.read_u16(address, offset + EXPRESS_LINK_CONTROL),
                device_2: (version >= 2 && offset + EXPRESS_DEVICE_CONTROL_2 + 2 <= SPACE)
                    .then(|| configuration.read_u16(address, offset + EXPRESS_DEVICE_CONTROL_2)),
            }
        });
        Self {
            command: configuration.read_u16(address, register::COMMAND),
            cache_line_and_latency: configuration.read_u16(address, register::CACHE_LINE_AND_LATENCY),
            bars,
            expansion_rom: configuration.read_u32(address, register::EXPANSION_ROM),
            interrupt_line: configuration.read_u8(address, register::INTERRUPT_LINE),
            express,
        }
    }

    /// Writes everything back, the command register last: the function answers only where it should.
    fn restore(&self, configuration: &mut impl ConfigurationSpace, address: PciAddress) {
        for (bar, offset) in self.bars.iter().zip((register::FIRST_BAR..).step_by(4)) {
            configuration.write_u32(address, offset, *bar);
        }
        configuration.write_u32(address, register::EXPANSION_ROM, self.expansion_rom);
        configuration.write_u16(address, register::CACHE_LINE_AND_LATENCY, self.cache_line_and_latency);
        configuration.write_u8(address, register::INTERRUPT_LINE, self.interrupt_line);
        if let Some(express) = self.express {
            let device = express.device & !EXPRESS_INITIATE_RESET;
            configuration.write_u16(address, express.offset + EXPRESS_DEVICE_CONTROL, device);
            configuration.write_u16(address, express.offset + EXPRESS_LINK_CONTROL, express.link);
            if let Some(device_2) = express.device_2 {
                configuration.write_u16(address, express.offset + EXPRESS_DEVICE_CONTROL_2, device_2);
            }
        }
        configuration.write_u16(address, register::COMMAND, self.command & !command::BUS_MASTER);
    }
}
