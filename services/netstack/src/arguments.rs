//! The service's arguments: an address from DHCP, or everything static.
//!
//! | name | value | default |
//! |---|---|---|
//! | `address` | `dhcp`, or `a.b.c.d/length` | `dhcp` |
//! | `gateway` | `a.b.c.d`; only with a static address; may be off link, as on GCE | none |
//! | `mtu` | 68 to 9216; never more than the NIC's is used | the NIC's |
//! | `dns` | up to three `a.b.c.d`, with commas between; only with a static address | none |

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use crate::network::{Mtu, NetworkConfiguration, Route, is_host};

/// How the interface gets its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// By DHCP, with an MTU that replaces what the lease says.
    Dhcp {
        /// The MTU that the manifest fixes.
        mtu: Option<Mtu>,
    },
    /// From the manifest.
    Static(NetworkConfiguration),
}

/// An argument that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentError {
    /// `address` is neither `dhcp` nor a host address with a prefix length.
    Address(String),
    /// `gateway` is no host address, or the interface's own.
    Gateway(String),
    /// `mtu` is no number from 68 to 9216.
    Mtu(String),
    /// `dns` is no list of up to three host addresses.
    Dns(String),
    /// The argument needs a static address.
    NeedsStatic(&'static str),
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(value) => {
                write!(
                    f,
                    "argument address = {value:?}: expected \"dhcp\" or a host address like \"10.0.2.15/24\""
                )
            }
            Self::Gateway(value) => {
                write!(f, "argument gateway = {value:?}: expected another host's address like \"10.0.2.2\"")
            }
            Self::Mtu(value) => write!(f, "argument mtu = {value:?}: expected a number from 68 to 9216"),
            Self::Dns(value) => {
                write!(
                    f,
                    "argument dns = {value:?}: expected up to three addresses like \"10.0.2.3,10.0.2.4\""
                )
            }
            Self::NeedsStatic(name) => {
                write!(f, "argument {name}: only with a static address; DHCP gives it otherwise")
            }
        }
    }
}

impl core::error::Error for ArgumentError {}

/// Reads the arguments; `get` gives the value of a name.
pub fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Addressing, ArgumentError> {
    let mtu = get("mtu").map(parse_mtu).transpose()?;
    let address = get("address").unwrap_or("dhcp");
    if address == "dhcp" {
        for name in ["gateway", "dns"] {
            if get(name).is_some() {
                return Err(ArgumentError::NeedsStatic(name));
            }
        }
        return Ok(Addressing::Dhcp { mtu });
    }
    let address = parse_address(address)?;
    let mut configuration = NetworkConfiguration { mtu, ..NetworkConfiguration::new(address) };
    if let Some(gateway) = get("gateway") {
        let gateway = Ipv4Address::from_str(gateway)
            .ok()
            .filter(|gateway| is_host(*gateway) && *gateway != address.address())
            .ok_or_else(|| ArgumentError::Gateway(gateway.into()))?;
        configuration.routes.push(Route { destination: Route::EVERYWHERE, gateway: Some(gateway) });
    }
    if let Some(dns) = get("dns") {
        configuration.dns_servers = parse_dns(dns)?;
    }
    Ok(Addressing::Static(configuration))
}

fn parse_mtu(value: &str) -> Result<Mtu, ArgumentError> {
    value.parse().ok().and_then(Mtu::new).ok_or_else(|| ArgumentError::Mtu(value.into()))
}

fn parse_address(value: &str) -> Result<Ipv4Cidr, ArgumentError> {
    let error = || ArgumentError::Address(value.into());
    let (address, length) = value.split_once('/').ok_or_else(error)?;
    let address = Ipv4Address::from_str(address).map_err(|_| error())?;
    let length = length.parse::<u8>().ok().filter(|length| (1..=32).contains(length)).ok_or_else(error)?;
    let cidr = Ipv4Cidr::new(address, length);
    let is_network_or_broadcast =
        length <= 30 && (cidr.network().address() == address || cidr.broadcast() == Some(address));
    if !is_host(address) || is_network_or_broadcast {
        return Err(error());
    }
    Ok(cidr)
}

fn parse_dns(value: &str) -> Result<Vec<Ipv4Address>, ArgumentError> {
    let error = || ArgumentError::Dns(value.into());
    let servers: Vec<_> = value
        .split(',')
        .map(|server| Ipv4Address::from_str(server.trim()).ok().filter(|server| is_host(*server)))
        .collect::<Option<_>>()
        .ok_or_else(error)?;
    if servers.len() > NetworkConfiguration::MAXIMUM_DNS_SERVERS {
        return Err(error());
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[(&str, &'static str)]) -> Result<Addressing, ArgumentError> {
        parse(|name| arguments.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    #[test]
    fn nothing_means_dhcp() {
        assert_eq!(read(&[]), Ok(Addressing::Dhcp { mtu: None }));
        assert_eq!(
            read(&[("address", "dhcp"), ("mtu", "1400")]),
            Ok(Addressing::Dhcp { mtu: Mtu::new(1400) })
        );
    }

    #[test]
    fn a_static_address_takes_all_the_rest() {
        let read = read(&[
            ("address", "10.0.2.15/24"),
            ("gateway", "10.0.2.2"),
            ("dns", "10.0.2.3, 1.1.1.1"),
            ("mtu", "9000"),
        ]);
        let Ok(Addressing::Static(configuration)) = read else { panic!("{read:?}") };
        assert_eq!(configuration.address, Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24));
        assert_eq!(configuration.mtu, Mtu::new(9000));
        assert_eq!(configuration.routes.len(), 1);
        assert_eq!(configuration.routes[0].gateway, Some(Ipv4Address::new(10, 0, 2, 2)));
        assert_eq!(configuration.dns_servers, [Ipv4Address::new(10, 0, 2, 3), Ipv4Address::new(1, 1, 1, 1)]);
    }

    #[test]
    fn bad_values_are_named() {
        for bad in [
            "",
            "DHCP",
            "10.0.2.15",
            "10.0.2.15/0",
            "10.0.2.15/33",
            "10.0.2.0/24",
            "10.0.2.255/24",
            "0.0.0.0/8",
            "127.0.0.1/8",
            "224.0.0.1/4",
            "10.0.2.15/-1",
            "10.0.2.256/24",
            "10.0.2.15/24/8",
        ] {
            let address: &'static str = bad;
            assert_eq!(read(&[("address", address)]), Err(ArgumentError::Address(bad.into())));
        }
        for bad in ["10.0.2.15", "0.0.0.0", "255.255.255.255", "x"] {
            let result = read(&[("address", "10.0.2.15/24"), ("gateway", bad)]);
            assert_eq!(result, Err(ArgumentError::Gateway(bad.into())));
        }
        for bad in ["67", "9217", "-1", "1e3", ""] {
            assert_eq!(read(&[("mtu", bad)]), Err(ArgumentError::Mtu(bad.into())));
        }
        for bad in ["", "1.1.1.1,", "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4"] {
            let result = read(&[("address", "10.0.2.15/24"), ("dns", bad)]);
            assert_eq!(result, Err(ArgumentError::Dns(bad.into())));
        }
        assert_eq!(read(&[("gateway", "10.0.2.2")]), Err(ArgumentError::NeedsStatic("gateway")));
        assert_eq!(read(&[("address", "dhcp"), ("dns", "1.1.1.1")]), Err(ArgumentError::NeedsStatic("dns")));
        let text = ArgumentError::Mtu("67".into()).to_string();
        assert_eq!(text, "argument mtu = \"67\": expected a number from 68 to 9216");
    }
}
