//! The operators' door: purge, warm, explain, status, reload, drain, metrics. Its own listener, off the data path;
//! bearer tokens with their own permissions and sites. What it asks of the node is the [`Control`] trait.

mod address;
mod auth;
mod config;
mod control;
mod door;
mod error;
mod explain;
#[cfg(test)]
pub(crate) mod fake;
mod listener;
mod objects;
mod purge;
mod refusal;
mod routes;
#[cfg(test)]
mod tests;
mod token;
mod warm;

pub use self::address::{Address, AddressError};
pub use self::config::{Bind, Config, Token};
pub use self::control::{
    Control, ControlError, ExplainRequest, Explanation, ListenerStatus, Pending, PullRequest,
    Pulled, PurgeItem, PurgeRequest, Sink, SiteStatus, Status, TierStatus,
};
pub use self::door::Door;
pub use self::error::AdminError;
pub use self::objects::{
    ChunksReport, ClockReport, FormReport, ObjectsName, ObjectsReport, ObjectsRequest, TagReport,
    VariantReport,
};
pub use self::token::{stored_token, tokens};
pub use self::warm::{WarmFailure, WarmRecord, WarmState, Warming};
pub use crate::cache::{PurgeCounts, PurgeRecord};
