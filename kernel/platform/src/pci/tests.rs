//! Functions of a fake machine, good and bad.

mod enumeration;
mod fake;
mod functions;
