//! Good tables as clouds and QEMU have them, broken ones, and many mutations of both.

mod build;
mod dmar;
mod good;
mod malformed;
mod mutation;
