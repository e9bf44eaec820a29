use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::policy::Freshness;
use crate::store::{Body, Draft, Entry, EntryKey, Object, Placement, Purged};
use crate::variant::{DictionaryHash, DictionaryPattern};

use super::super::install::new_version;
use super::super::{Ask, Cache};

/// What is known of a pattern's versions without waiting.
pub(super) enum Listed {
    Here(Vec<DictionaryHash>),
    /// A disk may have the list.
    Perhaps,
    Nowhere,
}

/// The place of a list or of a dictionary: of one site, and of one host where hosts have content of their own.
fn key(ask: &Ask, what: &str, name: &str) -> String {
    let host = ask.host().unwrap_or_default();
    format!("{}\u{1f}{host}\u{1f}{what}\u{1f}{name}", ask.zone.name)
}

fn list_key(ask: &Ask, pattern: &DictionaryPattern) -> String {
    key(ask, "dictionaries", pattern.text())
}

pub(super) fn dictionary_key(ask: &Ask, hash: &DictionaryHash) -> String {
    key(ask, "dictionary", &hex(hash))
}

/// Lower-case digits.
pub(in super::super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
    digits.collect()
}

impl Cache {
    fn place_of(&self, key: &str) -> u128 {
        self.store.hash(&[key.as_bytes()])
    }

    /// The hashes of the versions that `pattern` has, oldest first, as far as memory tells.
    pub(super) fn versions_at_once(&self, ask: &Ask, pattern: &DictionaryPattern) -> Listed {
        let key = list_key(ask, pattern);
        let head = EntryKey::head(self.place_of(&key));
        match ask.zone.store.memory(&head) {
            Some(Entry::Object(list)) if self.is_valid(ask, &list, &key) => {
                Listed::Here(hashes(&list.body))
            }
            Some(_) => Listed::Nowhere,
            None if ask.zone.store.may_contain(&head) => Listed::Perhaps,
            None => Listed::Nowhere,
        }
    }

    pub(super) async fn versions(
        &self,
        ask: &Ask,
        pattern: &DictionaryPattern,
    ) -> Vec<DictionaryHash> {
        let key = list_key(ask, pattern);
        match self.valid(ask, &key).await {
            Some(list) => hashes(&list.body),
            None => Vec::new(),
        }
    }

    /// Notes that `hash` is the newest version of what `pattern` covers, and drops those that are too many. Gives whether
    /// it was not that already.
    pub(super) async fn add_version(
        &self,
        ask: &Ask,
        pattern: &DictionaryPattern,
        hash: DictionaryHash,
    ) -> bool {
        let mut versions = self.versions(ask, pattern).await;
        if versions.last() == Some(&hash) {
            return false;
        }
        versions.retain(|known| *known != hash);
        versions.push(hash);
        let most = ask.zone.compression.dictionaries.keep_versions.max(1);
        let over = versions.len().saturating_sub(most);
        for dropped in versions.drain(..over) {
            let id = self.place_of(&dictionary_key(ask, &dropped));
            ask.zone.store.remove(&EntryKey::head(id));
        }
        let list = Body::Inline(Bytes::from(versions.concat()));
        self.keep_entry(ask, list_key(ask, pattern), new_version(), list)
            .await;
        true
    }

    /// The dictionary of that hash, unless the whole site was purged since it was kept.
    pub(super) async fn dictionary(&self, ask: &Ask, hash: &DictionaryHash) -> Option<Arc<Object>> {
        self.valid(ask, &dictionary_key(ask, hash)).await
    }

    /// Keeps an entry that is found by its key alone.
    pub(super) async fn keep_entry(&self, ask: &Ask, key: String, version: u128, body: Body) {
        let id = self.place_of(&key);
        let entry = Entry::Object(Arc::new(self.entry(ask, key, version, body).seal()));
        let place = EntryKey::head(id);
        ask.zone
            .store
            .insert(place, entry, Placement::MemoryAndDisk)
            .await;
    }

    /// The head of such an entry. Purges of URLs, tags and prefixes have nothing to do with it.
    pub(super) fn entry(&self, ask: &Ask, key: String, version: u128, body: Body) -> Draft {
        let sequence = self.store.clocks().sequence();
        let now = self.clock.now();
        Draft {
            url: self.place_of(&key),
            key: key.into(),
            site: (&*ask.zone.name).into(),
            path: "".into(),
            version,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            freshness: kept_from(now),
            body,
            tags: Vec::new(),
            body_seq: sequence,
            checked_seq: sequence,
            fetch_started: Duration::ZERO,
            detail: "dictionary".into(),
        }
    }

    async fn valid(&self, ask: &Ask, key: &str) -> Option<Arc<Object>> {
        let head = EntryKey::head(self.place_of(key));
        match ask.zone.store.load(&head).await? {
            (Entry::Object(found), _) if self.is_valid(ask, &found, key) => Some(found),
            _ => None,
        }
    }

    fn is_valid(&self, ask: &Ask, found: &Object, key: &str) -> bool {
        found.is_of(key) && self.store.clocks().check(&ask.zone.clock, found) != Purged::Hard
    }
}

/// It is of use for as long as it is there.
fn kept_from(now: SystemTime) -> Freshness {
    Freshness {
        received_at: now,
        initial_age: Duration::ZERO,
        lifetime: LIFETIME,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        always_validate: false,
        must_revalidate: false,
    }
}

/// Ten years; nobody looks at it.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

fn hashes(list: &Body) -> Vec<DictionaryHash> {
    match list {
        Body::Inline(bytes) => bytes.as_chunks().0.to_vec(),
        Body::Chunked { .. } => Vec::new(),
    }
}
