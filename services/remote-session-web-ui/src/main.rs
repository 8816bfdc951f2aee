//! Serves the page that shows the live system, over HTTP, on the network stack's connections.
//!
//! Grants: `network` (NetworkManager); `system-info` (SystemInfo), `kernel-log` (KernelLog), `status` (SupervisorStatus) and
//! `pci` (PciInventory), each of which may be missing, and then the page says so.
//! Arguments: `port` (8080), `connections` (32; 1 to 48).
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod capos;

#[cfg(target_os = "none")]
rt::program!(capos::main);

/// Says that there is nothing to run here; `examples/preview.rs` serves the page on the host.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("remote-session-web-ui runs on capOS; on this machine, run its example `preview`");
    std::process::exit(1);
}
