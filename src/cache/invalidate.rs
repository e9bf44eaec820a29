use http::Method;

use crate::origin;
use crate::policy;
use crate::semantics::reference::Resolved;
use crate::store::{Invalidation, Purge, TrafficSlot};

use super::{Ask, Cache};

impl Cache {
    /// What an answer to an unsafe method invalidates (RFC 9111 §4.4, RFC 9875 §3). It holds when this returns.
    pub(super) async fn invalidate_after(
        &self,
        ask: &Ask,
        method: &Method,
        response: &origin::Response,
    ) {
        let target = ask.target();
        let (status, fields) = (response.status, &response.headers);
        let named = policy::invalidations(&ask.zone.policy, method, &target, status, fields);
        let slots = named.into_iter().map(|named| match named {
            policy::Invalidation::Url(url) => TrafficSlot::Url(self.url_of(ask, &url)),
            policy::Invalidation::Group(group) => TrafficSlot::Tag(self.tag(&group)),
        });
        self.invalidate_slots(ask, slots.collect()).await;
    }

    /// Makes all that is stored for the URL of `ask` unusable.
    pub(super) async fn invalidate(&self, ask: &Ask) {
        self.invalidate_slots(ask, vec![TrafficSlot::Url(ask.url(&self.store))])
            .await;
    }

    /// The hash of another URL of the same site and host.
    fn url_of(&self, ask: &Ask, url: &Resolved) -> u128 {
        let query = policy::forwarded_query(url.query.as_deref(), &ask.zone.policy.key.query);
        let text = policy::url_key(&ask.zone.name, ask.host(), &url.path, query.as_deref());
        self.store.hash(&[text.as_bytes()])
    }

    async fn invalidate_slots(&self, ask: &Ask, slots: Vec<TrafficSlot>) {
        let items = slots.into_iter().map(|slot| Invalidation {
            slot,
            kind: Purge::Hard,
        });
        if let Err(error) = self
            .store
            .clocks()
            .invalidate(&ask.zone.name, items.collect())
            .await
        {
            tracing::error!(site = %ask.zone.name, %error, "an invalidation could not be noted");
        }
    }
}
