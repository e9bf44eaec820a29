use crate::policy;
use crate::store::{Purge, PurgeItem, Slot, StoreError};

use super::Cache;

/// What a purge names, of one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every variant of one URL.
    Url {
        /// The host, where it belongs to the key.
        host: Option<String>,
        /// Canonical path.
        path: String,
        /// The query as it belongs to the key.
        query: Option<String>,
    },
    /// Every URL whose path starts so.
    Prefix(String),
    /// Every object that carries this tag.
    Tag(String),
    /// Everything of the site.
    All,
}

impl Cache {
    /// Purges `targets` (site and target); durable, and in force for every variant, in every tier and for
    /// fills under way, when it returns. Gives the purge sequence number.
    ///
    /// # Errors
    /// When the purge could not be written to disk; then it is not in force.
    pub async fn purge(
        &self,
        targets: &[(String, Target)],
        kind: Purge,
    ) -> Result<u64, StoreError> {
        let items = targets.iter().map(|(site, target)| PurgeItem {
            slot: self.slot(site, target),
            kind,
        });
        self.store.clocks().purge(items.collect()).await
    }

    /// Purges everything of every site, also of sites that are not configured now.
    ///
    /// # Errors
    /// As [`Cache::purge`].
    pub async fn purge_everything(&self, kind: Purge) -> Result<u64, StoreError> {
        let item = PurgeItem {
            slot: Slot::Everything,
            kind,
        };
        self.store.clocks().purge(vec![item]).await
    }

    fn slot(&self, site: &str, target: &Target) -> Slot {
        match target {
            Target::Url { host, path, query } => {
                let text = policy::url_key(site, host.as_deref(), path, query.as_deref());
                Slot::Url(self.store.hash(&[text.as_bytes()]))
            }
            Target::Prefix(prefix) => Slot::Prefix {
                site: site.to_owned(),
                prefix: prefix.clone(),
            },
            Target::Tag(tag) => Slot::Tag {
                site: site.to_owned(),
                tag: self.tag(tag),
            },
            Target::All => Slot::Site(site.to_owned()),
        }
    }

    pub(super) fn tag(&self, tag: &str) -> u128 {
        self.store.hash(&[b"tag", tag.as_bytes()])
    }
}
