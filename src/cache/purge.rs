use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::policy;
use crate::store::{Note, Purge, PurgeItem, Slot, StoreError};
use crate::telemetry::{PurgeMode, PurgeTarget, Timestamp};

use super::Cache;
use super::install::new_version;

/// The words of a purge may name so many bytes of sites; one of more says that it touched all.
const SITES_BYTES_MAX: usize = 8 << 10;

/// What a purge names, of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every variant of one URL.
    Url {
        /// The host, where it belongs to the key; its port does not count.
        host: Option<String>,
        /// Canonical path.
        path: String,
        /// The query as it belongs to the key.
        query: Option<String>,
    },
    /// Every URL whose path starts so.
    Prefix {
        /// The host, where it belongs to the key; `None` is all of them.
        host: Option<String>,
        /// Canonical beginning of a path.
        prefix: String,
    },
    /// Every object that carries this tag.
    Tag(String),
    /// Everything of the site.
    All,
}

impl Target {
    fn kind(&self) -> PurgeTarget {
        match self {
            Self::Url { .. } => PurgeTarget::Url,
            Self::Prefix { .. } => PurgeTarget::Prefix,
            Self::Tag(_) => PurgeTarget::Tag,
            Self::All => PurgeTarget::Site,
        }
    }
}

/// A purge to be done: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeOrder {
    /// Sites, and what of them.
    pub targets: Vec<(Arc<str>, Target)>,
    /// All there is, also of sites that are not configured now.
    pub everything: bool,
    /// Gone, or stale.
    pub mode: PurgeMode,
    /// Who wants it: the name of a token.
    pub by: String,
}

/// A purge that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeRecord {
    /// By this it is found again.
    pub id: String,
    /// Its place among all purges.
    pub sequence: u64,
    /// What was fetched before is purged: RFC 3339, in UTC, with milliseconds.
    pub time: String,
    /// How many of each.
    pub counts: PurgeCounts,
    /// Stale rather than gone.
    pub soft: bool,
    /// The sites that it touched; `*` for all.
    pub sites: Vec<String>,
    /// The name of the token that ordered it.
    pub token: String,
}

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeCounts {
    /// Exact URLs.
    pub urls: usize,
    /// Prefixes.
    pub prefixes: usize,
    /// Tags, each once a site.
    pub tags: usize,
    /// Whole sites.
    pub sites: usize,
    /// The whole node.
    pub everything: usize,
}

impl PurgeCounts {
    /// Counts one more.
    pub fn add(&mut self, target: PurgeTarget) {
        *match target {
            PurgeTarget::Url => &mut self.urls,
            PurgeTarget::Prefix => &mut self.prefixes,
            PurgeTarget::Tag => &mut self.tags,
            PurgeTarget::Site => &mut self.sites,
            PurgeTarget::Everything => &mut self.everything,
        } += 1;
    }

    /// Each kind with its count.
    #[must_use]
    pub fn by_target(&self) -> [(PurgeTarget, usize); 5] {
        [
            (PurgeTarget::Url, self.urls),
            (PurgeTarget::Prefix, self.prefixes),
            (PurgeTarget::Tag, self.tags),
            (PurgeTarget::Site, self.sites),
            (PurgeTarget::Everything, self.everything),
        ]
    }
}

impl PurgeOrder {
    fn counts(&self) -> PurgeCounts {
        let mut counts = PurgeCounts::default();
        for (_, target) in &self.targets {
            counts.add(target.kind());
        }
        counts.everything = usize::from(self.everything);
        counts
    }

    /// The names of the sites that it touches, each once; `*` for all.
    fn sites(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.targets.iter().map(|(site, _)| &**site).collect();
        let bytes: usize = names.iter().map(|name| name.len()).sum();
        if self.everything || bytes > SITES_BYTES_MAX {
            return vec!["*".to_owned()];
        }
        names.into_iter().map(str::to_owned).collect()
    }
}

impl Cache {
    /// Purges; durable, and in force for every variant, in every tier and for fills under way, when it
    /// returns. Its record is written with it.
    ///
    /// # Errors
    /// When the purge could not be written to disk; then it is not in force.
    pub async fn purge(&self, order: PurgeOrder) -> Result<PurgeRecord, StoreError> {
        let mut record = PurgeRecord {
            id: format!("{:032x}", new_version()),
            sequence: 0,
            time: Timestamp(self.clock.now()).to_string(),
            counts: order.counts(),
            soft: order.mode == PurgeMode::Soft,
            sites: order.sites(),
            token: order.by,
        };
        let kind = match order.mode {
            PurgeMode::Hard => Purge::Hard,
            PurgeMode::Soft => Purge::Soft,
        };
        let everything = order.everything.then_some(Slot::Everything);
        let slots = order.targets.into_iter();
        let slots = slots.map(|(site, target)| self.slot(site, target));
        let items: Vec<PurgeItem> = slots
            .chain(everything)
            .map(|slot| PurgeItem { slot, kind })
            .collect();
        let note = Note {
            id: record.id.clone(),
            // Its number is not known yet, and is kept beside the words.
            text: serde_json::to_string(&record).unwrap_or_default(),
        };
        record.sequence = self.store.clocks().purge_noted(items, note).await?;
        Ok(record)
    }

    /// The record of a purge, if it is among the last ten thousand.
    #[must_use]
    pub fn purge_record(&self, id: &str) -> Option<PurgeRecord> {
        let noted = self.store.clocks().noted(id)?;
        let mut record: PurgeRecord = serde_json::from_str(&noted.text).ok()?;
        record.sequence = noted.sequence;
        Some(record)
    }

    fn slot(&self, site: Arc<str>, target: Target) -> Slot {
        match target {
            Target::Url { host, path, query } => {
                let text = policy::url_key(&site, host.as_deref(), &path, query.as_deref());
                Slot::Url {
                    url: self.store.hash(&[text.as_bytes()]),
                    site: Some(site),
                }
            }
            Target::Prefix { host, prefix } => Slot::Prefix {
                site,
                host: host.map(|host| policy::without_port(&host).into()),
                prefix,
            },
            Target::Tag(tag) => Slot::Tag {
                site,
                tag: self.tag(&tag),
            },
            Target::All => Slot::Site(site),
        }
    }

    pub(super) fn tag(&self, tag: &str) -> u128 {
        self.store.hash(&[b"tag", tag.as_bytes()])
    }
}
