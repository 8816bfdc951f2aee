//! Orders of a campaign of faults, as the test hook takes them.
//!
//! | order | answer |
//! |---|---|
//! | `accounts` | `ok free-frames=<n> kernel-frames=<n> vectors=<n> claimed=<n>` |
//! | `inject descriptor|register|interrupt <seed>` | `ok <what was done>`, by the grant `injector` |
//! | `mark` | `ok`: the load measures its pauses anew, by the grant `load` |
//! | `load` | `ok moved=<n> sessions=<n> longest-ns=<n> present-ns=<n> failure=<words>` |

use alloc::{format, string::String};
use capnp::Error;
use rt::Environment;
use schema::{
    device_capnp::pci_inventory,
    system_capnp::system_info,
    test_capnp::{
        fault_injector::{self, Fault},
        load,
    },
};

/// What the orders need; a manifest grants what its test uses.
pub struct Campaign {
    system: system_info::Client,
    functions: Option<pci_inventory::Client>,
    injector: Option<fault_injector::Client>,
    load: Option<load::Client>,
}

impl Campaign {
    /// By the grants `system-info`, `functions`, `injector` and `load`.
    pub fn new(environment: &Environment) -> Result<Self, Error> {
        Ok(Self {
            system: environment.grant("system-info")?,
            functions: environment.optional_grant("functions"),
            injector: environment.optional_grant("injector"),
            load: environment.optional_grant("load"),
        })
    }

    /// Does what an order says; an error for what is none of a campaign's.
    pub async fn obey(&self, order: &str, rest: &str) -> Result<String, Error> {
        match order {
            "accounts" => self.accounts().await,
            "inject" => self.inject(rest).await,
            "mark" => self.mark().await,
            "load" => self.load().await,
            other => Err(Error::failed(format!("unknown order {other:?}"))),
        }
    }

    async fn accounts(&self) -> Result<String, Error> {
        let (mut vectors, mut start) = (0, 0);
        loop {
            let mut request = self.system.interrupts_request();
            request.get().set_start(start);
            let answer = request.send().promise.await?;
            let answer = answer.get()?;
            vectors += answer.get_interrupts()?.len();
            start = answer.get_next();
            if start == 0 {
                break;
            }
        }
        let claimed = self.claimed().await?;
        let answer = self.system.summary_request().send().promise.await?;
        let (free, kernel) = (answer.get()?.get_free_frames(), answer.get()?.get_kernel_frames());
        Ok(format!("ok free-frames={free} kernel-frames={kernel} vectors={vectors} claimed={claimed}"))
    }

    /// How many PCI functions somebody has.
    async fn claimed(&self) -> Result<usize, Error> {
        let functions = granted(self.functions.as_ref())?;
        let (mut claimed, mut start) = (0, 0);
        loop {
            let mut request = functions.list_request();
            request.get().set_start(start);
            let answer = request.send().promise.await?;
            let answer = answer.get()?;
            claimed += answer.get_functions()?.iter().filter(|function| function.get_claimed()).count();
            start = answer.get_next();
            if start == 0 {
                return Ok(claimed);
            }
        }
    }

    async fn inject(&self, words: &str) -> Result<String, Error> {
        let (fault, seed) = words.split_once(' ').unwrap_or((words, ""));
        let fault = match fault {
            "descriptor" => Fault::Descriptor,
            "register" => Fault::Register,
            "interrupt" => Fault::Interrupt,
            other => return Err(Error::failed(format!("unknown fault {other:?}"))),
        };
        let seed = seed.parse().map_err(|_| Error::failed(format!("{seed:?} is no number")))?;
        let mut request = granted(self.injector.as_ref())?.inject_request();
        request.get().set_fault(fault);
        request.get().set_seed(seed);
        let answer = request.send().promise.await?;
        Ok(format!("ok {}", answer.get()?.get_what()?.to_str()?))
    }

    async fn mark(&self) -> Result<String, Error> {
        granted(self.load.as_ref())?.mark_request().send().promise.await?;
        Ok("ok".into())
    }

    async fn load(&self) -> Result<String, Error> {
        let answer = granted(self.load.as_ref())?.state_request().send().promise.await?;
        let state = answer.get()?;
        Ok(format!(
            "ok moved={} sessions={} longest-ns={} present-ns={} failure={}",
            state.get_moved(),
            state.get_sessions(),
            state.get_longest_pause(),
            state.get_present_pause(),
            state.get_failure()?.to_str()?
        ))
    }
}

/// What only some manifests grant.
fn granted<C>(grant: Option<&C>) -> Result<&C, Error> {
    grant.ok_or_else(|| Error::failed("the manifest does not grant that".into()))
}
