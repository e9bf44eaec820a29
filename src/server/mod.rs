//! The clients' door: listeners, TLS, HTTP/1.1 and HTTP/2, their deadlines and limits, and the drain.
//!
//! A connection's layers, from the wire up: `Socket` (write progress, reset), TLS, `Inbound` (the
//! scanner's place), `Coalesce` (HTTP/2) or `Interject` (HTTP/1.1, interim answers), the HTTP layer, `Session` (one a connection), and
//! whatever implements [`Answer`]. Its `Control` is what the layers tell each other; its `Driver`
//! polls it under the deadlines.

mod answer;
mod bind;
mod body;
mod coalesce;
mod config;
mod connection;
mod control;
mod deadline;
mod door;
mod driver;
mod error;
mod interim;
mod io;
mod listener;
mod registry;
mod session;
mod sniff;
mod streams;
mod worker;

#[cfg(test)]
mod tests;

pub use self::answer::{Answer, Peer};
pub use self::config::{Config, H2Config, ListenerConfig, Mode};
pub use self::door::{DrainOutcome, Server};
pub use self::error::ServerError;
pub use self::registry::ListenerReport;
