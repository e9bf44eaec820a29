//! One request's way through the node, from its head to its answer. Start at [`Pipeline::answer`].

mod answer;
mod body;
mod coding;
mod config;
mod cors;
mod deliver;
mod explain;
mod explain_coding;
mod form;
mod multipart;
mod objects;
mod place;
mod purge;
mod redirect;
mod refuse;
mod request;
mod routes;
mod ruling;
mod upload;
mod warm;

pub use self::answer::{Client, Pipeline};
pub use self::body::Body;
pub use self::config::RequestLimits;
pub use self::explain::{ExplainedPicture, Explanation, StoredObject, StoredPicture};
pub use self::explain_coding::{ExplainedCoding, StoredCoding};
pub use self::objects::ObjectName;
pub use self::refuse::Refusal;
pub use self::request::{Checked, RequestError, check, known_method};
pub use self::routes::{Routes, SiteState};
pub use self::ruling::Settings;
pub use self::warm::{Sink, Warmed};
