//! The kernel log: a ring of lines that capabilities read, and that the kernel copies to the serial port as they come while
//! no driver has that port.
//!
//! A line is `[seconds.microseconds] process: text`.
//!
//! Who holds the `IoPort` of COM1 writes to it, and notes how far; when the last holder is gone, or in a panic, the kernel
//! goes on from there ([`LogHandover`]). Readers that follow the log are signalled. That is not done where a line is written, since
//! that may be under any lock: the processor interrupts itself, which strikes when it leaves the kernel.

use crate::arch::{cpu, processors, traps};
use crate::error::Error;
use crate::object::notification::Signaller;
use crate::scheduler;
use crate::sync::Lock;
use crate::time;
use alloc::sync::{Arc, Weak};
use collections::{LogHandover, LogRead, LogRing};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use platform::serial::{COM1, SerialPort};

/// Bytes of log that are kept.
const RING_BYTES: usize = 64 * 1024;

/// Most bytes of log that the kernel writes to the port at once when a driver left them: interrupts are off meanwhile.
const MAXIMUM_BACKLOG: u64 = 2048;

/// Most readers that follow the log.
const MAXIMUM_FOLLOWERS: usize = 8;

struct Sink {
    ring: LogRing<RING_BYTES>,
    serial: SerialPort,
    handover: LogHandover,
}

static SINK: Lock<Sink> =
    Lock::new(Sink { ring: LogRing::new(), serial: SerialPort::absent(), handover: LogHandover::new() });

static FOLLOWERS: Lock<[Weak<Signaller>; MAXIMUM_FOLLOWERS]> =
    Lock::new([const { Weak::new() }; MAXIMUM_FOLLOWERS]);

/// Whether anybody follows; never reset.
static FOLLOWED: AtomicBool = AtomicBool::new(false);
/// Whether a processor is about to signal the followers.
static SIGNALLING: AtomicBool = AtomicBool::new(false);

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.ring.write(text.as_bytes());
        if self.handover.is_with_kernel() { self.serial.write_str(text) } else { Ok(()) }
    }
}

impl Sink {
    /// Sets the port up again after a driver, and writes what that left of the log.
    fn resume(&mut self, cursor: u64) {
        // SAFETY: COM1's ports are a UART's or nobody's, and no driver has them any more.
        unsafe {
            SerialPort::drain(COM1);
            self.serial = SerialPort::open(COM1);
        }
        // The driver may have left a line without its end.
        let _ = self.serial.write_str("\n");
        let start = cursor.max(self.ring.end().saturating_sub(MAXIMUM_BACKLOG));
        if start > cursor {
            let _ = writeln!(self.serial, "({} bytes of the log were not written)", start - cursor);
        }
        let (mut cursor, mut buffer) = (start, [0; 256]);
        loop {
            let read = self.ring.read(cursor, &mut buffer);
            if read.length == 0 {
                break;
            }
            for line in buffer.get(..read.length).unwrap_or_default().split_inclusive(|&byte| byte == b'\n') {
                let (text, end) = line.strip_suffix(b"\n").map_or((line, ""), |text| (text, "\n"));
                self.serial.write_bytes(text);
                let _ = self.serial.write_str(end);
            }
            cursor = read.next;
        }
    }
}

/// The `log` crate's way here, for the kernel and its libraries.
struct KernelLogger;

impl log::Log for KernelLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            write_line("kernel", format_args!("{}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Opens the serial port and takes over the `log` crate.
pub fn init() {
    // SAFETY: COM1's ports are a UART's or nobody's, and no driver runs yet.
    SINK.lock().serial = unsafe { SerialPort::open(COM1) };
    // Fails only when called twice.
    let _ = log::set_logger(&KernelLogger);
    log::set_max_level(log::LevelFilter::Info);
}

/// Adds one line.
pub fn write_line(process: &str, text: fmt::Arguments<'_>) {
    let now = time::now() / 1000;
    let mut sink = SINK.lock();
    // Writing to the sink does not fail.
    let _ = writeln!(sink, "[{:5}.{:06}] {process}: {text}", now / 1_000_000, now % 1_000_000);
    drop(sink);
    if FOLLOWED.load(Ordering::Relaxed)
        && let Some(cpu) = cpu::try_current()
        && !SIGNALLING.swap(true, Ordering::SeqCst)
    {
        processors::send(cpu, traps::LOG_VECTOR);
    }
}

/// The interrupt that a writer asked for: signals who follows the log.
pub fn signal_followers() {
    // Before they look: what is written from now on asks for another interrupt.
    SIGNALLING.store(false, Ordering::SeqCst);
    for index in 0..MAXIMUM_FOLLOWERS {
        let follower = FOLLOWERS.lock().get(index).and_then(Weak::upgrade);
        if let Some(thread) = follower.and_then(|follower| follower.signal()) {
            scheduler::make_ready(thread);
        }
    }
}

/// Signals `signaller` at each write, as long as somebody holds it.
pub fn follow(signaller: &Arc<Signaller>) -> Result<(), Error> {
    let mut followers = FOLLOWERS.lock();
    if followers.iter().any(|follower| core::ptr::eq(follower.as_ptr(), Arc::as_ptr(signaller))) {
        return Ok(());
    }
    let free = followers.iter_mut().find(|follower| follower.strong_count() == 0);
    let free = free.ok_or(Error::overloaded("too many follow the log"))?;
    let dead = core::mem::replace(free, Arc::downgrade(signaller));
    drop(followers);
    drop(dead);
    FOLLOWED.store(true, Ordering::Relaxed);
    Ok(())
}

/// A driver takes the port.
pub fn claim_port() {
    let mut sink = SINK.lock();
    let end = sink.ring.end();
    sink.handover.claim(end);
}

/// A driver has let go of the port.
pub fn release_port() {
    let mut sink = SINK.lock();
    if let Some(cursor) = sink.handover.release() {
        sink.resume(cursor);
    }
}

/// Where the driver that has the port begins.
pub fn port_cursor() -> u64 {
    SINK.lock().handover.cursor()
}

/// The driver has written up to `cursor`.
pub fn note_written(cursor: u64) {
    let mut sink = SINK.lock();
    let end = sink.ring.end();
    sink.handover.note(cursor, end);
}

/// Adds text as it is: the first line, which tools look for.
pub fn write_raw(text: fmt::Arguments<'_>) {
    let _ = SINK.lock().write_fmt(text);
}

/// As [`write_raw`], even when the lock is held or a driver has the port: for the last words, when all other processors have
/// stopped.
///
/// # Safety
///
/// No other processor runs, and no driver will.
pub unsafe fn write_in_panic(text: fmt::Arguments<'_>) {
    // SAFETY: nobody else is there to use it.
    let sink = unsafe { &mut *SINK.as_mut_ptr() };
    if let Some(cursor) = sink.handover.take_back() {
        sink.resume(cursor);
    }
    let _ = sink.write_fmt(text);
}

/// Reads from the ring; see [`LogRing::read`].
pub fn read(cursor: u64, buffer: &mut [u8]) -> LogRead {
    SINK.lock().ring.read(cursor, buffer)
}
