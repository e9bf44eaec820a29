use http::HeaderName;
use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE};

use crate::policy::{self, Reuse};
use crate::semantics::negotiate;
use crate::store::{Entry, EntryKey, Purged, VaryIndex};

use super::{Ask, Cache, Stored};

impl Cache {
    /// A fresh variant that was stored for another `Accept-Language`, and is in the language that this request likes
    /// best: the origin has nothing better to give (RFC 9111 §4.1 lets a cache select by what it understands). All other
    /// fields of the rule must be the same. Looked for only where the very variant is not stored.
    pub(super) async fn by_language(&self, ask: &Ask, index: &VaryIndex) -> Option<Stored> {
        if !index.fields.contains(&ACCEPT_LANGUAGE) || !ask.headers.contains_key(ACCEPT_LANGUAGE) {
            return None;
        }
        let others: Vec<HeaderName> = index
            .fields
            .iter()
            .filter(|name| **name != ACCEPT_LANGUAGE)
            .cloned()
            .collect();
        let mine = ask.secondary(&others);
        let mut fresh = Vec::new();
        for (secondary, id) in &index.variants {
            if without_language(secondary) == *mine
                && let Some(stored) = self.fresh_variant(ask, *id, index).await
            {
                fresh.push(stored);
            }
        }
        let headers: Vec<_> = fresh.iter().map(|stored| stored.object.headers()).collect();
        let languages = headers.iter().map(|headers| {
            let language = headers.get(CONTENT_LANGUAGE);
            language.map_or(&b""[..], |value| value.as_bytes())
        });
        let best = negotiate::best_language(&ask.headers, languages)?;
        if !best.is_first_choice {
            return None;
        }
        (best.at < fresh.len()).then(|| fresh.swap_remove(best.at))
    }

    async fn fresh_variant(&self, ask: &Ask, id: u128, index: &VaryIndex) -> Option<Stored> {
        let (Entry::Object(object), tier) = ask.zone.store.load(&EntryKey::head(id)).await? else {
            return None;
        };
        let is_usable = object.is_of(&ask.key)
            && self.store.clocks().check(&ask.zone.clock, &object) == Purged::No
            && policy::reuse(
                &ask.zone.policy,
                &ask.headers,
                &object.freshness(),
                false,
                self.clock.now(),
            ) == Reuse::Fresh;
        is_usable.then(|| Stored {
            object,
            tier,
            id,
            fields: index.fields.clone(),
        })
    }
}

/// A secondary key without what it says of `Accept-Language`: its parts are separated by spaces, which are escaped
/// within them.
fn without_language(secondary: &str) -> String {
    let parts = secondary.split(' ').filter(|part| {
        let name = part.split_once(':').map_or(*part, |(name, _)| name);
        name != ACCEPT_LANGUAGE.as_str()
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_alone_is_left_out() {
        for (given, expect) in [
            ("accept-language:de,en", ""),
            (
                "accept-encoding:br accept-language:de x-a:1",
                "accept-encoding:br x-a:1",
            ),
            ("accept-language x-a", "x-a"),
            ("x-accept-language:de", "x-accept-language:de"),
        ] {
            assert_eq!(without_language(given), expect);
        }
    }
}
