//! Devices that reach for what is not their own: the IOMMU refuses it, the kernel tells, and whose device it is is noted.

use crate::system::System;
use alloc::{collections::BTreeMap, rc::Rc};
use capnp::Error;
use supervision::devices::Address;

impl System {
    /// Notes refusals for ever, unless the kernel cannot tell of them.
    pub(crate) async fn watch_refusals(self: Rc<Self>) {
        if let Err(error) = self.note_refusals().await {
            log::error!("refusals of the IOMMU are not noted: {}", error.extra);
        }
    }

    async fn note_refusals(self: &Rc<Self>) -> Result<(), Error> {
        let told = rt::Signal::new().await?;
        let mut request = self.first.pci_inventory.on_refusal_request();
        request.get().set_signaller(told.signaller());
        request.send().promise.await?;
        let mut seen = BTreeMap::<Address, u64>::new();
        loop {
            for function in self.functions().await? {
                let before = seen.insert(function.address, function.refused).unwrap_or(0);
                let new = function.refused.saturating_sub(before);
                if new > 0 {
                    self.dispatch(|supervision, _| {
                        supervision.refused(function.owner, function.address, new)
                    });
                }
            }
            told.wait().await;
        }
    }
}
