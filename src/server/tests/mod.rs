//! The door from outside: real sockets on port 0, clients of the protocol libraries.

mod deadlines;
mod http;
mod interim;
mod lifecycle;
mod support;
mod tls;
