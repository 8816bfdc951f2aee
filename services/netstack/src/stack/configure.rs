//! The interface's configuration: sessions with the NIC, addresses and leases.

use core::time::Duration;

use ring::{HeapMemory, SharedMemory};
use smoltcp::{
    iface::{Config, Interface},
    wire::{EthernetAddress, HardwareAddress},
};

use super::{Random, Stack};
use crate::{
    arguments::Addressing,
    device::{LargestCut, Session, Step},
    dhcp::Change,
    doorbell::Doorbell,
    network::{Mtu, NetworkConfiguration},
    time::instant,
};

/// A new interface without an address. smoltcp learns hardware address, MTU and what the NIC can do only here.
pub(super) fn interface(
    mac: EthernetAddress,
    mtu: Mtu,
    largest_cut: LargestCut,
    random: &mut Random,
    now: Duration,
) -> Interface {
    let mut config = Config::new(HardwareAddress::Ethernet(mac));
    // Initial sequence numbers, DHCP transaction numbers and IP identifiers come from this.
    config.random_seed = random();
    let mut device = Step::<HeapMemory> { frame: None, sender: None, mtu, largest_cut };
    Interface::new(config, &mut device, instant(now))
}

impl<M: SharedMemory, D: Doorbell> Stack<M, D> {
    /// Starts to use a session with the NIC; one before is ended. Connections go on if the NIC is the same or has at
    /// least the same hardware address; another address makes DHCP start over.
    pub fn open_session(
        &mut self,
        session: Session<M, D>,
        mac: EthernetAddress,
        nic_mtu: Mtu,
        now: Duration,
    ) {
        let is_other = mac != self.mac;
        let cuts_otherwise = session.largest_cut() != self.largest_cut;
        self.mac = mac;
        self.largest_cut = session.largest_cut();
        self.nic_mtu = nic_mtu.min(session.mtu());
        self.session = Some(session);
        if is_other && let Some(dhcp) = &mut self.dhcp {
            dhcp.restart();
        }
        if is_other || cuts_otherwise {
            self.rebuild_interface(now);
        }
        self.link_came_up(now);
        self.work.unpark();
    }

    /// Looks for everybody anew after the link was down: the cable may lead elsewhere now. The address stays until its lease
    /// says otherwise, and with it the connections, which send again what was lost.
    pub fn link_came_up(&mut self, now: Duration) {
        let configuration = self.configuration.take();
        self.configure(configuration, now);
        self.recover(now);
    }

    /// Gives the session with the NIC up, as when its driver has died. Sockets stay.
    pub fn close_session(&mut self) {
        self.session = None;
    }

    /// Sets or takes the configuration, and has every socket look at it.
    pub(super) fn configure(&mut self, configuration: Option<NetworkConfiguration>, now: Duration) {
        let fixed = match &self.addressing {
            Addressing::Dhcp { mtu } => *mtu,
            Addressing::Static(_) => None,
        };
        let asked = fixed.or_else(|| configuration.as_ref().and_then(|configuration| configuration.mtu));
        let mtu = asked.map_or(self.nic_mtu, |mtu| mtu.used_on(self.nic_mtu));
        if mtu != self.mtu {
            self.mtu = mtu;
            self.rebuild_interface(now);
        }
        match &configuration {
            Some(configuration) => {
                let left_out = configuration.apply(&mut self.interface);
                if left_out != 0 {
                    log::warn!("{left_out} routes do not fit the routing table");
                }
            }
            None => NetworkConfiguration::clear(&mut self.interface),
        }
        self.configuration = configuration;
        let own = self.own_address();
        if let Some(session) = &mut self.session {
            session.sender.set_own_address(own);
        }
        // Connections from another address end at their next turn.
        self.work.add_all();
    }

    /// Applies what became of the lease.
    pub(super) fn change_lease(&mut self, change: Change, now: Duration) {
        match change {
            Change::Bound(lease) => {
                self.lease_expires_at = Some(lease.expires_at);
                // A renewal that changes nothing must not disturb anything.
                if self.configuration.as_ref() == Some(&lease.configuration) {
                    return;
                }
                log::info!(
                    "DHCP lease of {} for {} s",
                    lease.configuration.address,
                    lease.expires_at.saturating_sub(now).as_secs(),
                );
                log::debug!(
                    "routes {:?}, DNS {:?}, NTP {:?}",
                    lease.configuration.routes,
                    lease.configuration.dns_servers,
                    lease.ntp_server,
                );
                self.configure(Some(lease.configuration), now);
            }
            Change::Lost => {
                self.lease_expires_at = None;
                if self.configuration.is_some() {
                    log::warn!("DHCP lease lost");
                    self.configure(None, now);
                }
            }
        }
    }

    /// Makes the interface anew. Sockets are not part of it; the addresses are, and are to be set again.
    fn rebuild_interface(&mut self, now: Duration) {
        self.interface = interface(self.mac, self.mtu, self.largest_cut, &mut self.random, now);
    }
}
