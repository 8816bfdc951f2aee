//! The interface `NetworkManager`.

use alloc::{rc::Rc, string::ToString};
use core::future::poll_fn;

use capnp::Error;
use schema::network_capnp::{AddressSource, interface_status, network_manager};
use smoltcp::wire::Ipv4Address;

use super::{Service, nic::Link, tcp, udp};
use crate::{
    stack::{BindError, ConnectError, ListenError, Source, Status},
    tcp::ConnectFailure,
    udp::Peer,
};

/// Name of the one interface.
const INTERFACE: &str = "net0";

/// The capability to export.
pub fn serve(service: &Rc<Service>) -> network_manager::Client {
    rt::serve(Rc::new(Manager { service: Rc::clone(service) }))
}

struct Manager {
    service: Rc<Service>,
}

impl network_manager::Server for Manager {
    async fn status(
        self: Rc<Self>,
        _: network_manager::StatusParams,
        mut results: network_manager::StatusResults,
    ) -> Result<(), Error> {
        let counters = self.service.nic.counters().await;
        let status = self.service.stack.borrow().status(rt::now());
        let mut interface = results.get().init_interface();
        let mut nic = interface.reborrow().init_nic();
        // Counted here, where no driver's death loses them.
        nic.set_received_frames(status.received.frames);
        nic.set_received_bytes(status.received.bytes);
        nic.set_sent_frames(status.sent.frames);
        nic.set_sent_bytes(status.sent.bytes);
        counters.write(nic);
        interface.set_link_up(self.service.nic.link() == Link::Up);
        fill(interface, &status);
        Ok(())
    }

    async fn listen_tcp(
        self: Rc<Self>,
        params: network_manager::ListenTcpParams,
        mut results: network_manager::ListenTcpResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let listened = self.service.stack.borrow_mut().listen(params.get_port(), params.get_backlog());
        let id = listened.map_err(|error| match error {
            ListenError::TooMany => Error::overloaded(error.to_string()),
            _ => Error::failed(error.to_string()),
        })?;
        results.get().set_listener(tcp::serve_listener(&self.service, id));
        Ok(())
    }

    async fn connect_tcp(
        self: Rc<Self>,
        params: network_manager::ConnectTcpParams,
        mut results: network_manager::ConnectTcpResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let peer = Peer { address: Ipv4Address::from_bits(params.get_address()), port: params.get_port() };
        let started = self.service.stack.borrow_mut().connect(peer, rt::now());
        let id = started.map_err(|error| match error {
            ConnectError::TooMany | ConnectError::NoMemory => Error::overloaded(error.to_string()),
            _ => Error::failed(error.to_string()),
        })?;
        let claim = tcp::Claim::new(&self.service, id);
        self.service.kick();
        let connected = poll_fn(|context| self.service.stack.borrow_mut().poll_connected(id, context)).await;
        connected.map_err(|failure| {
            Error::failed(match failure {
                ConnectFailure::Refused => "connection refused".into(),
                ConnectFailure::TimedOut => "connection timed out".into(),
            })
        })?;
        results.get().set_socket(tcp::serve_socket(claim));
        Ok(())
    }

    async fn bind_udp(
        self: Rc<Self>,
        params: network_manager::BindUdpParams,
        mut results: network_manager::BindUdpResults,
    ) -> Result<(), Error> {
        let bound = self.service.stack.borrow_mut().bind(params.get()?.get_port());
        let id = bound.map_err(|error| match error {
            BindError::PortTaken(_) => Error::failed(error.to_string()),
            BindError::TooMany | BindError::NoMemory => Error::overloaded(error.to_string()),
        })?;
        results.get().set_socket(udp::serve(&self.service, id));
        Ok(())
    }
}

/// Fills in what the stack knows.
fn fill(mut interface: interface_status::Builder<'_>, status: &Status) {
    interface.set_name(INTERFACE);
    interface.set_mac(status.mac.as_bytes());
    interface.set_mtu(status.mtu.bytes());
    interface.set_source(match status.source {
        Source::None => AddressSource::None,
        Source::Static => AddressSource::Static,
        Source::Dhcp => AddressSource::Dhcp,
    });
    if let Some(configuration) = &status.configuration {
        interface.set_address(configuration.address.address().to_bits());
        interface.set_prefix_length(configuration.address.prefix_len());
        // The servers are at most three.
        let mut servers = interface.reborrow().init_dns_servers(configuration.dns_servers.len() as u32);
        for (index, server) in (0..).zip(&configuration.dns_servers) {
            servers.set(index, server.to_bits());
        }
    }
    let routes = status.routes();
    // At most those of one lease, and the own network.
    let mut list = interface.reborrow().init_routes(routes.len() as u32);
    for (index, route) in (0..).zip(&routes) {
        let mut entry = list.reborrow().get(index);
        entry.set_destination(route.destination.address().to_bits());
        entry.set_prefix_length(route.destination.prefix_len());
        entry.set_gateway(route.gateway.map_or(0, Ipv4Address::to_bits));
    }
    interface.set_lease_seconds(u32::try_from(status.lease_left.as_secs()).unwrap_or(u32::MAX));
    interface.set_tcp_sockets(u16::try_from(status.tcp_sockets).unwrap_or(u16::MAX));
    interface.set_udp_sockets(u16::try_from(status.udp_sockets).unwrap_or(u16::MAX));
    interface.set_dropped_frames(status.dropped_frames);
    interface.set_nic_connected(status.nic_connected);
}
