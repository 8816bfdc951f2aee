//! The service: the stack's capabilities towards the NIC's driver and towards clients.
//!
//! ```text
//!   nic::watch        opens sessions, watches the link, opens again          \
//!   run               rounds of work, between sleeps until a doorbell rings   >-- Service { stack }
//!   servers           NetworkManager, TcpListener, TcpSocket, UdpSocket      /
//! ```
//!
//! All of it is one thread. The stack is borrowed only between two waits, and never while a capability is
//! dropped: a client may have made any object of ours its doorbell, so a dropped object only leaves a note,
//! to be freed in the next round.

mod bell;
mod manager;
mod memory;
mod nic;
mod stream_memory;
mod streams;
mod tcp;
mod udp;

use alloc::{collections::VecDeque, rc::Rc};
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::Poll,
    time::Duration,
};

use capnp::Error;
use ring::{PeerFault, Sleep};
use rt::{Alarm, Environment, Signal, SignalSet, Sleeper, memory::Mapping};
use schema::network_capnp::network_manager;

use crate::{
    arguments::Addressing,
    stack::{Stack, Turn},
    table::Id,
};
use bell::ClientBell;
use nic::Nic;

/// The stack on this machine's memory and doorbells.
type MappedStack = Stack<Mapping, ClientBell>;

/// What a client has let go of.
enum Released {
    Connection(Id),
    Listener(Id),
    Datagrams(Id),
}

/// The running service.
pub struct Service {
    environment: Environment,
    stack: RefCell<MappedStack>,
    nic: Nic,
    /// The driver's doorbell for us.
    frames: Signal,
    /// The clients' doorbells for us: one for each group of streams.
    streams: streams::Groups,
    /// All of them.
    doorbells: SignalSet,
    /// Whether a client may have rung since they were last heard.
    rung: Cell<bool>,
    released: RefCell<VecDeque<Released>>,
    kicked: Cell<bool>,
    sleeper: Sleeper,
    alarm: RefCell<Alarm>,
}

impl Service {
    /// Waits for the NIC, makes a stack for it and starts the tasks around it.
    pub async fn start(environment: Environment, addressing: Addressing) -> Result<Rc<Self>, Error> {
        let frames = Signal::new().await?;
        let streams = streams::Groups::new().await?;
        let doorbells = streams.set_with(&frames);
        let (nic, stack) = nic::first(&environment, addressing).await?;
        let service = Rc::new(Self {
            environment,
            stack: RefCell::new(stack),
            nic,
            frames,
            streams,
            doorbells,
            rung: Cell::new(false),
            released: RefCell::default(),
            kicked: Cell::new(false),
            sleeper: Sleeper::default(),
            alarm: RefCell::default(),
        });
        rt::spawn(nic::watch(Rc::clone(&service)));
        Ok(service)
    }

    /// The capability to export.
    pub fn manager(self: &Rc<Self>) -> network_manager::Client {
        manager::serve(self)
    }

    /// Does the stack's work for ever.
    pub async fn run(&self) -> core::convert::Infallible {
        loop {
            let now = rt::now();
            self.release(now);
            self.hear_clients();
            let turn = self.stack.borrow_mut().run(now);
            let deadline = match turn {
                Ok(Turn::Again) => {
                    self.rung.set(true);
                    rt::yield_now().await;
                    continue;
                }
                Ok(Turn::Sleep(deadline)) => deadline,
                Err(fault) => {
                    self.lose_session(fault);
                    continue;
                }
            };
            let armed = self.stack.borrow_mut().arm();
            match armed {
                Ok(Sleep::Allowed) => self.sleep(deadline).await,
                Ok(Sleep::WorkArrived) => {}
                Err(fault) => self.lose_session(fault),
            }
        }
    }

    /// Has [`Self::run`] do another round.
    fn kick(&self) {
        self.kicked.set(true);
        self.sleeper.wake();
    }

    /// Notes that a client let go of something.
    fn let_go(&self, released: Released) {
        self.released.borrow_mut().push_back(released);
        self.kick();
    }

    /// Frees what clients have let go of.
    fn release(&self, now: Duration) {
        while !self.released.borrow().is_empty() {
            self.release_next(now);
        }
    }

    // Not inlined among what each frame runs, so that this lies together; so is what is lost.
    #[inline(never)]
    fn release_next(&self, now: Duration) {
        let released = self.released.borrow_mut().pop_front();
        let mut stack = self.stack.borrow_mut();
        match released {
            Some(Released::Connection(id)) => stack.drop_connection(id, now),
            Some(Released::Listener(id)) => stack.close_listener(id, now),
            Some(Released::Datagrams(id)) => stack.unbind(id),
            None => {}
        }
    }

    /// Has the streams looked at whose clients have rung.
    fn hear_clients(&self) {
        if !self.rung.take() {
            return;
        }
        for group in self.streams.take_rung() {
            self.stack.borrow_mut().streams_rang(group, streams::GROUPS);
        }
    }

    /// Waits for frames, clients, a kick or the deadline.
    async fn sleep(&self, deadline: Option<Duration>) {
        poll_fn(|context| {
            let rung = self.doorbells.poll(context).is_ready();
            if rung {
                // Streams are told apart in the next round; frames are looked for in each.
                self.frames.try_take();
                self.rung.set(true);
            }
            if rung || self.kicked.take() || self.alarm.borrow_mut().poll_until(deadline, context).is_ready()
            {
                return Poll::Ready(());
            }
            self.sleeper.register(context);
            Poll::Pending
        })
        .await;
    }

    /// Gives a session up whose driver broke the rules; the watching task opens another.
    #[cold]
    fn lose_session(&self, fault: PeerFault) {
        log::error!("NIC driver: {fault}");
        self.nic.lose();
    }
}
