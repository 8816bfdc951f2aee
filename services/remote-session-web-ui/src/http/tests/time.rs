//! Time-outs, by a clock that the tests turn.

use std::time::Duration;

use super::{Bench, NOW};
use crate::http::{Activity, IDLE_TIME, LINGER_TIME, Outcome, QUIET_TIME, REQUEST_TIME, STALL_TIME};
use crate::site::FRESH;
use inspect::Snapshot;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const TICK: Duration = Duration::from_millis(1);

#[test]
fn a_head_that_drips_is_given_up() {
    let mut bench = Bench::new();
    assert_eq!(bench.connection.deadline(), Some(NOW + IDLE_TIME));
    bench.send(b"G", NOW + TICK);
    let due = NOW + TICK + REQUEST_TIME;
    assert_eq!(bench.connection.deadline(), Some(due));
    for (index, byte) in b"ET / HTTP/1.1\r\nA: bbbb".iter().enumerate() {
        let now = NOW + TICK * (index as u32 + 2);
        assert_eq!(bench.send(&[*byte], now), Outcome::Reading);
        assert_eq!(bench.connection.deadline(), Some(due), "further bytes give no further time");
    }
    bench.turn(due - TICK);
    assert_eq!(bench.output(), "");
    bench.turn(due);
    assert!(bench.output().starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{}", bench.output());
    assert!(bench.output().ends_with("408 Request Timeout: the request did not end within 10 seconds\n"));
    assert!(bench.finished());
}

#[test]
fn content_that_drips_is_given_up() {
    let mut bench = Bench::new();
    bench.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", NOW);
    bench.send(b"1", NOW + REQUEST_TIME - TICK);
    assert_eq!(bench.output(), "");
    bench.turn(NOW + REQUEST_TIME);
    assert!(bench.output().starts_with("HTTP/1.1 408 "), "{}", bench.output());
}

#[test]
fn an_idle_connection_is_closed_without_words() {
    let mut bench = Bench::new();
    bench.send(REQUEST, NOW);
    let answered = bench.output();
    let due = NOW + IDLE_TIME;
    assert_eq!(bench.connection.deadline(), Some(due));
    // Empty lines are no request.
    bench.send(b"\r\n", NOW + TICK);
    assert_eq!(bench.turn(due - TICK), Outcome::Reading);
    assert!(!bench.finished());
    bench.turn(due);
    assert!(bench.finished());
    assert_eq!(bench.output(), answered);
}

#[test]
fn a_request_keeps_a_connection_from_being_idle() {
    let mut bench = Bench::new();
    let mut now = NOW;
    for _ in 0..5 {
        now += IDLE_TIME - TICK;
        assert_eq!(bench.send(REQUEST, now), Outcome::Reading);
        assert!(!bench.finished());
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let mut bench = Bench::new();
    bench.client.borrow_mut().window = 100;
    assert_eq!(bench.send(REQUEST, NOW), Outcome::Writing);
    assert_eq!(bench.connection.activity(), Activity::Responding(NOW));
    // Each byte that is taken gives new time.
    let later = NOW + STALL_TIME - TICK;
    bench.client.borrow_mut().window = 1;
    assert_eq!(bench.turn(later), Outcome::Writing);
    assert_eq!(bench.connection.deadline(), Some(later + STALL_TIME));
    assert_eq!(bench.turn(later + STALL_TIME - TICK), Outcome::Writing);
    assert_eq!(bench.turn(later + STALL_TIME), Outcome::Ended);
    assert_eq!(bench.output().len(), 101);
    assert!(!bench.finished(), "it is reset, not closed in peace");
}

#[test]
fn a_slow_reader_gets_everything() {
    let mut bench = Bench::new();
    bench.client.borrow_mut().window = 0;
    let request =
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut outcome = bench.send(request, NOW);
    let mut now = NOW;
    while outcome == Outcome::Writing {
        bench.client.borrow_mut().window = 7;
        now += TICK;
        outcome = bench.turn(now);
    }
    let mut fast = Bench::new();
    fast.send(request, NOW);
    assert_eq!(bench.output(), fast.output());
    assert!(bench.finished());
}

#[test]
fn what_a_closed_client_still_sends_is_dropped_for_a_while() {
    let mut bench = Bench::new();
    let quiet = Outcome::Lingering(NOW + QUIET_TIME);
    assert_eq!(bench.send(b"GET / HTTP/9.9\r\n\r\n", NOW), quiet, "its end is not waited for at first");
    let answered = bench.output();
    assert!(bench.finished());
    assert_eq!(bench.connection.activity(), Activity::Lingering(NOW));
    let memory = bench.connection.memory();
    assert_eq!(bench.send(&[b'x'; 100_000], NOW + TICK), quiet);
    assert!(bench.client.borrow().incoming.is_empty());
    assert_eq!(bench.connection.memory(), memory);
    assert_eq!(bench.turn(NOW + QUIET_TIME), Outcome::Reading);
    assert_eq!(bench.turn(NOW + LINGER_TIME), Outcome::Ended);
    assert_eq!(bench.output(), answered);
}

#[test]
fn a_closed_client_that_finishes_ends_at_once() {
    let mut bench = Bench::new();
    bench.send(b"GET / HTTP/9.9\r\n\r\n", NOW);
    bench.client.borrow_mut().ended = true;
    assert_eq!(bench.turn(NOW), Outcome::Ended);
}

#[test]
fn an_answer_that_takes_time_is_waited_for() {
    let mut bench = Bench::new();
    let now = NOW + FRESH;
    let request = b"GET /api/state HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(bench.send(request, now), Outcome::Waiting);
    assert!(bench.site.take_wanted());
    assert_eq!(bench.turn(now + STALL_TIME), Outcome::Waiting, "the client is not to blame");
    assert_eq!(bench.output(), "");
    bench.site.update(&Snapshot::default(), now);
    assert!(!bench.site.take_wanted());
    assert_eq!(bench.turn(now), Outcome::Reading);
    let answered = bench.output();
    assert!(
        answered.contains("\"processes\":[]") && answered.ends_with("remote-session-web-ui\"}"),
        "{answered}"
    );
}

#[test]
fn an_answer_that_takes_time_behind_a_full_output_is_asked_for() {
    let mut bench = Bench::new();
    let now = NOW + FRESH;
    let request = [REQUEST.repeat(30), b"GET /api/state HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()].concat();
    assert_eq!(bench.send(&request, now), Outcome::Waiting);
    assert!(bench.site.take_wanted());
}

#[test]
fn a_reset_ends_at_once() {
    let mut bench = Bench::new();
    bench.client.borrow_mut().reset = true;
    assert_eq!(bench.turn(NOW), Outcome::Ended);
    let mut bench = Bench::new();
    bench.client.borrow_mut().window = 10;
    bench.send(REQUEST, NOW);
    bench.client.borrow_mut().reset = true;
    assert_eq!(bench.turn(NOW), Outcome::Ended);
}

#[test]
fn a_client_is_idle_only_from_the_end_of_its_response_on() {
    let mut bench = Bench::new();
    let mut now = NOW;
    bench.client.borrow_mut().window = 10;
    bench.send(REQUEST, now);
    for _ in 0..3 {
        now += STALL_TIME - TICK;
        bench.client.borrow_mut().window = 10;
        assert_eq!(bench.turn(now), Outcome::Writing);
    }
    bench.client.borrow_mut().window = usize::MAX;
    assert_eq!(bench.turn(now), Outcome::Reading);
    assert!(now > NOW + IDLE_TIME);
    assert_eq!(bench.connection.deadline(), Some(now + IDLE_TIME));
    bench.turn(now + TICK);
    assert!(!bench.finished());
}
