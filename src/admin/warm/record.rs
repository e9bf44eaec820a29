use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A job of warming: how far it is, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WarmRecord {
    /// For `GET` and `DELETE /v1/warm/{id}`.
    pub id: String,
    /// The site whose cache is warmed.
    pub site: String,
    /// Whether it waits, runs or has ended.
    pub state: WarmState,
    /// Requests known of so far: URLs, each as often as there are variants. Sitemaps add to it as they are read.
    pub total: u64,
    /// Those that are done; the sum of the five below.
    pub done: u64,
    /// They were in the cache.
    pub hits: u64,
    /// They were in the cache, and the origin says that they still hold.
    pub revalidated: u64,
    /// They were pulled, and are in the cache now.
    pub filled: u64,
    /// They were pulled, and may not be kept.
    pub uncacheable: u64,
    /// They gave no answer, not a whole one, or an error.
    pub failed: u64,
    /// Bytes of all bodies that were read.
    pub body_bytes: u64,
    /// Those of `filled`.
    pub filled_bytes: u64,
    /// Sitemaps and indexes of sitemaps that were read.
    pub sitemaps: u64,
    /// Since it began to run.
    pub elapsed_seconds: f64,
    /// Why, and how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uncacheable_reasons: BTreeMap<String, u64>,
    /// Why, and how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_reasons: BTreeMap<String, u64>,
    /// The first hundred that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<WarmFailure>,
    /// The name of the token that ordered it.
    pub token: String,
}

/// Whether a job waits, runs or has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmState {
    /// Others are before it.
    #[default]
    Waiting,
    /// Its URLs are being pulled.
    Running,
    /// All of its URLs were tried.
    Done,
    /// It was ended before that, by a DELETE, a client that went away, or the node's own end.
    Cancelled,
}

/// A URL, or a sitemap, that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmFailure {
    /// As it was given.
    pub url: String,
    /// A closed word.
    pub reason: String,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What a person would want to know beside that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
