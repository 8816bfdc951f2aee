//! Log lines: the `log` crate's macros write to the kernel's log, and so does a panic.
//!
//! A line is written by a synchronous call, so that it is there before whatever happens next. Who stands in for the
//! kernel's log writer must not call the process whose lines it takes: that process waits for it.
use core::fmt::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::kernel::{self, MAXIMUM_LINE};

/// Writes each record as one line, at once, so that the last line before a fault is there.
struct KernelLogger;

static LOGGER: KernelLogger = KernelLogger;

/// Makes the `log` crate's macros write to the log.
pub(crate) fn install() {
    // On the host, where many processes are threads of one, only the first installs it.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for KernelLogger {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let prefix = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug => "debug: ",
            Level::Trace => "trace: ",
        };
        line(format_args!("{prefix}{}", record.args()));
    }

    fn flush(&self) {}
}

/// Writes one line, without the heap. What is beyond [`MAXIMUM_LINE`] bytes is cut.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; MAXIMUM_LINE], length: 0 };
    // The only error is a full line.
    let _ = line.write_fmt(text);
    if let Ok(text) = str::from_utf8(&line.bytes[..line.length]) {
        kernel::log(text);
    }
}

struct Line {
    bytes: [u8; MAXIMUM_LINE],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAXIMUM_LINE - self.length;
        let part = &text[..text.floor_char_boundary(room)];
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part.as_bytes());
        self.length += part.len();
        if part.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut line = Line { bytes: [0; MAXIMUM_LINE], length: 0 };
        assert!(write!(line, "a{}", "ä".repeat(MAXIMUM_LINE)).is_err());
        assert_eq!(line.length, MAXIMUM_LINE - 1);
        assert!(str::from_utf8(&line.bytes[..line.length]).is_ok());
    }
}
