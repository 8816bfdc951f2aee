//! The interrupts of a function, all on one doorbell: who is rung looks at everything.

use alloc::{format, rc::Rc, vec::Vec};
use capnp::Error;
use core::{cell::Cell, fmt};
use schema::{
    device_capnp::{InterruptKind, interrupt, pci_function},
    ipc_capnp::signaller,
};

/// Interrupts after which the kernel is told that all is well: it masks a message interrupt after 1024 without a word.
const ACKNOWLEDGE_EVERY: u32 = 512;

/// Which interrupts to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptChoice {
    /// The best that the function offers, with as many vectors as are wanted and there are.
    Auto,
    /// The same with a single vector.
    One,
    /// The I/O APIC line.
    Line,
    /// None: the driver polls.
    None,
}

/// The opened interrupts of one function, masked until bound.
pub struct Interrupts {
    kind: InterruptKind,
    objects: Rc<[interrupt::Client]>,
    unacknowledged: Cell<u32>,
}

impl Interrupts {
    /// Opens up to `wanted` message interrupts, else the line, else none.
    pub async fn open(
        function: &pci_function::Client,
        choice: InterruptChoice,
        wanted: u16,
    ) -> Result<Self, Error> {
        let (best, offered) = {
            let response = function.info_request().send().promise.await?;
            let info = response.get()?.get_info()?;
            (info.get_interrupt_kind()?, info.get_interrupt_count())
        };
        let wanted = if choice == InterruptChoice::One { 1 } else { wanted.max(1) };
        let kinds: &[(InterruptKind, u16)] = match (choice, best) {
            (InterruptChoice::None, _) | (_, InterruptKind::None) => &[],
            (InterruptChoice::Line, _) | (_, InterruptKind::Line) => &[(InterruptKind::Line, 1)],
            (_, InterruptKind::Msi) => &[(InterruptKind::Msi, 1), (InterruptKind::Line, 1)],
            (_, InterruptKind::Msix) => {
                &[(InterruptKind::Msix, wanted.min(offered)), (InterruptKind::Line, 1)]
            }
        };
        for &(kind, count) in kinds {
            let objects = open_some(function, kind, count).await;
            if !objects.is_empty() {
                return Ok(Self { kind, objects: objects.into(), unacknowledged: Cell::new(0) });
            }
        }
        Ok(Self { kind: InterruptKind::None, objects: Rc::new([]), unacknowledged: Cell::new(0) })
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        // There were at most so many.
        self.objects.len() as u16
    }

    /// Whether they are vectors of MSI-X, of which each source can have its own.
    pub fn are_vectors(&self) -> bool {
        self.kind == InterruptKind::Msix
    }

    /// Lets all of them ring a doorbell from now on.
    pub async fn bind(&self, doorbell: &signaller::Client) -> Result<(), Error> {
        for interrupt in self.objects.iter() {
            let mut request = interrupt.bind_request();
            request.get().set_signaller(doorbell.clone());
            request.send().promise.await?;
        }
        Ok(())
    }

    /// Tells the kernel that interrupts are being served, after the device was looked at: `events` is how many things it
    /// had done, which is at least how many message interrupts there were. A line is unmasked each time.
    pub fn served(&self, events: u32) {
        if self.kind == InterruptKind::None {
            return;
        }
        let unacknowledged = self.unacknowledged.get().saturating_add(events);
        if self.kind != InterruptKind::Line && unacknowledged < ACKNOWLEDGE_EVERY {
            self.unacknowledged.set(unacknowledged);
            return;
        }
        self.acknowledge();
    }

    /// Tells the kernel that all of them were served.
    pub fn acknowledge(&self) {
        self.unacknowledged.set(0);
        if self.objects.is_empty() {
            return;
        }
        let objects = Rc::clone(&self.objects);
        rt::spawn(async move {
            for interrupt in objects.iter() {
                if let Err(error) = interrupt.acknowledge_request().send().promise.await {
                    log::warn!("an interrupt cannot be acknowledged: {error}");
                }
            }
        });
    }
}

impl fmt::Display for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            InterruptKind::Msix => write!(f, "MSI-X with {} vectors", self.objects.len()),
            InterruptKind::Msi => write!(f, "an MSI vector"),
            InterruptKind::Line => write!(f, "an interrupt line"),
            InterruptKind::None => write!(f, "polling"),
        }
    }
}

/// Opens as many of the first `count` as can be had.
async fn open_some(
    function: &pci_function::Client,
    kind: InterruptKind,
    count: u16,
) -> Vec<interrupt::Client> {
    let mut objects = Vec::new();
    for index in 0..count {
        let mut request = function.interrupt_request();
        request.get().set_kind(kind);
        request.get().set_index(index);
        let opened = async { request.send().promise.await?.get()?.get_interrupt() }.await;
        match opened {
            Ok(interrupt) => objects.push(interrupt),
            Err(error) => {
                log::warn!("{} of {count} interrupts can be opened: {error}", objects.len());
                break;
            }
        }
    }
    objects
}

/// The choice that an argument names. Errors: `failed` for another word.
impl core::str::FromStr for InterruptChoice {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "auto" => Ok(Self::Auto),
            "one" => Ok(Self::One),
            "line" => Ok(Self::Line),
            "none" => Ok(Self::None),
            other => Err(Error::failed(format!("{other:?} is none of auto, one, line, none"))),
        }
    }
}
