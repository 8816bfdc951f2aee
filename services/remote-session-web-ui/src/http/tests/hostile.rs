//! Mutations of requests: whatever comes, there is no panic, memory stays bounded, and the connection still has an end.

use std::time::Duration;

use super::{Bench, NOW};
use crate::http::{IDLE_TIME, MAXIMUM_INPUT, OUTPUT_TARGET, Outcome, REQUEST_TIME, STALL_TIME};

/// Numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

const SEEDS: [&[u8]; 8] = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: */*\r\n\r\n",
    b"POST /api/log?after=18446744073709551615 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: y\r\n\r\n",
    b"GET http://capos:8080/api/state?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"HEAD /app.js HTTP/1.1\r\nHost: x\r\nA: b\r\nC: d\r\n\r\n\r\n\r\n",
    b"GET /api/log?after=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
];

const PIECES: [&[u8]; 12] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"ffffffffffffffff",
    b"\xff\xfe",
];

fn mutate(numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=numbers.below(3) {
        bytes.extend_from_slice(SEEDS[numbers.below(SEEDS.len())]);
    }
    for _ in 0..numbers.below(8) {
        let at = numbers.below(bytes.len());
        match numbers.below(6) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.next() as u8,
            2 => drop(bytes.drain(at..(at + numbers.below(20)).min(bytes.len()))),
            3 => drop(bytes.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            4 => drop(bytes.splice(at..at, std::iter::repeat_n(b'x', numbers.below(9000)))),
            _ => {
                let part =
                    bytes[at..(at + numbers.below(40)).min(bytes.len())].repeat(1 + numbers.below(100));
                drop(bytes.splice(at..at, part));
            }
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    bytes
}

#[test]
fn whatever_comes_stays_bounded_and_ends() {
    let mut numbers = Numbers(1);
    let rounds = 20_000;
    for round in 0..rounds {
        let bytes = mutate(&mut numbers);
        let mut bench = Bench::new();
        let mut now = NOW;
        let mut whole = Bench::new();
        whole.send(&bytes, NOW);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (part, further) = rest.split_at(1 + numbers.below(rest.len().min(700)));
            rest = further;
            bench.client.borrow_mut().window = numbers.below(3000);
            bench.send(part, NOW);
            assert!(bench.connection.memory() <= MAXIMUM_INPUT + 4 * OUTPUT_TARGET, "round {round}");
        }
        bench.client.borrow_mut().window = usize::MAX;
        bench.turn(NOW);
        assert_eq!(bench.output(), whole.output(), "round {round}: {:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(bench.finished(), whole.finished(), "round {round}");
        // Left alone, every connection ends.
        let mut outcome = bench.turn(now);
        while outcome != Outcome::Ended {
            now = bench.connection.deadline().expect("there is always an end");
            assert!(
                now <= NOW + IDLE_TIME + REQUEST_TIME + STALL_TIME + Duration::from_secs(10),
                "round {round}"
            );
            outcome = bench.turn(now);
        }
    }
}
