//! The node from outside: real sockets, a scripted origin, a clock that the test moves.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::large_futures,
    reason = "a test that cannot go on fails"
)]

mod accept_encoding;
mod collapse;
mod compress;
mod conditional;
mod crash;
mod dictionary;
mod digest;
mod disk_fault;
mod disks;
mod explain;
mod first_byte;
mod flights;
mod freshness;
mod hostile_codings;
mod image;
mod image_load;
mod image_parameters;
mod large;
mod limits;
mod memory;
mod no_vary_search;
mod objects;
mod operate;
mod origin_fault;
mod purge;
mod range;
mod regression;
mod rules;
mod sibling;
mod support;
mod transparent;
mod vary;
mod warm;
