use std::sync::Arc;

use super::slot::{ANY_TAG, Marks, Purge, Purged, Slot, TrafficSlot};
use super::table::Clocks;
use crate::policy;
use crate::store::Object;

/// A purge that an object is too old for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockHit {
    /// What was purged.
    pub target: ClockTarget,
    /// How.
    pub kind: Purge,
    /// The purge's number.
    pub sequence: u64,
}

/// What a purge named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockTarget {
    /// All that is older than the clocks that are kept.
    Floor,
    /// Nothing: the object is from a sequence of purges that is not this node's.
    Future,
    /// Everything.
    Everything,
    /// The site.
    Site,
    /// The URL.
    Url,
    /// How the path begins.
    Prefix(String),
    /// A tag, by its hash.
    Tag(u128),
    /// The URL, by what traffic has shown.
    UrlByTraffic,
    /// A tag, by its hash and what traffic has shown.
    TagByTraffic(u128),
}

impl ClockTarget {
    /// A closed word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Future => "future",
            Self::Everything => "everything",
            Self::Site => "site",
            Self::Url => "url",
            Self::Prefix(_) => "prefix",
            Self::Tag(_) => "tag",
            Self::UrlByTraffic => "url-by-traffic",
            Self::TagByTraffic(_) => "tag-by-traffic",
        }
    }
}

impl Clocks {
    /// Every purge that this object is too old for. To be asked by people: [`Clocks::check`] answers requests.
    #[must_use]
    pub fn hits(&self, object: &Object) -> Vec<ClockHit> {
        let (body_seq, checked_seq) = (object.body_seq, object.checked_seq);
        let mut hits = Vec::new();
        for (holds, target, sequence) in [
            (body_seq < self.floor(), ClockTarget::Floor, self.floor()),
            (
                body_seq > self.sequence(),
                ClockTarget::Future,
                self.sequence(),
            ),
        ] {
            if holds {
                hits.push(ClockHit {
                    target,
                    kind: Purge::Hard,
                    sequence,
                });
            }
        }
        let mut consider = |target, marks: Option<Marks>| {
            let Some(marks) = marks else { return };
            let (kind, sequence) = match marks.verdict(body_seq, checked_seq) {
                Purged::No => return,
                Purged::Soft => (Purge::Soft, marks.soft),
                Purged::Hard => (Purge::Hard, marks.hard),
            };
            hits.push(ClockHit {
                target,
                kind,
                sequence,
            });
        };
        let tables = self.tables();
        let site: Arc<str> = object.site().into();
        let url = Slot::Url {
            site: None,
            url: object.url,
        };
        consider(ClockTarget::Everything, tables.marks(&Slot::Everything));
        consider(ClockTarget::Site, tables.marks(&Slot::Site(site.clone())));
        consider(ClockTarget::Url, tables.marks(&url));
        let by_traffic = tables.traffic_marks(&site, TrafficSlot::Url(object.url));
        consider(ClockTarget::UrlByTraffic, by_traffic);
        for tag in object.tags() {
            let slot = Slot::Tag {
                site: site.clone(),
                tag,
            };
            consider(ClockTarget::Tag(tag), tables.marks(&slot));
            let by_traffic = tables.traffic_marks(&site, TrafficSlot::Tag(tag));
            consider(ClockTarget::TagByTraffic(tag), by_traffic);
        }
        if object.tags().contains(&ANY_TAG) {
            let any = tables.site(&site).any_tag();
            consider(ClockTarget::Tag(ANY_TAG), Some(any));
        }
        let path = object.path();
        // A path has as many beginnings as bytes, and a request line bounds those.
        for prefix in (1..=path.len()).filter_map(|length| path.get(..length)) {
            for host in std::iter::once(None).chain(policy::host_of(object.key()).map(Some)) {
                let slot = Slot::Prefix {
                    site: site.clone(),
                    host: host.map(Into::into),
                    prefix: prefix.to_owned(),
                };
                consider(ClockTarget::Prefix(prefix.to_owned()), tables.marks(&slot));
            }
        }
        hits
    }
}
