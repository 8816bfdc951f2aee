//! The interrupts of a virtio function: MSI-X vectors, or one shared line.

use crate::transport::NO_VECTOR;
use alloc::{vec, vec::Vec};
use capnp::Error;
use core::fmt;
use schema::device_capnp::{InterruptKind, interrupt, pci_function};

/// Which event comes in on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptPlan {
    /// MSI-X, one vector for changes of the configuration, one for all queues.
    TwoVectors,
    /// MSI-X, the same vector for both: each interrupt may be either.
    OneVector,
    /// An I/O APIC line; the interrupt status register tells which it was.
    Line,
}

impl InterruptPlan {
    /// The MSI-X vector for changes of the configuration.
    pub const fn config_vector(self) -> u16 {
        match self {
            Self::TwoVectors | Self::OneVector => 0,
            Self::Line => NO_VECTOR,
        }
    }

    /// The MSI-X vector for used buffers.
    pub const fn queue_vector(self) -> u16 {
        match self {
            Self::TwoVectors => 1,
            Self::OneVector => 0,
            Self::Line => NO_VECTOR,
        }
    }
}

impl fmt::Display for InterruptPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoVectors => "MSI-X with two vectors",
            Self::OneVector => "MSI-X with one vector",
            Self::Line => "an interrupt line",
        })
    }
}

/// The opened interrupts of one function, masked until bound.
pub struct Interrupts {
    plan: InterruptPlan,
    objects: Vec<interrupt::Client>,
}

impl Interrupts {
    /// Opens the best that the function offers: two vectors, else one, else the line.
    pub async fn open(function: &pci_function::Client) -> Result<Self, Error> {
        let (kind, count) = {
            let response = function.info_request().send().promise.await?;
            let info = response.get()?.get_info()?;
            (info.get_interrupt_kind()?, info.get_interrupt_count())
        };
        if kind == InterruptKind::Msix {
            match Self::open_vectors(function, count).await {
                Ok(interrupts) => return Ok(interrupts),
                Err(error) => log::warn!("no MSI-X vectors, using the interrupt line: {error}"),
            }
        }
        let line = open_one(function, InterruptKind::Line, 0).await?;
        Ok(Self { plan: InterruptPlan::Line, objects: vec![line] })
    }

    async fn open_vectors(function: &pci_function::Client, count: u16) -> Result<Self, Error> {
        let first = open_one(function, InterruptKind::Msix, 0).await?;
        if count >= 2
            && let Ok(second) = open_one(function, InterruptKind::Msix, 1).await
        {
            return Ok(Self { plan: InterruptPlan::TwoVectors, objects: vec![first, second] });
        }
        Ok(Self { plan: InterruptPlan::OneVector, objects: vec![first] })
    }

    /// How they are used.
    pub fn plan(&self) -> InterruptPlan {
        self.plan
    }

    /// The interrupt for used buffers, possibly the same as [`Self::config`].
    pub fn queues(&self) -> Option<&interrupt::Client> {
        self.objects.last()
    }

    /// The interrupt for changes of the configuration.
    pub fn config(&self) -> Option<&interrupt::Client> {
        self.objects.first()
    }
}

async fn open_one(
    function: &pci_function::Client,
    kind: InterruptKind,
    index: u16,
) -> Result<interrupt::Client, Error> {
    let mut request = function.interrupt_request();
    request.get().set_kind(kind);
    request.get().set_index(index);
    request.send().promise.await?.get()?.get_interrupt()
}
