//! The device logic against a fake 16550, good and bad.

mod fake;

use crate::{
    INPUT_BYTES, OUTPUT_BYTES, Presence, Turn, Uart,
    spec::{Enable, FIFO_BYTES, Line},
};
use fake::{Fake, Kind};

fn open(kind: Kind) -> (Fake, Uart<Fake>) {
    let fake = Fake::new(kind);
    let uart = Uart::open(fake.clone()).expect("ports");
    (fake, uart)
}

/// Serves interrupts as the driver does: until the line is down.
fn serve(fake: &Fake, uart: &mut Uart<Fake>) {
    for _ in 0..1000 {
        if !fake.interrupts() {
            return;
        }
        uart.turn().expect("ports");
    }
    panic!("the interrupt does not end");
}

/// Lets the line take everything.
fn send_all(fake: &Fake, uart: &mut Uart<Fake>) -> Vec<u8> {
    while !fake.with(|state| state.fifo.is_empty()) {
        fake.send_fifo();
        serve(fake, uart);
    }
    fake.with(|state| std::mem::take(&mut state.line))
}

#[test]
fn a_uart_is_found_and_set_up() {
    let (fake, uart) = open(Kind::Good);
    assert_eq!(uart.presence(), Presence::Present);
    assert_eq!(fake.divisor(), [1, 0]);
    assert_eq!(fake.with(|state| state.enabled), (Enable::RECEIVED | Enable::LINE_STATUS).bits());
    assert!(!fake.interrupts());
}

#[test]
fn what_a_predecessor_left_is_cleared() {
    let fake = Fake::new(Kind::Good);
    for byte in *b"old" {
        fake.receive(byte);
    }
    let mut uart = Uart::open(fake.clone()).expect("ports");
    serve(&fake, &mut uart);
    assert!(!uart.has_input());
}

#[test]
fn an_absent_uart_swallows_output_and_gives_nothing() {
    let (fake, mut uart) = open(Kind::Absent);
    assert_eq!(uart.presence(), Presence::Absent);
    for _ in 0..100 {
        uart.push(&[b'x'; 1000]).expect("ports");
        assert_eq!(uart.turn().expect("ports"), Turn::Quiet);
        uart.poll().expect("ports");
    }
    assert!(!uart.is_sending() && !uart.has_input());
    assert_eq!(uart.sent(), uart.output_end());
    assert!(fake.with(|state| state.accesses) < 1000);
}

#[test]
fn a_uart_that_goes_away_is_noticed() {
    let (fake, mut uart) = open(Kind::Good);
    uart.push(&[b'x'; 100]).expect("ports");
    fake.with(|state| state.kind = Kind::Absent);
    uart.poll().expect("ports");
    assert_eq!(uart.presence(), Presence::Absent);
    assert!(!uart.is_sending() && !uart.has_input());
}

#[test]
fn output_goes_a_fifo_at_a_time_and_by_interrupts() {
    let (fake, mut uart) = open(Kind::Good);
    let text: Vec<u8> = (0..100).map(|index| index as u8).collect();
    uart.push(&text).expect("ports");
    assert_eq!(fake.with(|state| state.fifo.len()), FIFO_BYTES);
    assert!(!fake.interrupts(), "nothing is owed before the FIFO is empty");
    fake.send_fifo();
    assert!(fake.interrupts());
    serve(&fake, &mut uart);
    assert_eq!(send_all(&fake, &mut uart), text);
    assert!(!uart.is_sending());
    assert_eq!(fake.with(|state| state.enabled) & Enable::TRANSMITTER_EMPTY.bits(), 0);
    assert_eq!((uart.counters().sent, uart.sent()), (100, 100));
}

#[test]
fn output_beyond_the_bound_is_refused_by_the_room() {
    let (_, mut uart) = open(Kind::Clogged);
    assert_eq!(uart.room(), OUTPUT_BYTES);
    uart.push(&[0; 100]).expect("ports");
    assert_eq!(uart.room(), OUTPUT_BYTES - 100);
    uart.push(&[0; OUTPUT_BYTES]).expect("ports");
    assert_eq!((uart.room(), uart.output_end()), (0, OUTPUT_BYTES as u64));
}

#[test]
fn a_clogged_transmitter_does_not_hang() {
    let (fake, mut uart) = open(Kind::Clogged);
    uart.push(b"text").expect("ports");
    for _ in 0..10 {
        assert_eq!(uart.turn().expect("ports"), Turn::Quiet);
        uart.poll().expect("ports");
    }
    assert!(uart.is_sending());
    fake.with(|state| state.kind = Kind::Good);
    uart.poll().expect("ports");
    assert_eq!(send_all(&fake, &mut uart), b"text");
}

#[test]
fn a_lost_interrupt_is_made_up_by_a_poll() {
    let (fake, mut uart) = open(Kind::Good);
    uart.push(&[b'x'; 40]).expect("ports");
    fake.with(|state| state.fifo.clear());
    uart.poll().expect("ports");
    assert_eq!(fake.with(|state| state.fifo.len()), FIFO_BYTES);
}

#[test]
fn input_comes_by_level_and_by_timeout() {
    let (fake, mut uart) = open(Kind::Good);
    for count in [1, 7, 8, 16] {
        (0..count).for_each(|byte| fake.receive(byte));
        serve(&fake, &mut uart);
        assert_eq!(uart.take_input(512), ((0..count).collect(), 0));
    }
}

#[test]
fn input_that_nobody_reads_is_dropped_and_counted() {
    let (fake, mut uart) = open(Kind::Good);
    for _ in 0..INPUT_BYTES / 16 + 2 {
        (0..16).for_each(|byte| fake.receive(byte));
        serve(&fake, &mut uart);
    }
    assert_eq!(uart.counters().dropped, 32);
    // The loss is told where it was, and what comes before that is lost too.
    let (first, dropped) = uart.take_input(INPUT_BYTES - 1);
    assert_eq!((first.len(), dropped), (INPUT_BYTES - 1, 0));
    fake.receive(b'x');
    serve(&fake, &mut uart);
    assert_eq!(uart.take_input(512), (vec![15], 0));
    assert_eq!(uart.take_input(512), (vec![], 33));
    assert!(!uart.has_input());
    fake.receive(b'y');
    serve(&fake, &mut uart);
    assert_eq!(uart.take_input(512), (vec![b'y'], 0));
}

#[test]
fn overruns_and_line_errors_are_counted() {
    let (fake, mut uart) = open(Kind::Good);
    (0..20).for_each(|byte| fake.receive(byte));
    serve(&fake, &mut uart);
    assert_eq!((uart.counters().overruns, uart.counters().received), (1, 16));
    uart.clear_input();
    fake.receive_with(0, Line::BREAK | Line::FRAMING);
    fake.receive_with(b'x', Line::PARITY);
    fake.receive(b'y');
    serve(&fake, &mut uart);
    assert_eq!(uart.take_input(512).0, b"y");
    assert_eq!(uart.counters().line_errors, 2);
    // In the middle of a full FIFO.
    (0..8).for_each(|byte| fake.receive(byte));
    fake.receive_with(b'x', Line::FRAMING);
    (9..12).for_each(|byte| fake.receive(byte));
    serve(&fake, &mut uart);
    assert_eq!(uart.take_input(512).0, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]);
    assert_eq!(uart.counters().line_errors, 3);
}

#[test]
fn a_stuck_interrupt_is_told_and_can_be_given_up() {
    let (fake, mut uart) = open(Kind::Stuck);
    let before = fake.with(|state| state.accesses);
    assert_eq!(uart.turn().expect("ports"), Turn::Stuck);
    assert!(fake.with(|state| state.accesses) - before < 10_000);
    uart.give_up();
    assert_eq!(uart.turn().expect("ports"), Turn::Quiet);
    assert_eq!((uart.presence(), fake.with(|state| state.enabled)), (Presence::Absent, 0));
}

#[test]
fn endless_input_ends_the_turn() {
    let (fake, mut uart) = open(Kind::Endless);
    for _ in 0..10 {
        let before = fake.with(|state| state.accesses);
        assert_eq!(uart.turn().expect("ports"), Turn::Busy);
        assert!(fake.with(|state| state.accesses) - before < 10_000);
    }
    assert!(uart.counters().dropped > 0);
}
