use http::Method;

use crate::origin;
use crate::store::{Purge, PurgeItem, Slot};

use super::{Ask, Cache};

impl Cache {
    /// What an answer to an unsafe method invalidates (RFC 9111 §4.4). It holds when this returns.
    pub(super) async fn invalidate_after(
        &self,
        ask: &Ask,
        method: &Method,
        response: &origin::Response,
    ) {
        if method.is_safe() || !(response.status.is_success() || response.status.is_redirection()) {
            return;
        }
        self.invalidate(ask).await;
    }

    /// Makes all that is stored for the URL of `ask` unusable.
    pub(super) async fn invalidate(&self, ask: &Ask) {
        let item = PurgeItem {
            slot: Slot::Url(ask.url(&self.store)),
            kind: Purge::Hard,
        };
        if let Err(error) = self.store.clocks().purge(vec![item]).await {
            tracing::error!(site = %ask.zone.name, %error, "an invalidation could not be noted");
        }
    }
}
