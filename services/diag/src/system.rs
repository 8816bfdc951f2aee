//! What the commands do, by the capabilities that were granted.

use alloc::{format, string::String, vec, vec::Vec};
use capnp::Error;
use core::time::Duration;
use diag::{command::Command, log_lines::LogLines, show, table::printable};
use inspect::{Network, Observer, Snapshot, answer, decode};
use rt::Environment;
use schema::{
    console_capnp::console, network_capnp::network_manager, supervisor_capnp::crash_evidence,
    system_capnp::power,
};

/// How long the network stack may take to be there, and then to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longest reason that is shown.
const MAXIMUM_REASON: usize = 120;

/// The live system.
pub struct System {
    environment: Environment,
    observer: Observer,
    power: Option<power::Client>,
    evidence: Option<crash_evidence::Client>,
}

impl System {
    /// With what the manifest grants.
    pub fn new(environment: &Environment) -> Self {
        Self {
            environment: environment.clone(),
            observer: Observer::new(environment),
            power: environment.optional_grant("power"),
            evidence: environment.optional_grant("evidence"),
        }
    }

    /// What it looks through.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Runs a command; what it has to say.
    pub async fn run(&self, command: Command, console: &console::Client) -> Vec<String> {
        match self.try_run(command, console).await {
            Ok(lines) => lines,
            Err(error) => vec![format!("error: {}", printable(&format!("{error}"), MAXIMUM_REASON))],
        }
    }

    async fn try_run(&self, command: Command, console: &console::Client) -> Result<Vec<String>, Error> {
        Ok(match command {
            Command::Nothing => Vec::new(),
            Command::Help => show::help(),
            Command::Status => {
                let network = self.network().await.ok();
                let console = console_state(console).await;
                show::status(&self.snapshot(network).await, Some(&console))
            }
            Command::Cpu => show::cpu(&self.snapshot(None).await),
            Command::Mem => show::memory(&self.snapshot(None).await),
            Command::Ps => show::processes(&self.snapshot(None).await),
            Command::Devices => show::devices(&self.snapshot(None).await),
            Command::Caps(process) => show::capabilities(&self.snapshot(None).await, process.as_deref()),
            Command::Crashes(process) => self.crashes(process.as_deref()).await?,
            Command::Acpi => show::acpi_tables(&self.observer.acpi_tables().await?),
            Command::Pci => {
                let names = self.observer.names().await.unwrap_or_default();
                show::functions(&self.observer.functions().await?, &names)
            }
            Command::Irq => {
                let interrupts = self.observer.interrupts().await?;
                let names = self.observer.names().await?;
                let holders = self.observer.holders("interrupt", names.keys().copied()).await?;
                show::interrupts(&interrupts, &holders, &names)
            }
            Command::Timers => {
                let timers = self.observer.timers().await?;
                show::timers(&self.snapshot(None).await, &timers)
            }
            Command::Net => match self.network().await {
                Ok(network) => show::network(&network_state(&network).await?),
                Err(why) => vec![format!("no network: {}", printable(&why, MAXIMUM_REASON))],
            },
            Command::Logs { count, process } => {
                let mut lines = LogLines::new(count, process);
                for part in self.observer.read_log(0).await? {
                    lines.push(&part.text);
                }
                lines.finish().into()
            }
            Command::Reboot => {
                let Some(power) = &self.power else { return Ok(no_power()) };
                power.reboot_request().send().promise.await?;
                Vec::new()
            }
            Command::Halt => {
                let Some(power) = &self.power else { return Ok(no_power()) };
                power.halt_request().send().promise.await?;
                Vec::new()
            }
        })
    }

    async fn crashes(&self, process: Option<&str>) -> Result<Vec<String>, Error> {
        let crashes = self.observer.crashes().await?;
        let mut lines = show::crashes(&crashes, process);
        // Of one process the last crash is shown whole.
        let Some(last) = crashes.iter().rfind(|crash| process.is_some_and(|name| crash.process == name))
        else {
            return Ok(lines);
        };
        let Some(client) = &self.evidence else {
            lines.push("registers, stack and messages: not granted to the prompt".into());
            return Ok(lines);
        };
        let (threads, holdings) = inspect::crashes::evidence(client, last).await?;
        lines.extend(show::evidence(last, &threads, &holdings));
        Ok(lines)
    }

    async fn snapshot(&self, network: Option<network_manager::Client>) -> Snapshot {
        self.observer.look(network).await.assemble()
    }

    /// The present network stack, or why there is none.
    async fn network(&self) -> Result<network_manager::Client, String> {
        match rt::timeout(PATIENCE, self.environment.reacquire("network")).await {
            Ok(Ok(network)) => Ok(network),
            Ok(Err(error)) => Err(error.extra),
            Err(rt::Elapsed) => Err("the network stack does not run: it starts, or starts again".into()),
        }
    }
}

async fn network_state(network: &network_manager::Client) -> Result<Network, Error> {
    let response = answer(network.status_request()).await?;
    decode::network(response.get()?.get_interface()?)
}

async fn console_state(console: &console::Client) -> String {
    let state = async {
        let response = answer(console.info_request()).await?;
        let info = response.get()?;
        let counters = info.get_counters()?;
        Ok::<_, Error>(format!(
            "{}: {} bytes received, {} lost, {} overruns; {} sent",
            decode::text(info.get_driver()?),
            counters.get_received_bytes(),
            counters.get_dropped_bytes(),
            counters.get_overruns(),
            counters.get_sent_bytes(),
        ))
    };
    state.await.unwrap_or_else(|error| format!("{error}"))
}

fn no_power() -> Vec<String> {
    vec!["not granted: the manifest leaves the power switch out".into()]
}
