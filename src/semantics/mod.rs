//! The vocabulary of HTTP: fields, dates, tags, ranges, paths, negotiation. Pure parsers that never
//! panic on any bytes; no I/O, no clock, no configuration.

pub mod cache_control;
pub mod date;
pub mod delta_seconds;
pub mod dictionary;
pub mod digest;
pub mod etag;
pub mod hop_by_hop;
pub mod host;
pub mod interim;
pub mod list;
pub mod media_type;
pub mod negotiate;
pub mod network;
pub mod no_vary_search;
pub mod path;
pub mod query;
pub mod range;
pub mod reference;
pub mod status_fields;
