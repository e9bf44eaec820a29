//! The whole node: builds the rooms, reloads, drains, stops.

mod allowance;
mod build;
mod codings;
mod control;
mod door;
mod error;
mod memory;
mod objects;
mod pictures;
mod run;
mod serving;
mod source;

pub use self::error::NodeError;
pub use self::memory::Resident;
pub use self::run::{Exit, announcement, run};
pub use self::serving::Node;
pub use self::source::ConfigSource;
