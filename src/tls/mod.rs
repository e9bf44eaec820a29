//! Certificates and keys: parsing, self-signed ones, choice by SNI, session tickets. Files are handed in.

mod config;

pub use self::config::{CertificateFiles, Config, MinVersion, UnknownName};
