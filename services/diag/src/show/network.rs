//! The network: `net`.

use crate::table::printable;
use alloc::{format, string::String, vec, vec::Vec};
use inspect::Network;

/// The interface.
pub fn network(network: &Network) -> Vec<String> {
    let switch = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
    let mut lines = vec![format!(
        "{}  {}, MTU {}, link {}, driver {}",
        network.name,
        network.mac,
        network.mtu,
        switch(network.link_up, "up", "down"),
        switch(network.nic_connected, "connected", "restarting"),
    )];
    lines.push(if network.address.is_empty() {
        "address    none".into()
    } else if network.lease_seconds > 0 {
        format!("address    {} by {}, {} s left", network.address, network.source, network.lease_seconds)
    } else {
        format!("address    {} by {}", network.address, network.source)
    });
    for (destination, gateway) in &network.routes {
        lines.push(match gateway.as_str() {
            "" => format!("route      {destination} on the link"),
            gateway => format!("route      {destination} by {gateway}"),
        });
    }
    if !network.dns_servers.is_empty() {
        lines.push(format!("DNS        {}", network.dns_servers.join(", ")));
    }
    lines.push(format!("sockets    {} TCP, {} UDP", network.tcp_sockets, network.udp_sockets));
    let counters = &network.counters;
    lines.push(format!(
        "received   {} frames, {} bytes, {} errors, {} refused by the stack",
        counters.received_frames, counters.received_bytes, counters.receive_errors, counters.dropped_frames
    ));
    lines.push(format!(
        "sent       {} frames, {} bytes, {} errors; {} interrupts",
        counters.sent_frames, counters.sent_bytes, counters.send_errors, counters.interrupts
    ));
    lines.iter().map(|line: &String| printable(line, 160)).collect()
}
