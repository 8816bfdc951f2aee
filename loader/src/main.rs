//! Entered by a multiboot loader, starts the kernel by the Limine boot protocol.
//!
//! ```text
//! firmware ──> QEMU or GRUB ──> entry.s (32 bit) ──> load() ──> hand_off ──> kernel
//!                                4 GiB mapped         all decisions in      final page tables,
//!                                twice                the library           stack in the direct map
//! ```
//!
//! Whatever is wrong is said in one line on the first serial port, and the machine stops.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod serial;
#[cfg(target_os = "none")]
mod start;

/// The loader runs on the bare machine only; on the host its library is tested.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the loader is started by a boot loader, not by an operating system");
    std::process::exit(2);
}
