//! What is measured of a network: which client runs, which marks the server sets meanwhile, and how a rate is told.

use std::time::Duration;

use anyhow::Result;
use bench_clients::{
    Done, Until, bulk_in, bulk_out,
    http::{self, Reuse},
    tcp_echo, udp_echo,
};

use super::link::{Link, LinkKind};
use crate::bench::figures::Unit;

/// Operations between two marks (`tests/bench/src/bin/bench-net/marks.rs`).
const MARKED_OPERATIONS: u64 = 100;

/// Bytes between two marks.
const MARKED_BYTES: u64 = 1 << 20;

const KIBIBYTE: u64 = 1 << 10;

/// One thing that is measured.
pub struct Job {
    /// Its short name.
    pub name: &'static str,
    kind: Kind,
    /// The only kind of link that it is measured over, if that matters.
    pub only: Option<LinkKind>,
    /// What is counted, if it is.
    pub counted: Option<Counted>,
    /// Runs its client.
    pub run: fn(&Link, Until) -> Result<Done>,
}

/// How instructions are counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// The mark that the server sets, as the plugin writes it.
    pub mark: &'static str,
    /// Operations, or KiB, between two marks.
    pub units: u64,
    /// Operations, or bytes, of the whole run.
    pub total: u64,
}

/// How its rate is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In operations a second.
    Requests,
    /// By the median of its latencies.
    Echoes,
    /// In bytes a second.
    Bytes,
}

const fn operations(mark: &'static str, total: u64) -> Option<Counted> {
    Some(Counted { mark, units: MARKED_OPERATIONS, total })
}

const fn bytes(mark: &'static str) -> Option<Counted> {
    Some(Counted { mark, units: MARKED_BYTES / KIBIBYTE, total: 40 * MARKED_BYTES })
}

/// All of them.
pub const JOBS: [Job; 8] = [
    Job {
        name: "http_keep_alive_16",
        kind: Kind::Requests,
        only: None,
        counted: operations("mark 48", 4000),
        run: |link, until| http::requests(link.tcp(8080)?, 16, Reuse::KeepAlive, until),
    },
    Job {
        name: "http_keep_alive_1",
        kind: Kind::Requests,
        only: None,
        counted: None,
        run: |link, until| http::requests(link.tcp(8080)?, 1, Reuse::KeepAlive, until),
    },
    Job {
        name: "http_new_connection",
        kind: Kind::Requests,
        only: None,
        counted: operations("mark 48", 1200),
        run: |link, until| http::requests(link.tcp(8080)?, 1, Reuse::Never, until),
    },
    Job {
        name: "http_new_connection_16",
        kind: Kind::Requests,
        // QEMU's user network lets hardly any connection wait to be accepted.
        only: Some(LinkKind::Tap),
        counted: None,
        run: |link, until| http::requests(link.tcp(8080)?, 16, Reuse::Never, until),
    },
    Job {
        name: "udp_echo_64",
        kind: Kind::Echoes,
        only: None,
        counted: operations("mark 49", 2000),
        run: |link, until| udp_echo(link.udp(), until),
    },
    Job {
        name: "tcp_echo_64",
        kind: Kind::Echoes,
        only: None,
        counted: operations("mark 52", 2000),
        run: |link, until| tcp_echo(link.tcp(7)?, until),
    },
    Job {
        name: "tcp_in",
        kind: Kind::Bytes,
        only: None,
        counted: bytes("mark 50"),
        run: |link, until| bulk_in(link.tcp(9)?, until),
    },
    Job {
        name: "tcp_out",
        kind: Kind::Bytes,
        only: None,
        counted: bytes("mark 51"),
        run: |link, until| bulk_out(link.tcp(19)?, until),
    },
];

impl Job {
    /// Name of its instruction count over a link.
    pub fn count_name(&self, link: &str) -> String {
        match self.kind {
            Kind::Bytes => format!("{}_per_kib_{link}", self.name),
            Kind::Requests | Kind::Echoes => format!("{}_{link}", self.name),
        }
    }

    /// Its rate over a link: name, unit and value.
    pub fn rate(&self, link: &str, done: &Done) -> (String, Unit, f64) {
        let name = format!("{}_{link}", self.name);
        match self.kind {
            Kind::Requests => (format!("{name}_per_second"), Unit::PerSecond, done.per_second()),
            Kind::Bytes => {
                (format!("{name}_megabytes_per_second"), Unit::MegabytesPerSecond, done.per_second() / 1e6)
            }
            Kind::Echoes => {
                let latency = done.median_latency().unwrap_or(Duration::ZERO);
                (format!("{name}_microseconds"), Unit::Microseconds, latency.as_nanos() as f64 / 1e3)
            }
        }
    }
}
