//! The NIC's driver: sessions with it, opened again for as long as the service lives.

use alloc::{format, rc::Rc};
use core::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use capnp::{Error, ErrorKind};
use ring::frame::FrameLayout;
use rt::Environment;
use schema::{
    ipc_capnp::signaller,
    network_capnp::{SendOffload, nic, nic_counters, nic_session},
};
use smoltcp::wire::EthernetAddress;

use super::{MappedStack, Service, bell::ClientBell, memory::map};
use crate::{
    arguments::Addressing,
    device::{Abilities, Session},
    limits::Limits,
    network::Mtu,
    stack::Stack,
};

/// Name of the grant.
const GRANT: &str = "nic";

/// Time between attempts to open a session with a driver that is there and refuses.
const RETRY: Duration = Duration::from_millis(250);

/// How long the driver may take to answer a question, so that status does not hang with it.
const PATIENCE: Duration = Duration::from_millis(200);

/// The most bytes of buffers that are mapped for a driver.
const MAXIMUM_BUFFERS: usize = 16 << 20;

/// What the driver says of its NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Info {
    mac: EthernetAddress,
    mtu: Mtu,
    link: Link,
}

/// Whether the NIC has a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has.
    Up,
    /// It has none.
    Down,
}

impl Link {
    fn new(up: bool) -> Self {
        if up { Self::Up } else { Self::Down }
    }
}

/// What only the drivers count, over all of their lives as far as was heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    receive_errors: u64,
    send_errors: u64,
    interrupts: u64,
}

impl Counters {
    fn read(reader: nic_counters::Reader<'_>) -> Self {
        Self {
            receive_errors: reader.get_receive_errors(),
            send_errors: reader.get_send_errors(),
            interrupts: reader.get_interrupts(),
        }
    }

    /// Fills them into the schema's structure.
    pub fn write(&self, mut builder: nic_counters::Builder<'_>) {
        builder.set_receive_errors(self.receive_errors);
        builder.set_send_errors(self.send_errors);
        builder.set_interrupts(self.interrupts);
    }

    fn plus(&self, other: &Self) -> Self {
        // A driver may claim any count.
        Self {
            receive_errors: self.receive_errors.saturating_add(other.receive_errors),
            send_errors: self.send_errors.saturating_add(other.send_errors),
            interrupts: self.interrupts.saturating_add(other.interrupts),
        }
    }
}

/// What is known of the NIC and its driver.
pub struct Nic {
    client: RefCell<nic::Client>,
    link: Cell<Link>,
    /// Counts of drivers that are gone.
    before: Cell<Counters>,
    /// Counts of the present one, as last heard.
    current: Cell<Counters>,
    lost: Cell<bool>,
    watcher: RefCell<Option<Waker>>,
}

impl Nic {
    /// Whether there is a link, as last heard.
    pub fn link(&self) -> Link {
        self.link.get()
    }

    /// Has the watching task open another session.
    pub fn lose(&self) {
        self.lost.set(true);
        if let Some(waker) = self.watcher.take() {
            waker.wake();
        }
    }

    /// The counts up to now, or as last heard when the driver does not answer.
    pub async fn counters(&self) -> Counters {
        let client = self.client.borrow().clone();
        let answer = rt::timeout(PATIENCE, client.info_request().send().promise).await;
        if let Ok(Ok(response)) = answer
            && let Ok(counters) = response.get().and_then(|info| info.get_counters())
        {
            self.current.set(Counters::read(counters));
        }
        self.before.get().plus(&self.current.get())
    }

    /// Completes when the session was lost.
    async fn lost(&self) {
        poll_fn(|context| {
            if self.lost.take() {
                return Poll::Ready(());
            }
            self.watcher.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Waits until the NIC says who it is, and makes a stack for it. The first session is opened by [`watch`].
pub async fn first(environment: &Environment, addressing: Addressing) -> Result<(Nic, MappedStack), Error> {
    let mut client: nic::Client = environment.grant(GRANT)?;
    let info = loop {
        match info(&client).await {
            Ok(info) => break info,
            Err(error) if error.kind == ErrorKind::Disconnected => {
                client = environment.reacquire(GRANT).await?
            }
            Err(error) => return Err(error),
        }
    };
    let random = alloc::boxed::Box::new(rt::random_u64);
    let stack = Stack::new(info.mac, info.mtu, addressing, Limits::STANDARD, random, rt::now());
    let nic = Nic {
        client: RefCell::new(client),
        link: Cell::new(info.link),
        before: Cell::default(),
        current: Cell::default(),
        lost: Cell::new(false),
        watcher: RefCell::default(),
    };
    Ok((nic, stack))
}

/// Keeps a session with the driver open.
pub async fn watch(service: Rc<Service>) {
    loop {
        let ended = session(&service).await;
        service.stack.borrow_mut().close_session();
        let nic = &service.nic;
        nic.lost.set(false);
        log::warn!("no NIC session: {ended}");
        if ended.kind != ErrorKind::Disconnected {
            rt::sleep(RETRY).await;
            continue;
        }
        nic.before.set(nic.before.get().plus(&nic.current.take()));
        match service.environment.reacquire(GRANT).await {
            Ok(client) => drop(nic.client.replace(client)),
            Err(error) => {
                log::error!("the NIC's driver does not come back: {error}");
                rt::sleep(RETRY).await;
            }
        }
    }
}

/// Opens a session and watches it; returns why it ended.
async fn session(service: &Rc<Service>) -> Error {
    let session = match open(service).await {
        Ok(session) => session,
        Err(error) => return error,
    };
    let mut lost = pin!(service.nic.lost());
    loop {
        let mut changed = pin!(session.link_changed_request().send().promise);
        let change = poll_fn(|context| {
            if lost.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Error::failed("the driver broke the rules of the rings".into())));
            }
            changed.as_mut().poll(context)
        });
        let up = match change.await.and_then(|response| Ok(response.get()?.get_link_up())) {
            Ok(up) => up,
            Err(error) => return error,
        };
        log::info!("link {}", if up { "up" } else { "down" });
        service.nic.link.set(Link::new(up));
        if up {
            service.stack.borrow_mut().link_came_up(rt::now());
            service.kick();
        }
    }
}

/// Opens a session with the present driver and gives it to the stack.
async fn open(service: &Service) -> Result<nic_session::Client, Error> {
    let client = service.nic.client.borrow().clone();
    let info = info(&client).await?;
    let mut request = client.open_request();
    request.get().set_doorbell(service.frames.signaller());
    let response = request.send().promise.await?;
    let opened = response.get()?;
    let layout =
        FrameLayout::new(opened.get_receive_buffers(), opened.get_send_buffers(), opened.get_buffer_bytes())
            .and_then(|layout| layout.with_send_bytes(opened.get_send_buffer_bytes()))
            .map_err(|error| Error::failed(format!("the NIC's buffers: {error}")))?;
    if layout.buffers_bytes() > MAXIMUM_BUFFERS {
        return Err(Error::failed(format!("the NIC's buffers take {} bytes", layout.buffers_bytes())));
    }
    let rings = map(&opened.get_rings()?, layout.rings_bytes()).await?;
    let buffers = map(&opened.get_buffers()?, layout.buffers_bytes()).await?;
    let doorbell: signaller::Client = opened.get_doorbell()?;
    let abilities = match opened.get_offload()? {
        SendOffload::None => Abilities::None,
        SendOffload::Checksums => Abilities::Checksums,
        SendOffload::Segments => Abilities::Segments,
    };
    let session = Session::new(&rings, &buffers, layout, abilities, ClientBell(doorbell.into()))
        .map_err(|error| Error::failed(format!("the NIC's rings: {error}")))?;
    service.nic.link.set(info.link);
    service.stack.borrow_mut().open_session(session, info.mac, info.mtu, rt::now());
    service.kick();
    opened.get_session()
}

/// Asks a driver for what does not change during a session.
async fn info(client: &nic::Client) -> Result<Info, Error> {
    let response = client.info_request().send().promise.await?;
    let info = response.get()?;
    let mac = <[u8; 6]>::try_from(info.get_mac()?)
        .map(EthernetAddress)
        .ok()
        .filter(EthernetAddress::is_unicast)
        .ok_or_else(|| Error::failed("the NIC's hardware address is none".into()))?;
    let mtu = Mtu::new(info.get_mtu()).ok_or_else(|| {
        Error::failed(format!("the NIC's MTU of {} is not from 68 to 9216", info.get_mtu()))
    })?;
    Ok(Info { mac, mtu, link: Link::new(info.get_link_up()) })
}
