//! One claim of the device, as long as one driver lives.

use alloc::{
    format,
    rc::{Rc, Weak},
    string::{String, ToString},
    vec::Vec,
};
use capnp::{Error, ErrorKind};
use core::{
    cell::{Cell, RefCell},
    time::Duration,
};
use device::{DmaRegion, Registers};
use schema::device_capnp::{pci_function, pci_inventory};

use super::{Front, nvme, virtio};
use crate::blocks::Random;

/// Between tries while the device is being reset.
const PAUSE: Duration = Duration::from_millis(5);

/// How often that is tried.
const TRIES: u32 = 600;

/// What the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A virtio network card. TCP's checksums guard what it carries, so every part of a descriptor may be spoiled.
    VirtioNet,
    /// A virtio disk. A disk obeys a command with a wrong length or direction, and nothing below its client could tell: only
    /// what device or driver can see is spoiled.
    VirtioDisk,
    /// An NVMe controller, with the same restraint.
    Nvme,
}

/// Which function to stand before.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is.
    pub kind: Kind,
    /// Its class, if that matters.
    pub class: Option<u32>,
    /// Its device numbers, if they matter.
    pub devices: Vec<u16>,
}

impl Rule {
    /// From the program's arguments `kind`, `class` and `devices` (the last two hexadecimal).
    pub fn new(environment: &rt::Environment) -> Result<Self, Error> {
        let kind = match environment.argument("kind") {
            Some("virtio-net") => Kind::VirtioNet,
            Some("virtio-disk") => Kind::VirtioDisk,
            Some("nvme") => Kind::Nvme,
            other => return Err(Error::failed(format!("kind={other:?} is no kind of device"))),
        };
        let wrong = |_| Error::failed("class and devices are hexadecimal numbers".into());
        let class = environment.argument("class").map(|class| u32::from_str_radix(class, 16));
        let devices = environment.argument("devices").unwrap_or_default();
        let devices = devices.split(',').filter(|number| !number.is_empty());
        let devices = devices.map(|number| u16::from_str_radix(number, 16));
        Ok(Self {
            kind,
            class: class.transpose().map_err(wrong)?,
            devices: devices.collect::<Result<_, _>>().map_err(wrong)?,
        })
    }

    /// Claims the first function that fits; waits while it is being reset.
    async fn claim(&self, inventory: &pci_inventory::Client) -> Result<pci_function::Client, Error> {
        let response = inventory.list_request().send().promise.await?;
        let list = response.get()?.get_functions()?;
        let fits = list.iter().find(|info| {
            self.class.is_none_or(|class| info.get_class() == class)
                && (self.devices.is_empty() || self.devices.contains(&info.get_device()))
        });
        let info = fits.ok_or_else(|| Error::failed("the machine has no such device".into()))?;
        let mut request = inventory.claim_request();
        request.get().set_address(info.get_address()?)?;
        request.send().promise.await?.get()?.get_function()
    }
}

/// What to spoil at the next interrupt.
#[derive(Clone, Copy, Debug)]
enum Pending {
    /// So many interrupts in a row are not passed on.
    Interrupts(u64),
    /// The newest completion.
    Completion(u64),
}

/// Whether the driver is to hear of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// The claimed function and what is known of how the driver uses it.
pub struct Claim {
    /// The real one.
    pub(super) function: pci_function::Client,
    kind: Kind,
    front: Weak<Front>,
    /// Objects of the driver's that hang on it.
    opened: Cell<u32>,
    /// Where the queues are.
    queues: RefCell<Option<DmaRegion>>,
    registers: RefCell<Option<Rc<dyn Registers>>>,
    pending: Cell<Option<Pending>>,
    /// What was done at an interrupt.
    done: RefCell<Option<String>>,
}

impl Claim {
    /// The present claim, or a new one.
    pub(super) async fn get(front: &Rc<Front>) -> Result<Rc<Self>, Error> {
        for _ in 0..TRIES {
            if let Some(claim) = front.claim() {
                return Ok(claim);
            }
            match front.rule.claim(&front.inventory).await {
                Ok(function) => {
                    let claim = Rc::new(Self {
                        function,
                        kind: front.rule.kind,
                        front: Rc::downgrade(front),
                        opened: Cell::new(0),
                        queues: RefCell::default(),
                        registers: RefCell::default(),
                        pending: Cell::default(),
                        done: RefCell::default(),
                    });
                    front.set_claim(Some(Rc::clone(&claim)));
                    return Ok(claim);
                }
                Err(error) if error.kind == ErrorKind::Overloaded => rt::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::overloaded("the device is not free".into()))
    }

    /// Counts one object of the driver's, until it is dropped.
    pub(super) fn hold(self: &Rc<Self>) -> Hold {
        self.opened.set(self.opened.get() + 1);
        Hold(Rc::clone(self))
    }

    /// Keeps the driver's first memory: every driver makes its queues first.
    pub(super) fn keep(&self, memory: impl FnOnce() -> Option<DmaRegion>) {
        let mut queues = self.queues.borrow_mut();
        if queues.is_none() {
            *queues = memory();
        }
    }

    /// Whether the queues are still to be seen.
    pub(super) fn wants_memory(&self) -> bool {
        self.queues.borrow().is_none()
    }

    /// Looks at an interrupt before the driver does.
    pub(super) fn at_interrupt(&self) -> Passing {
        match self.pending.take() {
            None => Passing::On,
            Some(Pending::Interrupts(left)) => {
                if left > 1 {
                    self.pending.set(Some(Pending::Interrupts(left - 1)));
                } else {
                    self.done.replace(Some("interrupt dropped".to_string()));
                }
                Passing::Off
            }
            Some(Pending::Completion(seed)) => {
                let mut random = Random::new(seed);
                let what = self.spoil_completion(&mut random);
                self.done.replace(Some(what.unwrap_or_else(|error| format!("nothing: {error}"))));
                Passing::On
            }
        }
    }

    fn spoil_completion(&self, random: &mut Random) -> Result<String, Error> {
        let queues = self.queues.borrow();
        let queues = queues.as_ref().ok_or_else(not_set_up)?;
        match self.kind {
            Kind::Nvme => nvme::completion(queues, random),
            Kind::VirtioNet | Kind::VirtioDisk => {
                virtio::completion(queues, &*self.known_registers()?, random)
            }
        }
    }

    /// Spoils what lies in the queues' memory for the device, or else the next completion.
    pub(super) async fn spoil_descriptor(&self, seed: u64) -> Result<String, Error> {
        self.map_registers().await?;
        let mut random = Random::new(seed);
        if self.kind == Kind::Nvme || random.number().is_multiple_of(2) {
            return self.at_next_interrupt(Pending::Completion(random.number())).await;
        }
        let queues = self.queues.borrow();
        let queues = queues.as_ref().ok_or_else(not_set_up)?;
        virtio::submission(queues, &*self.known_registers()?, self.kind, &mut random)
    }

    /// Writes a wrong value to a register.
    pub(super) async fn spoil_register(&self, seed: u64) -> Result<String, Error> {
        self.map_registers().await?;
        let registers = self.known_registers()?;
        let mut random = Random::new(seed);
        match self.kind {
            Kind::Nvme => Ok(nvme::register(&*registers, &mut random)),
            Kind::VirtioNet | Kind::VirtioDisk => virtio::register(&*registers, self.kind, &mut random),
        }
    }

    /// Keeps one to three interrupts from the driver.
    pub(super) async fn drop_interrupts(&self, seed: u64) -> Result<String, Error> {
        let count = 1 + Random::new(seed).number() % 3;
        self.at_next_interrupt(Pending::Interrupts(count)).await?;
        Ok(format!("interrupts dropped: {count}"))
    }

    async fn at_next_interrupt(&self, pending: Pending) -> Result<String, Error> {
        self.done.replace(None);
        self.pending.set(Some(pending));
        for _ in 0..TRIES {
            if let Some(what) = self.done.take() {
                return Ok(what);
            }
            rt::sleep(Duration::from_millis(1)).await;
        }
        // A driver that stands still because its interrupt was kept is what was wanted.
        match self.pending.take() {
            Some(Pending::Interrupts(left)) => {
                Ok(format!("no more interrupt came, {left} were still to be kept"))
            }
            _ => Err(Error::failed("no interrupt came".into())),
        }
    }

    async fn map_registers(&self) -> Result<(), Error> {
        if self.registers.borrow().is_some() {
            return Ok(());
        }
        let registers: Rc<dyn Registers> = match self.kind {
            Kind::Nvme => Rc::new(device::pci::registers(&self.function, 0).await?),
            Kind::VirtioNet | Kind::VirtioDisk => virtio::map(&self.function).await?,
        };
        self.registers.replace(Some(registers));
        Ok(())
    }

    fn known_registers(&self) -> Result<Rc<dyn Registers>, Error> {
        self.registers.borrow().clone().ok_or_else(not_set_up)
    }
}

fn not_set_up() -> Error {
    Error::failed("the driver has not set its device up".into())
}

/// One object of the driver's: the claim ends with the last of them.
pub(super) struct Hold(Rc<Claim>);

impl Hold {
    pub(super) fn claim(&self) -> &Rc<Claim> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let left = self.0.opened.get().saturating_sub(1);
        self.0.opened.set(left);
        if left == 0
            && let Some(front) = self.0.front.upgrade()
        {
            front.end_claim(&self.0);
        }
    }
}
