//! The opponent: the same work as the benchmark programs of capOS, by the fastest plain means of Linux. One thread, epoll
//! and no allocation for a request; io_uring with direct access for a disk, and `pread` where nothing waits in a queue.

mod block;
mod mark;
mod serve;
mod service;

pub use block::read_and_write;
pub use serve::serve;
