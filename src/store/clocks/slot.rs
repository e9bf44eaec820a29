use std::sync::Arc;

use smallvec::SmallVec;

/// A tag that an object carries besides its own when those were more than could be kept: every purge of a
/// tag of its site concerns it, so that it is never one that a purge misses. Hashes of tags are keyed and
/// 128 bits long: none is this one.
pub const ANY_TAG: u128 = 0;

/// What a purge is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Slot {
    /// One URL of one site, in all its variants.
    Url {
        /// The site, whose objects alone are looked at again. `None`, as in what the database says, is any:
        /// then those of all sites are.
        site: Option<Arc<str>>,
        /// The hash of its URL key, which has the site in it.
        url: u128,
    },
    /// The paths of a site that begin so.
    Prefix {
        /// The site.
        site: Arc<str>,
        /// The host, on sites that keep hosts apart; `None` is all of them.
        host: Option<Arc<str>>,
        /// How the path begins, byte for byte: `/a/` concerns `/a/b` and not `/ab`.
        prefix: String,
    },
    /// The objects of a site that carry a tag.
    Tag {
        /// The site.
        site: Arc<str>,
        /// The hash of the tag.
        tag: u128,
    },
    /// A whole site.
    Site(Arc<str>),
    /// All that there is.
    Everything,
}

/// What a purge may be about, of one object or fetch.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The hash of its URL key.
    pub url: u128,
    /// The host without its port, on sites that keep hosts apart.
    pub host: Option<&'a str>,
    /// Its path.
    pub path: &'a str,
    /// The hashes of its tags.
    pub tags: &'a [u128],
}

/// How a purge treats what it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purge {
    /// As if it had never been stored.
    Hard,
    /// As if it had become stale.
    Soft,
}

/// One thing to purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeItem {
    /// What.
    pub slot: Slot,
    /// How.
    pub kind: Purge,
}

/// What an invalidation is about, within its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrafficSlot {
    /// One URL in all its variants, as [`Slot::Url`].
    Url(u128),
    /// The objects that carry a tag, as [`Slot::Tag`].
    Tag(u128),
}

/// One thing that traffic has shown to be out of date (RFC 9111 section 4.4, RFC 9875 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalidation {
    /// What.
    pub slot: TrafficSlot,
    /// How.
    pub kind: Purge,
}

/// Whether an object was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purged {
    /// It was not.
    No,
    /// Softly: it is stale, whatever its freshness says.
    Soft,
    /// It must not be used any more: not stale, not for validation.
    Hard,
}

/// The sequence numbers of a slot's last purges; 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    pub(super) hard: u64,
    pub(super) soft: u64,
}

impl Marks {
    pub(super) fn raise(&mut self, kind: Purge, sequence: u64) {
        let mark = match kind {
            Purge::Hard => &mut self.hard,
            Purge::Soft => &mut self.soft,
        };
        *mark = sequence.max(*mark);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    /// Whether `other` says nothing beside these.
    pub(super) fn covers(&self, other: Self) -> bool {
        self.hard >= other.hard && self.soft >= other.soft
    }

    pub(super) fn latest(&self) -> u64 {
        self.hard.max(self.soft)
    }

    pub(super) fn verdict(&self, body_seq: u64, checked_seq: u64) -> Purged {
        if self.hard > body_seq {
            Purged::Hard
        } else if self.soft > checked_seq {
            Purged::Soft
        } else {
            Purged::No
        }
    }
}

const URL: u8 = 1;
const PREFIX: u8 = 2;
const TAG: u8 = 3;
const SITE: u8 = 4;
const EVERYTHING: u8 = 5;
const PREFIX_OF_HOST: u8 = 6;

/// A slot as a key of the database, without heap for all but prefixes and sites with long names.
pub(super) type RowKey = SmallVec<[u8; 40]>;

impl Slot {
    /// The site that it is about; `None` when that is any.
    pub(super) fn site(&self) -> Option<&Arc<str>> {
        match self {
            Self::Url { site, .. } => site.as_ref(),
            Self::Prefix { site, .. } | Self::Tag { site, .. } | Self::Site(site) => Some(site),
            Self::Everything => None,
        }
    }

    /// The slot as a key of the database: its kind, then its parts, each but the last with its length. The
    /// site of a URL is not in it.
    pub(super) fn encode(&self) -> RowKey {
        let mut key = RowKey::new();
        match self {
            Self::Url { url, .. } => {
                key.push(URL);
                key.extend_from_slice(&url.to_le_bytes());
            }
            Self::Prefix { site, host, prefix } => {
                key.push(match host {
                    None => PREFIX,
                    Some(_) => PREFIX_OF_HOST,
                });
                push_part(&mut key, site);
                if let Some(host) = host {
                    push_part(&mut key, host);
                }
                key.extend_from_slice(prefix.as_bytes());
            }
            Self::Tag { site, tag } => {
                key.push(TAG);
                push_part(&mut key, site);
                key.extend_from_slice(&tag.to_le_bytes());
            }
            Self::Site(site) => {
                key.push(SITE);
                push_part(&mut key, site);
            }
            Self::Everything => key.push(EVERYTHING),
        }
        key
    }

    /// The slot of such a key, or `None` for bytes that are none.
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.split_first()?;
        let number = |bytes: &[u8]| Some(u128::from_le_bytes(bytes.try_into().ok()?));
        let text = |bytes: &[u8]| Some(std::str::from_utf8(bytes).ok()?.to_owned());
        match *kind {
            URL => {
                let url = number(rest)?;
                Some(Self::Url { site: None, url })
            }
            PREFIX => {
                let (site, prefix) = split_part(rest)?;
                let (host, prefix) = (None, text(prefix)?);
                Some(Self::Prefix { site, host, prefix })
            }
            PREFIX_OF_HOST => {
                let (site, rest) = split_part(rest)?;
                let (host, prefix) = split_part(rest)?;
                let (host, prefix) = (Some(host), text(prefix)?);
                Some(Self::Prefix { site, host, prefix })
            }
            TAG => {
                let (site, tag) = split_part(rest)?;
                let tag = number(tag)?;
                Some(Self::Tag { site, tag })
            }
            SITE => {
                let (site, rest) = split_part(rest)?;
                rest.is_empty().then_some(Self::Site(site))
            }
            EVERYTHING => rest.is_empty().then_some(Self::Everything),
            _ => None,
        }
    }
}

fn push_part(key: &mut RowKey, part: &str) {
    key.extend_from_slice(&(part.len() as u64).to_le_bytes());
    key.extend_from_slice(part.as_bytes());
}

fn split_part(bytes: &[u8]) -> Option<(Arc<str>, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (part, rest) = bytes.split_at_checked(length)?;
    Some((std::str::from_utf8(part).ok()?.into(), rest))
}

impl TrafficSlot {
    /// The slot and its site as bytes: the kind, the hash, the name of the site.
    pub(super) fn encode(self, site: &str) -> Vec<u8> {
        let (kind, hash) = match self {
            Self::Url(url) => (URL, url),
            Self::Tag(tag) => (TAG, tag),
        };
        [&[kind][..], &hash.to_le_bytes(), site.as_bytes()].concat()
    }

    /// The slot and the site of such bytes, or `None` for others.
    pub(super) fn decode(key: &[u8]) -> Option<(Self, &str)> {
        let (kind, rest) = key.split_first()?;
        let (hash, site) = rest.split_first_chunk::<16>()?;
        let hash = u128::from_le_bytes(*hash);
        let slot = match *kind {
            URL => Self::Url(hash),
            TAG => Self::Tag(hash),
            _ => return None,
        };
        Some((slot, std::str::from_utf8(site).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots() -> impl Strategy<Value = Slot> {
        prop_oneof![
            any::<u128>().prop_map(|url| Slot::Url { site: None, url }),
            (".{0,12}", proptest::option::of(".{0,9}"), ".{0,20}").prop_map(
                |(site, host, prefix)| Slot::Prefix {
                    site: site.into(),
                    host: host.map(Into::into),
                    prefix,
                }
            ),
            (".{0,12}", any::<u128>()).prop_map(|(site, tag)| Slot::Tag {
                site: site.into(),
                tag,
            }),
            ".{0,12}".prop_map(|site| Slot::Site(site.into())),
            Just(Slot::Everything),
        ]
    }

    proptest! {
        #[test]
        fn a_slot_is_its_key(slot in slots()) {
            prop_assert_eq!(Slot::decode(&slot.encode()), Some(slot));
        }

        #[test]
        fn two_slots_have_two_keys(a in slots(), b in slots()) {
            prop_assert_eq!(a == b, a.encode() == b.encode());
        }

        #[test]
        fn garbage_never_panics(key in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(slot) = Slot::decode(&key) {
                prop_assert_eq!(&slot.encode()[..], &key[..]);
            }
        }
    }
}
