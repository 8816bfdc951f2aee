//! The rows as pictures.

use super::{
    figures::{Spread, Unit},
    report::Row,
};
use crate::plot::{Bar, Group, Plot, Scale, number};

/// How to read bars of a scale of their own.
const NOTE: &str = "Each row has a scale of its own.";

/// The pictures that there is something for, each with its file's name.
pub fn all(rows: &[Row]) -> Vec<(&'static str, Plot)> {
    let rates = rows.iter().filter(|row| is_rate(row));
    let (nvme, network): (Vec<_>, Vec<_>) = rates.partition(|row| row.name.starts_with("nvme"));
    let counted = rows.iter().filter(|row| row.limit.is_some() && row.unit == Some(Unit::Instructions));
    let plots = [
        (
            "instructions.svg",
            plot(
                "Instructions of one operation",
                "All processes and the kernel; idle time is free. Less is better. * noted with the limit, not measured now.",
                counted.map(instructions).collect(),
            ),
        ),
        (
            "nvme.svg",
            plot(
                "NVMe",
                "Median of the runs, whiskers from the least to the most. More is better.",
                nvme.into_iter().map(rate).collect(),
            ),
        ),
        (
            "network.svg",
            plot(
                "Network, over QEMU's user network (slirp) and over a tap",
                "Median of the runs, whiskers from the least to the most. More is better, but for latencies.",
                network.into_iter().map(rate).collect(),
            ),
        ),
    ];
    plots.into_iter().filter(|(_, plot)| !plot.groups.is_empty()).collect()
}

fn is_rate(row: &Row) -> bool {
    row.unit.is_some_and(|unit| !unit.is_counted())
}

fn plot(title: &str, note: &str, mut groups: Vec<Group>) -> Plot {
    // Without Linux in any row there is one series.
    let linux = groups.iter().any(|group| group.bars.len() > 1);
    for group in &mut groups {
        if linux && group.bars.len() == 1 {
            group.bars.push(Bar::Words("has no counterpart".into()));
        }
    }
    let series = ["capOS", "Linux"].into_iter().take(if linux { 2 } else { 1 });
    Plot {
        title: title.into(),
        note: format!("{note} {NOTE}"),
        series: series.map(Into::into).collect(),
        scale: Scale::EachGroup,
        groups,
    }
}

fn instructions(row: &Row) -> Group {
    let most = row.limit.as_ref().map(|limit| limit.most as f64);
    let mut bars = vec![bar(row.capos.as_ref())];
    let noted = row.limit.as_ref().and_then(super::limits::Limit::linux);
    match (&row.linux, noted) {
        (Some(linux), _) => bars.push(bar(Some(linux))),
        (None, Some(value)) => {
            bars.push(Bar::Value { value, range: None, label: format!("{}*", number(value)) });
        }
        (None, None) => {}
    }
    let detail = most.map_or_else(String::new, |most| format!("at most {}", number(most)));
    Group { name: title(&row.name), detail, bars, limit: most }
}

fn rate(row: &Row) -> Group {
    let mut bars = vec![bar(row.capos.as_ref())];
    bars.extend(row.linux.as_ref().map(|linux| bar(Some(linux))));
    let detail = match row.unit {
        Some(Unit::Microseconds) => "µs, median of each run; less is better",
        Some(unit) => unit.words(),
        None => "",
    };
    Group { name: title(&row.name), detail: detail.into(), bars, limit: None }
}

fn bar(spread: Option<&Spread>) -> Bar {
    match spread {
        None => Bar::Words("not measured".into()),
        Some(spread) if spread.is_stalled() => Bar::Words("stalled: did not end in time".into()),
        Some(spread) => Bar::Value {
            value: spread.median,
            range: Some((spread.minimum, spread.maximum)),
            label: match spread.stalled {
                0 => number(spread.median),
                stalled => format!(
                    "{} ({stalled} of {} stalled)",
                    number(spread.median),
                    stalled + spread.runs.len()
                ),
            },
        },
    }
}

/// A row's name for people: without the unit, which stands below it.
fn title(name: &str) -> String {
    const WORDS: [(&str, &str); 18] = [
        ("_megabytes_per_second", ""),
        ("_per_second", ""),
        ("_microseconds", ""),
        ("_slirp", ", slirp"),
        ("_tap", ", tap"),
        ("_keep_alive_16", " keep-alive, 16 connections"),
        ("_keep_alive_1", " keep-alive, 1 connection"),
        ("_new_connection_16", ", new connections, 16 at once"),
        ("_new_connection", ", new connections"),
        ("_echo_64", " echo of 64 bytes"),
        ("_per_kib", ", per KiB"),
        ("_depth_", ", depth "),
        ("_4k", " 4 KiB"),
        ("_128k", " 128 KiB"),
        ("http", "HTTP"),
        ("nvme", "NVMe"),
        ("tcp", "TCP"),
        ("udp", "UDP"),
    ];
    WORDS.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to)).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_for_people() {
        assert_eq!(title("nvme_read_4k_depth_32_per_second"), "NVMe read 4 KiB, depth 32");
        assert_eq!(title("tcp_in_per_kib_tap"), "TCP in, per KiB, tap");
    }
}
