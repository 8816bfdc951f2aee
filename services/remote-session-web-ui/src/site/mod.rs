//! What is served at which path.
//!
//! | path | methods | what |
//! |---|---|---|
//! | `/healthz` | GET | that this service works; every other method or spelling is 404 |
//! | `/` | GET, HEAD | the page; its parts are `/app.js`, `/app.css`, `/icon.svg` |
//! | `/api/state` | GET, HEAD | a snapshot of the system as JSON, at most 500 ms old |
//! | `/api/log?after=N` | GET, HEAD | log lines from number N on as JSON |

mod assets;
mod routes;

#[cfg(test)]
mod tests;

pub use routes::{FRESH, Query, Site};
