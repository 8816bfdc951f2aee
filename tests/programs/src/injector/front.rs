//! What the driver takes for its `PciFunction` and `DmaPool`, and what the test gives its orders to.

use alloc::rc::Rc;
use capnp::Error;
use core::cell::RefCell;
use device::DmaRegion;
use rt::memory::{Mapping, Protection};
use schema::{
    device_capnp::{dma_pool, interrupt, pci_function, pci_inventory},
    test_capnp::fault_injector::{self, Fault},
};

use super::{
    claim::{Claim, Hold, Rule},
    wire::Wire,
};

/// The function that all drivers get, one after the other.
pub struct Front {
    pub(super) rule: Rule,
    pub(super) inventory: pci_inventory::Client,
    claim: RefCell<Option<Rc<Claim>>>,
}

impl Front {
    /// Stands before the function that a rule picks.
    pub fn new(rule: Rule, inventory: pci_inventory::Client) -> Rc<Self> {
        Rc::new(Self { rule, inventory, claim: RefCell::default() })
    }

    pub(super) fn claim(&self) -> Option<Rc<Claim>> {
        self.claim.borrow().clone()
    }

    pub(super) fn set_claim(&self, claim: Option<Rc<Claim>>) {
        let before = self.claim.replace(claim);
        drop(before);
    }

    /// Gives up this claim, if it is the present one.
    pub(super) fn end_claim(&self, claim: &Rc<Claim>) {
        if self.claim().is_some_and(|present| Rc::ptr_eq(&present, claim)) {
            self.set_claim(None);
        }
    }
}

/// Passes a call on as it is.
macro_rules! forward {
    ($to:expr, $params:ident, $results:ident, $request:ident) => {{
        let mut request = $to.$request();
        request.set($params.get()?)?;
        $results.set(request.send().promise.await?.get()?)
    }};
}

impl pci_function::Server for Front {
    async fn info(
        self: Rc<Self>,
        params: pci_function::InfoParams,
        mut results: pci_function::InfoResults,
    ) -> Result<(), Error> {
        forward!(Claim::get(&self).await?.function, params, results, info_request)
    }

    async fn read_config(
        self: Rc<Self>,
        params: pci_function::ReadConfigParams,
        mut results: pci_function::ReadConfigResults,
    ) -> Result<(), Error> {
        forward!(Claim::get(&self).await?.function, params, results, read_config_request)
    }

    async fn capability(
        self: Rc<Self>,
        params: pci_function::CapabilityParams,
        mut results: pci_function::CapabilityResults,
    ) -> Result<(), Error> {
        forward!(Claim::get(&self).await?.function, params, results, capability_request)
    }

    async fn bar(
        self: Rc<Self>,
        params: pci_function::BarParams,
        mut results: pci_function::BarResults,
    ) -> Result<(), Error> {
        forward!(Claim::get(&self).await?.function, params, results, bar_request)
    }

    async fn ports(
        self: Rc<Self>,
        params: pci_function::PortsParams,
        mut results: pci_function::PortsResults,
    ) -> Result<(), Error> {
        forward!(Claim::get(&self).await?.function, params, results, ports_request)
    }

    async fn interrupt(
        self: Rc<Self>,
        params: pci_function::InterruptParams,
        mut results: pci_function::InterruptResults,
    ) -> Result<(), Error> {
        let claim = Claim::get(&self).await?;
        let mut request = claim.function.interrupt_request();
        request.set(params.get()?)?;
        let real = request.send().promise.await?.get()?.get_interrupt()?;
        let wire = Wire::new(real, claim.hold()).await?;
        results.get().set_interrupt(rt::serve::<interrupt::Client, _>(Rc::new(wire)));
        Ok(())
    }

    async fn dma_pool(
        self: Rc<Self>,
        params: pci_function::DmaPoolParams,
        mut results: pci_function::DmaPoolResults,
    ) -> Result<(), Error> {
        let claim = Claim::get(&self).await?;
        let mut request = claim.function.dma_pool_request();
        request.set(params.get()?)?;
        let real = request.send().promise.await?.get()?.get_pool()?;
        let pool = Pool { real, hold: claim.hold() };
        results.get().set_pool(rt::serve::<dma_pool::Client, _>(Rc::new(pool)));
        Ok(())
    }

    async fn set_bus_master(
        self: Rc<Self>,
        params: pci_function::SetBusMasterParams,
        mut results: pci_function::SetBusMasterResults,
    ) -> Result<(), Error> {
        forward!(Claim::get(&self).await?.function, params, results, set_bus_master_request)
    }
}

/// A pool that remembers its first memory.
struct Pool {
    real: dma_pool::Client,
    hold: Hold,
}

impl dma_pool::Server for Pool {
    async fn allocate(
        self: Rc<Self>,
        params: dma_pool::AllocateParams,
        mut results: dma_pool::AllocateResults,
    ) -> Result<(), Error> {
        let pages = params.get()?.get_pages();
        let mut request = self.real.allocate_request();
        request.get().set_pages(pages);
        let response = request.send().promise.await?;
        let answer = response.get()?;
        let claim = self.hold.claim();
        // Only the first: a driver counts who else holds what it lends to its clients.
        if claim.wants_memory() {
            let mapping = Mapping::new(&answer.get_memory()?, 0, pages, Protection::ReadWrite).await?;
            claim.keep(|| DmaRegion::new(Rc::new(mapping), answer.get_bus_address()).ok());
        }
        results.set(answer)
    }

    async fn usage(
        self: Rc<Self>,
        params: dma_pool::UsageParams,
        mut results: dma_pool::UsageResults,
    ) -> Result<(), Error> {
        forward!(self.real, params, results, usage_request)
    }
}

/// Takes the test's orders.
pub struct Injector(pub Rc<Front>);

impl fault_injector::Server for Injector {
    async fn inject(
        self: Rc<Self>,
        params: fault_injector::InjectParams,
        mut results: fault_injector::InjectResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (fault, seed) = (params.get_fault()?, params.get_seed());
        let claim = self.0.claim();
        let claim = claim.ok_or_else(|| Error::failed("no driver has the device".into()))?;
        let what = match fault {
            Fault::Descriptor => claim.spoil_descriptor(seed).await?,
            Fault::Register => claim.spoil_register(seed).await?,
            Fault::Interrupt => claim.drop_interrupts(seed).await?,
        };
        results.get().set_what(what.as_str());
        Ok(())
    }
}
