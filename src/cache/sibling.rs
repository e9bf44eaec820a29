//! Files that lie coded beside their source in a folder: once they are found to hold the same, they are given in place of a
//! coding of ours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, ETAG};
use http::{HeaderValue, StatusCode};

use crate::origin::Sibling;
use crate::store::{CHUNK_BYTES, Object};
use crate::variant::{self, Coding, cpu_time};

use super::codings::Effort;
use super::derive::Work;
use super::flight::{Head, HeadBody, Landing, Pilot};
use super::form::{coded_object, tell_digest};
use super::marks::Mark;
use super::{Ask, Cache, FillError, Served};

/// Ends the detail of a coded form that was found beside its source.
pub(super) const SIBLING: &str = ";sibling";

/// How long the log is silent about a file that it has told of.
const SILENT_FOR: Duration = Duration::from_secs(3600);

/// A coded body that holds what the source holds.
pub(super) struct Verified {
    bytes: Bytes,
    content_bytes: u64,
    cpu: Duration,
}

impl Work {
    /// The coded file beside the source, if there is one and it holds the source's content. At once where the origin is no
    /// folder; else the source may be read to its end, and is then held whole, within the largest size that is coded.
    ///
    /// # Errors
    /// The source's bytes could not be read.
    pub(super) async fn sibling(&mut self, coding: Coding) -> Result<Option<Verified>, FillError> {
        let zone = Arc::clone(&self.ask.zone);
        let limit = zone.compression.max_size_bytes;
        let is_plain = |object: &Object| {
            object.status == StatusCode::OK && !object.headers().contains_key(CONTENT_ENCODING)
        };
        let (Some(length), true) = (self.source.length, zone.origin.has_siblings()) else {
            return Ok(None);
        };
        if length > limit || !is_plain(&self.source.object) {
            return Ok(None);
        }
        let beside = zone
            .origin
            .sibling(&self.ask.path, coding.suffix(), length)
            .await;
        let Some(sibling) = beside else {
            return Ok(None);
        };
        let content = self.collected(limit).await?;
        let content_bytes = content.len() as u64;
        let bytes = sibling.bytes.clone();
        // What was read is what is compared and given: the file may change as it likes.
        let compare = move || {
            let begun = cpu_time();
            let held = variant::holds(coding, &bytes, &content);
            (held, cpu_time().saturating_sub(begun))
        };
        let turn = self.cache.encoding.acquire().await;
        let compared = tokio::task::spawn_blocking(compare).await;
        drop(turn);
        let wrong = match compared {
            Ok((Ok(true), cpu)) => {
                return Ok(Some(Verified {
                    bytes: sibling.bytes,
                    content_bytes,
                    cpu,
                }));
            }
            Ok((Ok(false), _)) => {
                "it does not hold the same, in one gzip member or one zstd frame".to_owned()
            }
            Ok((Err(error), _)) => match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.cache
            .refused_sibling(&self.ask, &self.source.object, &sibling, &wrong);
        Ok(None)
    }

    /// The source's whole body, which can then be read once more.
    async fn collected(&mut self, limit: u64) -> Result<Bytes, FillError> {
        let again = || Served::made(Arc::clone(&self.source.object), self.source.story, self.id);
        let (meanwhile, afterwards) = (again(), again());
        let source = std::mem::replace(&mut self.source, meanwhile);
        let reader = source.into_reader(&self.cache, &self.ask.zone.store, 0, None);
        // One that is longer than was said is no body of ours.
        let content = reader.collect(limit).await?.ok_or(FillError::Hole)?;
        self.source = afterwards.holding(content.clone());
        Ok(content)
    }

    /// Gives these bytes as the coded form.
    pub(super) async fn give(
        self,
        coding: Coding,
        found: Verified,
        pilot: Pilot,
        mut landing: Landing,
    ) {
        let (cache, ask) = (Arc::clone(&self.cache), Arc::clone(&self.ask));
        let mut draft = coded_object(&self.source.object, &self.key, coding.token());
        tell_digest(&mut draft, &self.source.object, &found.bytes).await;
        draft.detail = format!("{}{SIBLING}", coding.token()).into();
        let object = Arc::new(draft.seal());
        let length = found.bytes.len() as u64;
        cache.codings.made(
            &ask.zone.name,
            (coding, Effort::Sibling),
            (found.content_bytes, length),
            found.cpu,
        );
        let story = &self.source.story;
        if story.stored || story.forward.is_none() || story.tier.is_some() {
            let max_bytes = ask.zone.policy.max_object_bytes;
            let mut keeping = self.keeping(&object, Some(length), max_bytes);
            if let Some(kept_to) = keeping.add(&found.bytes).await
                && let Some(finished) = keeping.finish().await
            {
                pilot.kept_to(kept_to);
                cache.install(&ask, self.id, finished, None).await;
            }
        }
        pilot.publish_head(Head {
            object,
            length: Some(length),
            stored: Ok(()),
            body: HeadBody::Growing,
            personal: false,
            vary: None,
        });
        let mut rest = found.bytes;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(CHUNK_BYTES));
            pilot.publish(piece).await;
        }
        landing.close();
        pilot.finish();
    }
}

impl Cache {
    /// Counts a file that does not hold what its source holds, and tells of it once.
    fn refused_sibling(&self, ask: &Ask, source: &Object, sibling: &Sibling, wrong: &str) {
        let site = &ask.zone.name;
        self.codings.sibling_refused(site);
        // A source that was stored before the folder was filled anew is older than the files beside it: nobody's mistake.
        let headers = source.headers();
        let stored = headers.get(ETAG).map(HeaderValue::as_bytes);
        let now = sibling.source_etag.as_deref().map(str::as_bytes);
        if now.is_none() || stored.is_some_and(|stored| Some(stored) != now) {
            return;
        }
        let text = ["sibling", &**site, &*sibling.name, &*sibling.etag];
        let id = self.store.hash(&text.map(str::as_bytes));
        let uptime = self.clock.uptime();
        if self.marks.of(id, uptime).is_none() {
            let mark = Mark::Declined("sibling");
            self.marks.set(id, mark, uptime + SILENT_FOR);
            tracing::warn!(
                %site,
                file = %sibling.name,
                wrong,
                "a coded file is not used: make it anew from the file beside it, or remove it"
            );
        }
    }
}
