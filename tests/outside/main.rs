//! The second tier: brim between programs that others wrote. A missing program is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::let_underscore_must_use,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says what the programs said"
)]

mod chromium;
mod dictionaries;
mod nginx;
mod packages;
mod pictures;
mod siblings;
mod support;
