//! Many clients at once.

use std::time::Duration;

use super::fake::{Client, FakeStream, connect, send};
use super::{Interest, Server, Wake};
use crate::http::{DELIVERY_TIME, IDLE_TIME, QUIET_TIME, REQUEST_TIME, STALL_TIME};
use crate::site::Site;
use inspect::Snapshot;

const NOW: Duration = Duration::from_secs(50);
const MILLISECOND: Duration = Duration::from_millis(1);
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

fn server(capacity: usize) -> Server<FakeStream, Site> {
    Server::new(capacity, Site::new(1))
}

fn join(server: &mut Server<FakeStream, Site>, now: Duration) -> Client {
    let (client, stream) = connect();
    server.accept(stream, now);
    client
}

fn healthy(client: &Client) -> bool {
    client.borrow().outgoing.ends_with(br#"{"ok":true,"service":"remote-session-web-ui"}"#)
}

fn gone(client: &Client) -> bool {
    client.borrow().dropped
}

#[test]
fn idle_clients_keep_nobody_out() {
    let mut server = server(32);
    let idle: Vec<Client> = (0..200).map(|index| join(&mut server, NOW + MILLISECOND * index)).collect();
    assert_eq!(server.connections(), 32);
    assert_eq!(idle.iter().filter(|client| gone(client)).count(), 168);
    assert!(idle[..168].iter().all(gone), "the longest idle go first");
    assert!(idle.iter().all(|client| !client.borrow().finished), "those that were told nothing are reset");
    let client = join(&mut server, NOW + MILLISECOND * 200);
    send(&client, REQUEST);
    server.turn(NOW + MILLISECOND * 200);
    assert!(healthy(&client));
    // It is the newest now, and outlives the others.
    for index in 201..232 {
        join(&mut server, NOW + MILLISECOND * index);
    }
    assert!(!gone(&client));
}

#[test]
fn a_request_that_came_with_the_connection_is_answered_in_any_flood() {
    let mut server = server(1);
    let clients: Vec<Client> = (0..20)
        .map(|_| {
            let (client, stream) = connect();
            send(&client, REQUEST);
            server.accept(stream, NOW);
            client
        })
        .collect();
    assert!(clients.iter().all(healthy));
}

#[test]
fn a_response_on_its_way_survives_that_its_connection_is_closed() {
    let mut server = server(1);
    let client = join(&mut server, NOW);
    send(&client, REQUEST);
    server.turn(NOW);
    let next = join(&mut server, NOW + MILLISECOND);
    assert!(gone(&client) && client.borrow().finished);
    send(&next, REQUEST);
    server.turn(NOW + MILLISECOND);
    join(&mut server, NOW + MILLISECOND + DELIVERY_TIME);
    assert!(gone(&next) && !next.borrow().finished, "by then it has arrived");
}

#[test]
fn what_has_arrived_counts_before_anyone_is_closed() {
    let mut server = server(2);
    let asking = join(&mut server, NOW);
    let idle = join(&mut server, NOW + MILLISECOND);
    send(&asking, REQUEST);
    join(&mut server, NOW + 2 * MILLISECOND);
    assert!(healthy(&asking));
    assert!(gone(&idle) && !gone(&asking));
}

#[test]
fn incomplete_requests_go_after_the_idle_and_oldest_first() {
    let mut server = server(3);
    let first = join(&mut server, NOW);
    send(&first, b"GET / HT");
    let second = join(&mut server, NOW + MILLISECOND);
    send(&second, b"GET /");
    server.turn(NOW + MILLISECOND);
    send(&first, b"TP/1.1\r\n");
    let idle = join(&mut server, NOW + 2 * MILLISECOND);
    let newest = join(&mut server, NOW + 3 * MILLISECOND);
    assert!(gone(&idle) && !gone(&first) && !gone(&second));
    send(&newest, b"G");
    let next = join(&mut server, NOW + 4 * MILLISECOND);
    assert!(!gone(&next) && !gone(&newest));
    assert_eq!(
        (gone(&first), gone(&second)),
        (true, false),
        "both came at the same turn, the first is older in the table"
    );
}

#[test]
fn responses_on_their_way_are_not_cut_off() {
    let mut server = server(2);
    let readers: Vec<Client> = (0..2)
        .map(|_| {
            let client = join(&mut server, NOW);
            client.borrow_mut().window = 10;
            send(&client, REQUEST);
            client
        })
        .collect();
    server.turn(NOW);
    let refused = join(&mut server, NOW + MILLISECOND);
    assert!(gone(&refused));
    assert!(readers.iter().all(|client| !gone(client)));
    // One that has not moved for some seconds makes room.
    let later = NOW + STALL_TIME / 5;
    readers[1].borrow_mut().window = 5;
    server.turn(later - MILLISECOND);
    let accepted = join(&mut server, later);
    assert!(!gone(&accepted) && gone(&readers[0]) && !gone(&readers[1]));
}

#[test]
fn it_sleeps_until_something_is_due() {
    let mut server = server(8);
    assert_eq!(server.turn(NOW), Wake::OnEvent);
    let idle = join(&mut server, NOW);
    assert_eq!(server.turn(NOW), Wake::At(NOW + IDLE_TIME));
    assert_eq!(idle.borrow().armed, Some(Interest::Readable));
    let slow = join(&mut server, NOW + MILLISECOND);
    send(&slow, b"GET");
    assert_eq!(server.turn(NOW + MILLISECOND), Wake::At(NOW + MILLISECOND + REQUEST_TIME));
    let full = join(&mut server, NOW);
    full.borrow_mut().window = 1;
    send(&full, REQUEST);
    server.turn(NOW + MILLISECOND);
    assert_eq!(full.borrow().armed, Some(Interest::Writable));
    // The end of a client that has got all that it will get is not worth being woken for at first.
    let lingering = join(&mut server, NOW);
    send(&lingering, b"GET / HTTP/9.9\r\n\r\n");
    assert_eq!(server.turn(NOW + MILLISECOND), Wake::At(NOW + MILLISECOND + QUIET_TIME));
    assert_eq!(lingering.borrow().armed, Some(Interest::Nothing));
    server.turn(NOW + MILLISECOND + QUIET_TIME);
    assert_eq!(lingering.borrow().armed, Some(Interest::Readable));
    lingering.borrow_mut().ended = true;
    server.turn(NOW + MILLISECOND + QUIET_TIME);
    assert!(gone(&lingering));
    server.turn(NOW + IDLE_TIME);
    assert!(idle.borrow().finished && slow.borrow().finished && gone(&full));
    server.turn(NOW + IDLE_TIME + REQUEST_TIME);
    assert_eq!((server.connections(), server.turn(NOW + IDLE_TIME + REQUEST_TIME)), (0, Wake::OnEvent));
}

#[test]
fn a_client_with_endless_requests_lets_others_have_their_turn() {
    let mut server = server(8);
    let greedy = join(&mut server, NOW);
    let modest = join(&mut server, NOW);
    send(&greedy, &REQUEST.repeat(5000));
    send(&modest, REQUEST);
    assert_eq!(server.turn(NOW), Wake::Now);
    assert!(healthy(&modest));
    assert!(!greedy.borrow().incoming.is_empty());
    while server.turn(NOW) == Wake::Now {}
    let answers = greedy.borrow().outgoing.windows(11).filter(|window| window == b"{\"ok\":true,").count();
    assert_eq!(answers, 5000);
}

#[test]
fn all_who_wait_share_one_look_at_the_system() {
    let mut server = server(40);
    let clients: Vec<Client> = (0..30)
        .map(|index| {
            let client = join(&mut server, NOW);
            send(
                &client,
                if index % 2 == 0 {
                    b"GET /api/state HTTP/1.0\r\n\r\n"
                } else {
                    b"GET /api/log HTTP/1.0\r\n\r\n"
                },
            );
            client
        })
        .collect();
    server.turn(NOW);
    assert!(server.handler().take_wanted());
    assert!(!server.handler().take_wanted(), "the wish is taken once");
    assert!(clients.iter().all(|client| client.borrow().outgoing.is_empty()));
    server.handler().update(&Snapshot::default(), NOW);
    server.turn(NOW);
    assert!(clients.iter().all(|client| client.borrow().outgoing.starts_with(b"HTTP/1.1 200 OK\r\n")));
    assert!(!server.handler().take_wanted());
}

#[test]
fn clearing_drops_everyone() {
    let mut server = server(4);
    let clients: Vec<Client> = (0..4).map(|_| join(&mut server, NOW)).collect();
    server.clear();
    assert!(clients.iter().all(gone));
    assert_eq!(server.connections(), 0);
}
