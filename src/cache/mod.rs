//! What becomes of a response between origin, tiers and readers: lookup, flights, install, variants and
//! purge. `lookup` says what is stored, `fill` pulls it, `refresh` validates behind a stale answer,
//! `derive` makes another form of it.

mod ask;
mod behind;
mod blocks;
mod coded;
mod codings;
mod config;
mod derive;
mod dictionary;
mod engine;
mod error;
mod fill;
mod flight;
mod form;
mod inspect;
mod install;
mod invalidate;
mod language;
mod lookup;
mod marks;
mod no_vary_search;
mod opening;
mod picture;
mod plain;
mod pressure;
mod pull;
mod purge;
mod reader;
mod revalidate;
mod served;
mod sibling;
mod smallest;
mod sparse;
mod upgrade;
mod zone;

pub use self::ask::Ask;
pub use self::codings::{CodingSums, Dictionaries, Effort, SiteCodings, Upgrade};
pub use self::config::FillConfig;
pub use self::derive::Derived;
pub use self::dictionary::{DeltaForm, marks, offered, passes_on};
pub use self::engine::Cache;
pub use self::error::FillError;
pub use self::form::Form;
pub use self::inspect::{Chunks, FormState, Inspection, StoredForm, StoredVariant};
pub use self::lookup::{Because, Forwarding, Lookup, Remembered, Stored};
pub use self::plain::{CODING_CORRUPT, CODING_TOO_LARGE};
pub use self::pressure::{Pressure, Shed};
pub use self::purge::{PurgeCounts, PurgeOrder, PurgeRecord, Target};
pub use self::reader::Reader;
pub use self::served::{Served, Story};
pub use self::zone::{Refine, Zone};
