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

mod collapse;
mod compress;
mod conditional;
mod crash;
mod freshness;
mod image;
mod limits;
mod operate;
mod origin_fault;
mod purge;
mod range;
mod rules;
mod support;
mod vary;
