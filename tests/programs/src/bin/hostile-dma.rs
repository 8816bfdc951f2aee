//! A driver of QEMU's `edu` device that reaches for what is not its own: another device's page, and interrupts that it may
//! not raise. It says how each attempt ended; what that should be depends on the machine.
//!
//! The device copies up to 4 KiB between a buffer of its own and any bus address. [QEMU docs/specs/edu.txt]
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use capnp::Error;
use core::time::Duration;
use device::{DmaRegion, MmioRegisters, Registers, pci};
use rt::{Environment, Signal};
use schema::{
    device_capnp::{InterruptKind, interrupt, pci_function},
    system_capnp::system_info,
};

rt::program!(run);

/// Registers and bits of the device.
mod edu {
    pub(super) const IDENTITY: u32 = 0x00;
    pub(super) const RAISE_INTERRUPT: u32 = 0x60;
    pub(super) const ACKNOWLEDGE_INTERRUPT: u32 = 0x64;
    pub(super) const DMA_SOURCE: u32 = 0x80;
    pub(super) const DMA_TARGET: u32 = 0x88;
    pub(super) const DMA_COUNT: u32 = 0x90;
    pub(super) const DMA_COMMAND: u32 = 0x98;
    pub(super) const START: u32 = 1 << 0;
    pub(super) const TO_MEMORY: u32 = 1 << 1;
    /// Its buffer, as it calls it.
    pub(super) const BUFFER: u32 = 0x4_0000;
    /// The lower half of the identity, in all versions.
    pub(super) const MAGIC: u32 = 0xed;
}

/// A transfer takes 100 ms of the machine's time.
const TRANSFER: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);
/// How long something that must not happen is waited for.
const NOTHING: Duration = Duration::from_millis(200);

/// Where interrupt messages are written to. [SDM 11.11.1]
const MESSAGES: u64 = 0xfee0_0000;
/// A vector that no device here was given: the kernel hands them out from 48 on.
const UNUSED_VECTOR: u32 = 230;
/// An interrupt of the table of remapped ones: format, valid subhandle, and the index of an entry that nobody has.
/// [VT-d-4.1 5.1.2.2]
const UNUSED_ENTRY: u64 = 1 << 4 | 1 << 3 | 231 << 5;

const PATTERN: u32 = 0x5ec_0de5;
const INTACT: u32 = 0x0dd_ba11;

async fn run(environment: Environment) -> Result<(), Error> {
    let function: pci_function::Client = environment.grant("device")?;
    let pool = pci::dma_pool(&function, 8).await?;
    let mode = pool.usage_request().send().promise.await?;
    let mode = mode.get()?.get_mode()?.to_str()?;
    log::info!("hostile: mode {mode}");
    let Some(victim) = environment.optional_grant::<pci_function::Client>("victim") else {
        return Ok(());
    };
    let (own, _memory) = pci::allocate(&pool, 1).await?;
    let attacker = Attacker {
        registers: pci::registers(&function, 0).await?,
        own,
        system: environment.grant("system-info")?,
        cause: Signal::new().await?,
    };
    pci::set_bus_master(&function).await?;
    attacker.use_own(&function).await?;
    attacker.reach_for(&victim).await?;
    attacker.forge().await
}

struct Attacker {
    registers: MmioRegisters,
    own: DmaRegion,
    system: system_info::Client,
    cause: Signal,
}

/// What the machine has noticed.
#[derive(Clone, Copy)]
struct Noticed {
    /// Accesses to memory that were refused.
    accesses: u64,
    /// Interrupts that were refused by the IOMMU, or dropped by the kernel because nobody has their vector.
    interrupts: u64,
}

impl Attacker {
    async fn noticed(&self) -> Result<Noticed, Error> {
        let answer = self.system.summary_request().send().promise.await?;
        let summary = answer.get()?;
        let stray = self.system.interrupts_request().send().promise.await?.get()?.get_stray();
        let interrupts = summary.get_interrupt_faults().saturating_add(stray);
        Ok(Noticed { accesses: summary.get_dma_faults(), interrupts })
    }

    /// Copies between the device's buffer and a bus address, and waits until that is over.
    async fn transfer(&self, direction: u32, address: u64, bytes: u32) -> Result<(), Error> {
        // The device takes 64 bits, and writes of 32 with zeros above: all addresses here are below 4 GiB.
        let address = u32::try_from(address).map_err(|_| Error::failed("an address above 4 GiB".into()))?;
        let (source, target) =
            if direction == edu::TO_MEMORY { (edu::BUFFER, address) } else { (address, edu::BUFFER) };
        self.registers.write_u32(edu::DMA_SOURCE, source);
        self.registers.write_u32(edu::DMA_TARGET, target);
        self.registers.write_u32(edu::DMA_COUNT, bytes);
        self.registers.write_u32(edu::DMA_COMMAND, edu::START | direction);
        let over = async {
            while self.registers.read_u32(edu::DMA_COMMAND) & edu::START != 0 {
                rt::sleep(LOOK).await;
            }
        };
        rt::timeout(TRANSFER, over).await.map_err(|_| Error::failed("the transfer does not end".into()))
    }

    /// Fills the start of the device's buffer with one word.
    async fn load(&self, word: u32) -> Result<(), Error> {
        self.own.write_u32(0, word);
        self.transfer(0, self.own.bus(), 4).await
    }

    /// What the driver may do must work.
    async fn use_own(&self, function: &pci_function::Client) -> Result<(), Error> {
        let identity = self.registers.read_u32(edu::IDENTITY);
        if identity & 0xff != edu::MAGIC {
            return Err(Error::failed(alloc::format!("no edu device: {identity:#x}")));
        }
        self.load(PATTERN).await?;
        self.transfer(edu::TO_MEMORY, self.own.bus() + 64, 4).await?;
        let copied = self.own.read_u32(64);
        log::info!("hostile: own memory: {}", if copied == PATTERN { "reached" } else { "NOT REACHED" });
        let interrupt = self.open_interrupt(function).await?;
        self.registers.write_u32(edu::RAISE_INTERRUPT, 1);
        let came = rt::timeout(TRANSFER, self.cause.wait()).await.is_ok();
        self.registers.write_u32(edu::ACKNOWLEDGE_INTERRUPT, 1);
        interrupt.mask_request().send().promise.await?;
        log::info!("hostile: own interrupt: {}", if came { "arrived" } else { "DID NOT ARRIVE" });
        Ok(())
    }

    async fn open_interrupt(&self, function: &pci_function::Client) -> Result<interrupt::Client, Error> {
        let mut request = function.interrupt_request();
        request.get().set_kind(InterruptKind::Msi);
        let interrupt = request.send().promise.await?.get()?.get_interrupt()?;
        let mut request = interrupt.bind_request();
        request.get().set_signaller(self.cause.signaller());
        request.send().promise.await?;
        Ok(interrupt)
    }

    /// Writes to a page that only another function was given.
    async fn reach_for(&self, victim: &pci_function::Client) -> Result<(), Error> {
        let pool = pci::dma_pool(victim, 8).await?;
        // The first so that the page's address is none of the attacker's own, where each function has addresses of its own.
        let (_first, _memory) = pci::allocate(&pool, 4).await?;
        let (page, _memory) = pci::allocate(&pool, 1).await?;
        page.write_u32(0, INTACT);
        let before = self.noticed().await?;
        self.load(PATTERN).await?;
        self.transfer(edu::TO_MEMORY, page.bus(), 4).await?;
        let faults = self.noticed().await?.accesses.saturating_sub(before.accesses);
        match (page.read_u32(0), faults) {
            (INTACT, 1..) => log::info!("hostile: foreign page: intact, the fault was counted"),
            (PATTERN, 0) => {
                log::warn!("hostile: foreign page: overwritten, this machine cannot stop it");
            }
            (word, faults) => log::error!("hostile: foreign page: {word:#x} after {faults} faults"),
        }
        Ok(())
    }

    /// Writes what an interrupt would be.
    async fn forge(&self) -> Result<(), Error> {
        let before = self.noticed().await?;
        self.load(0).await?;
        self.transfer(edu::TO_MEMORY, MESSAGES | UNUSED_ENTRY, 4).await?;
        rt::sleep(NOTHING).await;
        let came = self.cause.try_take();
        log::info!("hostile: remapped format: {}", if came { "ARRIVED" } else { "nothing arrived" });
        self.load(UNUSED_VECTOR).await?;
        self.transfer(edu::TO_MEMORY, MESSAGES, 4).await?;
        let counted = async {
            loop {
                match self.noticed().await {
                    Ok(now) if now.interrupts > before.interrupts => return,
                    _ => rt::sleep(LOOK).await,
                }
            }
        };
        let counted = rt::timeout(TRANSFER, counted).await.is_ok();
        let end = if counted { "dropped and counted" } else { "NOT COUNTED" };
        log::info!("hostile: forged interrupt: {end}");
        Ok(())
    }
}

extern crate alloc;
