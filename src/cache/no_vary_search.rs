use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::policy::KeyText;
use crate::semantics::no_vary_search::Rule;
use crate::store::{Object, Purged};

use super::lookup::Stored;
use super::{Ask, Cache, Lookup};

/// Paths whose latest rule is remembered at one time; the oldest goes first.
const PATHS_MAX: usize = 4096;
/// Stored URLs that are remembered by their simplified query; the oldest goes first.
const URLS_MAX: usize = 16_384;

/// What stored responses have said about the queries of their path (draft-ietf-httpbis-no-vary-search-04), to find
/// the one that answers for another query. Only in memory: what is forgotten is a miss.
#[derive(Default)]
pub(super) struct Equivalents {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The latest rule of a path, by the key without its query.
    rules: Bounded<Arc<Rule>>,
    /// The stored URL that a simplified query stands for.
    urls: Bounded<Twin>,
}

/// A stored URL of the same path.
#[derive(Clone)]
struct Twin {
    key: Box<KeyText>,
    id: u128,
    query: Option<String>,
}

impl Equivalents {
    fn learn(&self, path: u128, rule: Rule, url: u128, twin: Twin) {
        let mut kept = self.kept.lock();
        kept.rules.insert(path, Arc::new(rule), PATHS_MAX);
        kept.urls.insert(url, twin, URLS_MAX);
    }

    fn rule(&self, path: u128) -> Option<Arc<Rule>> {
        self.kept.lock().rules.of.get(&path).map(Arc::clone)
    }

    fn twin(&self, url: u128) -> Option<Twin> {
        self.kept.lock().urls.of.get(&url).cloned()
    }
}

struct Bounded<T> {
    of: HashMap<u128, T>,
    order: VecDeque<u128>,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> Bounded<T> {
    fn insert(&mut self, id: u128, value: T, most: usize) {
        if self.of.insert(id, value).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

impl Cache {
    /// Remembers what a response that was stored for `ask` says about the queries of its path.
    pub(super) fn learn_equivalents(&self, ask: &Ask, object: &Object) {
        if !ask.zone.policy.no_vary_search {
            return;
        }
        let rule = Rule::of(&object.headers());
        if rule.is_default() {
            return;
        }
        let path = self.path_id(ask);
        let url = self.equivalent_id(path, &rule, ask);
        let twin = Twin {
            key: Box::new(ask.key.clone()),
            id: ask.id,
            query: ask.query.clone(),
        };
        self.equivalents.learn(path, rule, url, twin);
    }

    /// A fresh response that is stored for another query and says itself that it answers this one. A stale one is left
    /// alone: then the URL that was asked for is pulled.
    pub(super) async fn equivalent(&self, ask: &Ask) -> Option<Stored> {
        if !ask.zone.policy.no_vary_search {
            return None;
        }
        let path = self.path_id(ask);
        let rule = self.equivalents.rule(path)?;
        let twin = self
            .equivalents
            .twin(self.equivalent_id(path, &rule, ask))?;
        if twin.id == ask.id {
            return None;
        }
        let other = Ask {
            key: *twin.key,
            id: twin.id,
            query: twin.query,
            ..ask.clone()
        };
        // The rule that counts is that of the stored response, which may be newer than the one remembered.
        match self.stored_for(&other).await {
            Lookup::Hit(stored)
                if Rule::of(&stored.object.headers())
                    .is_same(ask.query.as_deref(), other.query.as_deref())
                    && !self.is_purged_for(ask, &stored.object) =>
            {
                Some(stored)
            }
            Lookup::Hit(_) | Lookup::HitAndRefresh(..) | Lookup::Forward(_) => None,
        }
    }

    /// Whether a purge or an invalidation of the URL that is asked for is newer than the object, which is stored for
    /// another.
    fn is_purged_for(&self, ask: &Ask, object: &Object) -> bool {
        self.store.clocks().check_marks(
            &ask.zone.clock,
            &ask.subject(&self.store, &object.tags()),
            object.body_seq,
            object.checked_seq,
        ) != Purged::No
    }

    /// Names all that belongs to the key but the query. No part of a key has a space in it.
    fn path_id(&self, ask: &Ask) -> u128 {
        let parts: Vec<&[u8]> = ask
            .key
            .split(' ')
            .filter(|part| !part.starts_with("q="))
            .map(str::as_bytes)
            .collect();
        self.store.hash(&parts)
    }

    fn equivalent_id(&self, path: u128, rule: &Rule, ask: &Ask) -> u128 {
        let simplified = rule.simplified(ask.query.as_deref());
        self.store
            .hash(&[b"query", &path.to_le_bytes(), simplified.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room() {
        let mut bounded = Bounded::default();
        for id in 0..5 {
            bounded.insert(id, (), 3);
            bounded.insert(id, (), 3);
        }
        assert_eq!(bounded.order, [2, 3, 4]);
        assert_eq!(bounded.of.len(), 3);
    }
}
