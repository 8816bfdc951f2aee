//! One look at the system, for the site.

use alloc::{format, vec::Vec};
use core::time::Duration;

use inspect::{Gathered, LogPart, Observer};
use schema::network_capnp::network_manager;
use web_ui::site::Site;

/// What one look saw.
pub struct Look {
    gathered: Gathered,
    log: Vec<LogPart>,
}

impl Look {
    /// Looks at everything once; the log from `cursor` on.
    pub async fn take(observer: &Observer, network: Option<network_manager::Client>, cursor: u64) -> Self {
        let log = observer.read_log(cursor).await;
        let mut gathered = observer.look(network).await;
        let log = log.unwrap_or_else(|error| {
            gathered.note_absent("kernel-log", format!("{error}"));
            Vec::new()
        });
        Self { gathered, log }
    }

    /// Shows it on the site.
    pub fn apply(self, site: &mut Site, now: Duration) {
        for part in &self.log {
            site.log().push(&part.text, part.next, part.lost);
        }
        site.update(&self.gathered.assemble(), now);
    }
}
