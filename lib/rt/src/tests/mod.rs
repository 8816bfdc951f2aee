//! Tests of the whole runtime: generated clients, a kernel of the test's own, generated servers.
mod calls;
mod capabilities;
mod echo;
mod hostile;
mod kernel;
mod machine;
