//! Certificates and keys: parsing, self-signed ones, choice by SNI, session tickets. What to read is
//! handed in as paths, the time as an argument or a clock; nothing here opens a socket.

mod certificate;
mod config;
mod error;
mod load;
mod self_signed;
mod sni;
mod tickets;

pub use self::config::{CertificateFiles, Config, MinVersion, UnknownName};
pub use self::error::TlsError;
pub use self::load::load;
pub use self::tickets::Tickets;
