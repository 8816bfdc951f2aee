//! The kernel log: a ring of lines that capabilities read, copied to the serial port as they come.
//!
//! A line is `[seconds.microseconds] process: text`.

use crate::sync::Lock;
use crate::time;
use collections::{LogRead, LogRing};
use core::fmt::{self, Write};
use platform::serial::SerialPort;

/// Bytes of log that are kept.
const RING_BYTES: usize = 64 * 1024;

/// COM1.
const SERIAL_PORT: u16 = 0x3f8;

struct Sink {
    ring: LogRing<RING_BYTES>,
    serial: SerialPort,
}

static SINK: Lock<Sink> = Lock::new(Sink { ring: LogRing::new(), serial: SerialPort::absent() });

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.ring.write(text.as_bytes());
        self.serial.write_str(text)
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
    SINK.lock().serial = unsafe { SerialPort::open(SERIAL_PORT) };
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
}

/// Adds text as it is: the first line, which tools look for.
pub fn write_raw(text: fmt::Arguments<'_>) {
    let _ = SINK.lock().write_fmt(text);
}

/// As [`write_raw`], even when the lock is held: for a panic, when all other processors have stopped.
///
/// # Safety
///
/// No other processor runs.
pub unsafe fn write_in_panic(text: fmt::Arguments<'_>) {
    // SAFETY: nobody else is there to use it.
    let sink = unsafe { &mut *SINK.as_mut_ptr() };
    let _ = sink.write_fmt(text);
}

/// Reads from the ring; see [`LogRing::read`].
pub fn read(cursor: u64, buffer: &mut [u8]) -> LogRead {
    SINK.lock().ring.read(cursor, buffer)
}
