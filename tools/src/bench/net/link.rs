//! What joins a measured machine with the clients: QEMU's user network, or a tap in a network namespace.

use std::{
    ffi::OsString,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd as _,
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The machine's address, on both links.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// The gateway's address: QEMU's user network, or this machine's end of the tap.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// TCP ports that are measured.
const TCP_PORTS: [u16; 4] = [8080, 7, 9, 19];

/// The UDP port that is measured.
const UDP_PORT: u16 = 7;

/// Name of the tap in its namespace.
const TAP: &str = "tap0";

/// Where `ip` keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";

/// Kinds of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// QEMU's user network, with forwarded ports.
    Slirp,
    /// A tap in a network namespace that lives as long as the measurement.
    Tap,
}

impl LinkKind {
    /// Short name, as in the names of results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slirp => "slirp",
            Self::Tap => "tap",
        }
    }
}

/// A link that a machine can be started on.
#[derive(Clone, Debug)]
pub enum Link {
    /// The ports of this machine that lead to [`TCP_PORTS`] and [`UDP_PORT`].
    Slirp { tcp: [u16; TCP_PORTS.len()], udp: u16 },
    /// The tap of the calling thread's namespace.
    Tap,
}

impl Link {
    /// Runs `act` with a link of this kind; for a tap, on a thread in a namespace of its own.
    pub fn with<T: Send>(kind: LinkKind, act: impl FnOnce(&Self) -> Result<T> + Send) -> Result<T> {
        match kind {
            LinkKind::Slirp => {
                let mut tcp = [0; TCP_PORTS.len()];
                for port in &mut tcp {
                    *port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
                }
                let udp = UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port();
                act(&Self::Slirp { tcp, udp })
            }
            LinkKind::Tap => {
                let namespace = namespace()?;
                thread::scope(|scope| {
                    let thread = scope.spawn(|| {
                        // What this thread starts, machine and clients, is in the namespace too.
                        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                        act(&Self::Tap)
                    });
                    thread.join().unwrap_or_else(|_| bail!("the measuring thread panicked"))
                })
            }
        }
    }

    /// QEMU's arguments for a card on this link.
    pub fn arguments(&self) -> Vec<OsString> {
        let network = match self {
            Self::Slirp { tcp, udp } => {
                let mut network = format!("user,id=net0,hostfwd=udp:127.0.0.1:{udp}-:{UDP_PORT}");
                for (host, guest) in tcp.iter().zip(TCP_PORTS) {
                    network += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
                }
                network
            }
            Self::Tap => format!("tap,id=net0,ifname={TAP},script=no,downscript=no,vhost=off"),
        };
        let card = "virtio-net-pci,netdev=net0,romfile=,disable-legacy=on,disable-modern=off";
        ["-netdev", &network, "-device", card].map(Into::into).to_vec()
    }

    /// Where one of the machine's TCP ports is reached.
    pub fn tcp(&self, port: u16) -> Result<SocketAddr> {
        match self {
            Self::Tap => Ok((GUEST, port).into()),
            Self::Slirp { tcp, .. } => {
                let host = tcp.iter().zip(TCP_PORTS).find(|(_, guest)| *guest == port);
                let (host, _) = host.with_context(|| format!("port {port} is not forwarded"))?;
                Ok((Ipv4Addr::LOCALHOST, *host).into())
            }
        }
    }

    /// Where the machine's UDP port is reached.
    pub fn udp(&self) -> SocketAddr {
        match self {
            Self::Tap => (GUEST, UDP_PORT).into(),
            Self::Slirp { udp, .. } => (Ipv4Addr::LOCALHOST, *udp).into(),
        }
    }
}

/// Makes a network namespace with a tap. It has no name, and so ends with the last who holds or is in it.
fn namespace() -> Result<File> {
    let name = format!("capos-bench-{}", std::process::id());
    ip(&["netns", "add", &name]).context("a tap needs root, /dev/net/tun and network namespaces")?;
    let file = Path::new(NAMESPACES).join(&name);
    let opened = File::open(&file).with_context(|| file.display().to_string());
    let address = format!("{GATEWAY}/24");
    let made = ip(&["-n", &name, "tuntap", "add", "dev", TAP, "mode", "tap"])
        .and_then(|()| ip(&["-n", &name, "addr", "add", &address, "dev", TAP]))
        .and_then(|()| ip(&["-n", &name, "link", "set", TAP, "up"]));
    ip(&["netns", "del", &name])?;
    made?;
    opened
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.context("cannot run ip (Debian: apt-get install iproute2)")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), error.trim());
    Ok(())
}
