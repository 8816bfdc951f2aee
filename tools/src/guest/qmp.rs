//! QEMU's machine protocol, as far as tests need it.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::Channel;

/// A control connection that takes commands.
pub struct Qmp {
    channel: Channel,
}

impl Qmp {
    /// Reads QEMU's greeting and enters command mode.
    pub(super) fn new(mut channel: Channel) -> Result<Self> {
        channel.wait_for("\"QMP\"")?;
        let mut qmp = Self { channel };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns its result; events that come in between are dropped.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        self.channel.send(&json!({ "execute": command, "arguments": arguments }).to_string())?;
        loop {
            let line = self.channel.receive().with_context(|| format!("QMP {command}"))?;
            let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if let Some(error) = answer.get("error") {
                bail!("QMP {command}: {error}");
            }
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
        }
    }

    /// Waits for an event, and returns its data.
    pub fn wait_event(&mut self, event: &str) -> Result<Value> {
        loop {
            let line = self.channel.receive().with_context(|| format!("QMP event {event}"))?;
            let message: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if message.get("event").and_then(Value::as_str) == Some(event) {
                return Ok(message.get("data").cloned().unwrap_or_default());
            }
        }
    }
}
