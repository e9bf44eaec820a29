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
    /// A disk may have the list, whose place is this.
    Perhaps(u128),
    Nowhere,
}

/// By what a version is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Noted {
    /// It has just come from the origin.
    Pulled,
    /// It was stored before and is asked for, perhaps by its old name.
    Hit,
}

/// The place of a list or of a dictionary: of one site, and of one host where hosts have content of their own.
fn key(ask: &Ask, what: &str, name: &str) -> String {
    let host = ask.host().unwrap_or_default();
    format!("{}\u{1f}{host}\u{1f}{what}\u{1f}{name}", ask.zone.name)
}

fn list_key(ask: &Ask, pattern: &DictionaryPattern) -> String {
    key(ask, "dictionaries", pattern.text())
}

pub(super) fn dictionary_key(
    ask: &Ask,
    pattern: &DictionaryPattern,
    hash: &DictionaryHash,
) -> String {
    let name = format!("{}\u{1f}{}", pattern.text(), hex(hash));
    key(ask, "dictionary", &name)
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
            None if ask.zone.store.may_contain(&head) => Listed::Perhaps(head.id),
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

    /// Notes a version of what `pattern` covers: as the newest if it was pulled; else as the oldest, if there is room.
    /// Drops those that are too many. Gives whether the list is another now.
    pub(super) async fn add_version(
        &self,
        ask: &Ask,
        pattern: &DictionaryPattern,
        (hash, noted): (DictionaryHash, Noted),
    ) -> bool {
        // Before the list is read: what a purge forgets meanwhile stays forgotten.
        let sequence = self.store.clocks().sequence();
        let before = self.versions(ask, pattern).await;
        let most = ask.zone.compression.dictionaries.keep_versions.max(1);
        let after = listed(&before, (hash, noted), most);
        if after == before {
            return false;
        }
        for dropped in before.iter().filter(|known| !after.contains(known)) {
            let id = self.place_of(&dictionary_key(ask, pattern, dropped));
            ask.zone.store.remove(&EntryKey::head(id));
        }
        let list = Body::Inline(Bytes::from(after.concat()));
        let draft = self.entry(
            ask,
            list_key(ask, pattern),
            new_version(),
            list,
            (sequence, sequence),
        );
        self.keep_entry(ask, draft).await;
        true
    }

    /// The dictionary of that hash, unless the whole site was purged since its bytes were pulled.
    pub(super) async fn dictionary(
        &self,
        ask: &Ask,
        pattern: &DictionaryPattern,
        hash: &DictionaryHash,
    ) -> Option<Arc<Object>> {
        self.valid(ask, &dictionary_key(ask, pattern, hash)).await
    }

    /// Keeps an entry that is found by its key alone.
    pub(super) async fn keep_entry(&self, ask: &Ask, draft: Draft) {
        let place = EntryKey::head(draft.url);
        let entry = Entry::Object(Arc::new(draft.seal()));
        ask.zone
            .store
            .insert(place, entry, Placement::MemoryAndDisk)
            .await;
    }

    /// The head of such an entry, of what was pulled and validated at these purge sequences. Purges of URLs, tags and prefixes have nothing to
    /// do with it.
    pub(super) fn entry(
        &self,
        ask: &Ask,
        key: String,
        version: u128,
        body: Body,
        (body_seq, checked_seq): (u64, u64),
    ) -> Draft {
        Draft {
            url: self.place_of(&key),
            key: key.into(),
            site: (&*ask.zone.name).into(),
            path: "".into(),
            version,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            freshness: kept_from(self.clock.now()),
            body,
            tags: Vec::new(),
            body_seq,
            checked_seq,
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
        found.is_of(key) && self.store.clocks().check(&ask.zone.clock, found) == Purged::No
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

/// The list with one more version, oldest first, of at most so many.
fn listed(
    before: &[DictionaryHash],
    (hash, noted): (DictionaryHash, Noted),
    most: usize,
) -> Vec<DictionaryHash> {
    let mut after = before.to_vec();
    match noted {
        Noted::Pulled => {
            after.retain(|known| *known != hash);
            after.push(hash);
        }
        Noted::Hit if after.len() < most && !after.contains(&hash) => after.insert(0, hash),
        Noted::Hit => {}
    }
    after.drain(..after.len().saturating_sub(most));
    after
}

fn hashes(list: &Body) -> Vec<DictionaryHash> {
    match list {
        Body::Inline(bytes) => bytes.as_chunks().0.to_vec(),
        Body::Chunked { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pulled_is_the_newest_and_what_is_hit_pushes_nothing_out() {
        let hash = |n: u8| [n; 32];
        let list = |hashes: &[u8]| hashes.iter().map(|n| hash(*n)).collect::<Vec<_>>();
        for (before, version, noted, expect) in [
            (&[][..], 1, Noted::Pulled, &[1][..]),
            (&[1], 2, Noted::Pulled, &[1, 2]),
            (&[1, 2], 3, Noted::Pulled, &[2, 3]),
            (&[1, 2], 1, Noted::Pulled, &[2, 1]),
            (&[1, 2], 3, Noted::Hit, &[1, 2]),
            (&[1, 2], 1, Noted::Hit, &[1, 2]),
            (&[2], 1, Noted::Hit, &[1, 2]),
            (&[1, 2, 3], 3, Noted::Hit, &[2, 3]),
        ] {
            let after = listed(&list(before), (hash(version), noted), 2);
            assert_eq!(after, list(expect), "{before:?} {version} {noted:?}");
        }
    }

    #[test]
    fn digits_are_those_of_the_bytes() {
        assert_eq!(hex(&[0, 0x1f, 0xa0]), "001fa0");
    }
}
