//! Tests of the whole runtime: generated clients, a kernel of the test's own, generated servers.
mod calls;
mod capabilities;
mod echo;
mod echo_server;
mod hostile;
mod kernel;
mod machine;
