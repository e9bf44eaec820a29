use std::sync::Arc;
use std::time::SystemTime;

use http::header::DATE;
use http::{HeaderMap, Method, StatusCode};

use crate::origin;
use crate::policy::{self, ByHead, Exchange, Freshness, NotStored, Storability};
use crate::semantics::date;
use crate::store::{Draft, Object};

use super::dictionary::imply_vary;
use super::flight::{Head, HeadBody, Pilot};
use super::pull::{Fill, Storing, Times};

/// What an answer says of the object that is stored already.
impl Fill {
    /// RFC 5861 §4: a stored answer that may still be served on an error is not given up for one.
    pub(super) fn is_worse_than_stale(&self, status: StatusCode, now: SystemTime) -> bool {
        matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && self.candidate.as_ref().is_some_and(|object| {
                policy::may_serve_on_error(&object.freshness(), self.soft_purged, now)
            })
    }

    /// RFC 9111 §4.3.4: the stored response with the fields of a 304.
    pub(super) async fn validated(
        &self,
        response: &origin::Response,
        pilot: &Pilot,
        times: &Times,
    ) -> Option<Head> {
        let stored = self.candidate.as_ref()?;
        let mut headers = HeaderMap::clone(&stored.headers());
        policy::update_stored(&mut headers, &response.headers);
        imply_vary(&mut headers, self.ask.passes_dictionary());
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::format(times.received_at));
        }
        let zone = self.ask.zone.for_response(stored.status, &headers);
        let freshness = match self.assess(&zone, stored.status, &headers, times) {
            Ok(freshness) => freshness,
            Err(reason) => {
                self.give_up_the_stored(reason).await;
                let object = self.object(
                    &zone,
                    stored.status,
                    &headers,
                    Freshness::stale_at(times.received_at),
                    pilot.sequence(),
                );
                return Some(self.validated_head(object, stored, Err(reason)));
            }
        };
        policy::stored_fields(&zone.policy, &mut headers);
        let object = self.object(&zone, stored.status, &headers, freshness, pilot.sequence());
        let head = self.validated_head(object, stored, Ok(()));
        self.install_validated(&head).await;
        Some(head)
    }

    /// Where it belongs by the `Vary` that it has now. One that is stored under a known rule stays where it is as long
    /// as that is its rule.
    async fn install_validated(&self, head: &Head) {
        let vary = head.vary.as_ref();
        let object = Arc::clone(&head.object);
        self.cache
            .install(&self.ask, self.place(vary), object, vary)
            .await;
    }

    fn validated_head(
        &self,
        mut object: Draft,
        stored: &Object,
        keep: Result<(), NotStored>,
    ) -> Head {
        object.version = stored.version;
        object.body = stored.body.clone();
        object.body_seq = stored.body_seq;
        let vary = self.learnt_vary(&object.headers);
        Head {
            length: Some(object.body.length()),
            object: Arc::new(object.seal()),
            stored: keep,
            body: HeadBody::Stored,
            personal: self.ask.is_personal(),
            vary,
        }
    }

    /// RFC 9111 §4.3.5: the stored answer to a GET, brought up to date by the answer to a HEAD, or made stale by it.
    pub(super) async fn freshen_by_head(
        &self,
        head: &origin::Response,
        times: &Times,
        sequence: u64,
    ) {
        let Some(stored) = &self.candidate else {
            return;
        };
        let told = policy::freshen_by_head(
            (stored.status, &stored.headers()),
            stored.body.length(),
            (head.status, &head.headers),
        );
        match told {
            ByHead::Untold => {}
            ByHead::Outdated => self.cache.invalidate(&self.ask).await,
            ByHead::Freshened => {
                let mut headers = HeaderMap::clone(&stored.headers());
                policy::update_stored(&mut headers, &head.headers);
                imply_vary(&mut headers, self.ask.passes_dictionary());
                if !headers.contains_key(DATE) {
                    headers.insert(DATE, date::format(times.received_at));
                }
                let zone = self.ask.zone.for_response(stored.status, &headers);
                let exchange = Exchange {
                    method: &Method::GET,
                    path: &self.ask.path,
                    request: &self.ask.headers,
                    status: stored.status,
                    response: &headers,
                    requested_at: times.requested_at,
                    received_at: times.received_at,
                };
                let storable = policy::assess(&zone.policy, &exchange);
                let Storability::Store(freshness) = storable else {
                    return;
                };
                policy::stored_fields(&zone.policy, &mut headers);
                let object = self.object(&zone, stored.status, &headers, freshness, sequence);
                let head = self.validated_head(object, stored, Ok(()));
                self.install_validated(&head).await;
            }
        }
    }

    /// RFC 9111 §3: what an answer that must not be stored takes the place of is not used in its place
    /// afterwards.
    pub(super) async fn give_up_the_stored(&self, reason: NotStored) {
        let by_the_answer = reason.outdates_stored();
        if by_the_answer && matches!(self.storing, Storing::Yes) && self.candidate.is_some() {
            self.cache.invalidate(&self.ask).await;
        }
    }
}
