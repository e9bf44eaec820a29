//! Pulling URLs into the cache before anybody asks for them: a list or a sitemap becomes a job, jobs wait for their
//! turn, and each URL goes the way of a client's GET.

mod job;
mod order;
mod pace;
mod record;
mod routes;
mod run;
mod sitemap;
#[cfg(test)]
mod tests;
mod warming;

pub use self::record::{WarmFailure, WarmRecord, WarmState};
pub use self::warming::Warming;

pub(super) use self::routes::{cancel, warm, warming, warmings};
