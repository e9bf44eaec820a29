use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::cache::{FillError, Pressure};
use crate::origin::OriginError;
use crate::telemetry::{CacheResult, WarmOutcome};

use super::answer::Told;
use super::upload::RequestBody;
use super::{Body, Client, Pipeline, Refusal, Routes};

/// Background work goes on at full pace while clients leave this share of what the node can do at one time unused.
const ROOM_SHARE: usize = 2;

/// What came of pulling one URL into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmed {
    /// How it ended.
    pub outcome: WarmOutcome,
    /// Why it is not in the cache; a closed word, empty when it is.
    pub reason: &'static str,
    /// The status of the answer; `None` when the node gave none of an origin.
    pub status: Option<StatusCode>,
    /// What came of the body.
    pub body_bytes: u64,
    /// The node or the origin's queue was full: it may be tried again in a moment.
    pub is_shed: bool,
}

/// Sees the pieces of a body; `false` ends the reading.
pub type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> bool + Send);

impl Pipeline {
    /// Pulls what `head`, a GET, asks for into the cache: by the way of any client's request, but neither counted nor
    /// logged as one. The host has to be one of `site`. All of the body is read, whatever its size, and let go.
    ///
    /// Cancel-safe: dropped, it is a client that goes away.
    pub async fn warm(
        &self,
        client: Client,
        head: http::Request<()>,
        site: &str,
        sink: Option<Sink<'_>>,
    ) -> Warmed {
        let routes = self.routes();
        let (parts, ()) = head.into_parts();
        let told = Box::pin(self.told(&routes, client, parts, site)).await;
        let warmed = match told {
            Ok(told) => drained(told, sink).await,
            Err(refusal) => refused(&refusal),
        };
        if let Some(state) = routes.site(site) {
            let metrics = &state.zone.metrics;
            // What is tried again is counted once.
            if !warmed.is_shed {
                metrics.warmed(warmed.outcome, warmed.body_bytes);
            }
        }
        warmed
    }

    async fn told(
        &self,
        routes: &Routes,
        client: Client,
        parts: Parts,
        site: &str,
    ) -> Result<Told, Refusal> {
        let admitted = self.admit(routes, &client, &parts)?;
        if *admitted.site.site.name != *site {
            return Err(Refusal::UnknownHost);
        }
        self.respond(routes, client, admitted, parts, RequestBody::None, None)
            .await
    }

    /// Whether clients leave enough of the node for work that nobody waits for.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let limit = self.routes().limits.in_flight;
        self.cache().pressure() == Pressure::Ample
            && self.requests_in_flight() < (limit / ROOM_SHARE).max(1)
            && self.cache().fills_under_way() < (self.cache().fills_max() / ROOM_SHARE).max(1)
    }

    /// How many pulls from the site's origin may run for nobody: clients keep the other half of its connections.
    #[must_use]
    pub fn background_pulls_max(&self, site: &str) -> usize {
        let routes = self.routes();
        let state = routes.site(site);
        let connections = state.map_or(1, |state| state.site.origin.max_connections);
        (connections / 2).max(1)
    }
}

async fn drained(told: Told, mut sink: Option<Sink<'_>>) -> Warmed {
    let Told {
        response,
        result,
        detail,
        stored,
        ..
    } = told;
    let (status, (body_bytes, ended)) = read(response, &mut sink).await;
    let (outcome, reason) = match ended {
        Err(error) => (WarmOutcome::Failed, error.kind()),
        Ok(()) if status.is_client_error() || status.is_server_error() => {
            (WarmOutcome::Failed, "status")
        }
        Ok(()) => judged(result, detail, stored),
    };
    Warmed {
        outcome,
        reason,
        status: Some(status),
        body_bytes,
        is_shed: false,
    }
}

async fn read(
    response: Response<Body>,
    sink: &mut Option<Sink<'_>>,
) -> (StatusCode, (u64, Result<(), FillError>)) {
    let status = response.status();
    let mut body = response.into_body();
    let mut body_bytes = 0;
    // Ends with the body, which is bounded by the site's largest object and the origin's timeouts.
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let Some(piece) = frame.data_ref() else {
                    continue;
                };
                body_bytes += piece.len() as u64;
                if let Some(sink) = sink
                    && !sink(piece)
                {
                    break;
                }
            }
            Err(error) => return (status, (body_bytes, Err(error))),
        }
    }
    (status, (body_bytes, Ok(())))
}

fn judged(result: CacheResult, detail: &'static str, stored: bool) -> (WarmOutcome, &'static str) {
    let or = |word| if detail.is_empty() { word } else { detail };
    match result {
        CacheResult::Hit => (WarmOutcome::Hit, ""),
        CacheResult::Revalidated => (WarmOutcome::Revalidated, ""),
        CacheResult::Miss if stored => (WarmOutcome::Filled, ""),
        CacheResult::Miss => (WarmOutcome::Uncacheable, or("not-stored")),
        CacheResult::Bypass => (WarmOutcome::Uncacheable, or("bypass")),
        // Stale by permission, and validated behind the answer; or in place of an origin that failed.
        CacheResult::Stale if detail.is_empty() => (WarmOutcome::Hit, ""),
        CacheResult::Stale => (WarmOutcome::Failed, detail),
        CacheResult::Refused => (WarmOutcome::Failed, or("refused")),
        CacheResult::Error => (WarmOutcome::Failed, or("error")),
    }
}

fn refused(refusal: &Refusal) -> Warmed {
    Warmed {
        outcome: WarmOutcome::Failed,
        reason: refusal.reason(),
        status: None,
        body_bytes: 0,
        is_shed: is_shed(refusal),
    }
}

/// Whether the request was refused because there were too many others.
fn is_shed(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Busy | Refusal::PictureLate { .. } => true,
        Refusal::Fill(FillError::Origin(error)) => is_queue(error),
        Refusal::Fill(error) => {
            matches!(
                error,
                FillError::TooManyWaiters | FillError::Overloaded | FillError::MemoryShort
            )
        }
        Refusal::Request(_)
        | Refusal::UnknownHost
        | Refusal::NoHost
        | Refusal::Path(_)
        | Refusal::Template(_)
        | Refusal::Denied(_)
        | Refusal::Method(_)
        | Refusal::Parameter(_)
        | Refusal::Signature(_)
        | Refusal::Picture { .. }
        | Refusal::Undecodable
        | Refusal::NotAcceptable
        | Refusal::Loop
        | Refusal::OnlyIfCached
        | Refusal::Precondition
        | Refusal::NeedsHost
        | Refusal::TooManyPurges
        | Refusal::PurgeFailed(_)
        | Refusal::Upload(_) => false,
    }
}

fn is_queue(error: &Arc<OriginError>) -> bool {
    matches!(
        **error,
        OriginError::QueueFull { .. } | OriginError::QueueTimeout { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_cache_afterwards_has_no_reason() {
        for (result, detail, stored, expect) in [
            (CacheResult::Hit, "", false, (WarmOutcome::Hit, "")),
            (CacheResult::Stale, "", false, (WarmOutcome::Hit, "")),
            (CacheResult::Miss, "", true, (WarmOutcome::Filled, "")),
            (
                CacheResult::Revalidated,
                "",
                true,
                (WarmOutcome::Revalidated, ""),
            ),
            (
                CacheResult::Miss,
                "no-store",
                false,
                (WarmOutcome::Uncacheable, "no-store"),
            ),
            (
                CacheResult::Miss,
                "",
                false,
                (WarmOutcome::Uncacheable, "not-stored"),
            ),
            (
                CacheResult::Bypass,
                "off",
                false,
                (WarmOutcome::Uncacheable, "off"),
            ),
            (
                CacheResult::Stale,
                "stale-if-error",
                false,
                (WarmOutcome::Failed, "stale-if-error"),
            ),
        ] {
            assert_eq!(judged(result, detail, stored), expect, "{result:?}");
        }
    }

    #[test]
    fn only_what_others_crowd_out_is_tried_again() {
        assert!(refused(&Refusal::Busy).is_shed);
        assert!(refused(&Refusal::Fill(FillError::Overloaded)).is_shed);
        assert!(refused(&Refusal::Fill(FillError::MemoryShort)).is_shed);
        assert!(!refused(&Refusal::Fill(FillError::Hole)).is_shed);
        assert!(!refused(&Refusal::UnknownHost).is_shed);
    }
}
