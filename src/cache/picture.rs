use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::semantics::digest::UNENCODED_DIGEST;
use crate::store::{Body, Draft, Object};
use crate::variant::{Announced, ImageError, JobRefused, Media, Picture, SourceBytes};

use super::derive::{Decline, Work};
use super::flight::{Head, HeadBody, Landing, Pilot};
use super::form::{keeping_of, made_object};
use super::upgrade::BEST;
use super::{Ask, Cache, FillError};

/// Why there is no picture.
enum Failure {
    /// The source's bytes could not be read.
    Source(FillError),
    /// It is not to be had.
    JobRefused(JobRefused),
    /// Nobody is left who wants it.
    Unwanted,
}

impl Work {
    /// Makes a picture. It ends when nobody is left who waits, unless it goes on behind an answer that was given
    /// without it.
    pub(super) async fn render(self, announced: Announced, pilot: Pilot, mut landing: Landing) {
        let (cache, ask, id) = (Arc::clone(&self.cache), Arc::clone(&self.ask), self.id);
        let source = Arc::clone(&self.source.object);
        let key = self.key.clone();
        let picture = match self.picture(&announced, &pilot).await {
            Ok(picture) => picture,
            Err(failure) => {
                let error = match failure {
                    Failure::Source(error) => error,
                    Failure::Unwanted => FillError::Abandoned,
                    Failure::JobRefused(refused) => {
                        tracing::debug!(
                            site = %ask.zone.name,
                            error = %refused.error,
                            path = %ask.path,
                            "picture passes through"
                        );
                        cache.refused_picture(&source, id, &refused);
                        FillError::Abandoned
                    }
                };
                landing.close();
                return pilot.fail(&error);
            }
        };
        // Others may decode for it no longer.
        drop(announced);
        let (object, kept_to) = cache
            .kept_picture(
                &ask,
                made_object(&source, &key, picture.media.name()),
                id,
                &picture,
                "",
            )
            .await;
        let length = picture.bytes.len() as u64;
        pilot.publish_head(Head {
            object,
            length: Some(length),
            stored: Ok(()),
            body: HeadBody::Growing,
            personal: false,
            vary: None,
        });
        pilot.kept_to(kept_to);
        pilot.publish(picture.bytes).await;
        landing.close();
        pilot.finish();
    }

    async fn picture(self, announced: &Announced, pilot: &Pilot) -> Result<Picture, Failure> {
        let may_wait = self.ask.zone.images.background;
        let file = unless_unwanted(pilot, || {}, self.file(announced))
            .await
            .ok_or(Failure::Unwanted)??;
        let left = || announced.leave_behind();
        // Those who wait have waited for long enough; it is made for those who come later.
        let late = |reason| {
            if may_wait {
                pilot.delay(reason);
            }
            may_wait
        };
        unless_unwanted(pilot, left, announced.render(file, late))
            .await
            .ok_or(Failure::Unwanted)?
            .map_err(Failure::JobRefused)
    }

    /// The source's file, collected once for all forms of it.
    async fn file(self, announced: &Announced) -> Result<Bytes, Failure> {
        let limit = self.cache.images_max_source;
        let of_source = |error| {
            Failure::JobRefused(JobRefused {
                error,
                of_source: true,
            })
        };
        match announced.source(self.source.length) {
            SourceBytes::Here(bytes) => Ok(bytes),
            SourceBytes::Yours(collector) => {
                let reader = self
                    .source
                    .into_reader(&self.cache, &self.ask.zone.store, 0, None);
                match reader.collect(limit).await {
                    Ok(Some(bytes)) => {
                        collector.done(bytes.clone());
                        Ok(bytes)
                    }
                    Ok(None) => Err(of_source(ImageError::TooLarge { what: "its file" })),
                    Err(error) => Err(Failure::Source(error)),
                }
            }
            SourceBytes::Coming => {
                // One reader is enough, and a second one that stood still would hold the fill up.
                drop(self.source);
                let collected = announced.collected().await;
                collected.ok_or(Failure::Source(FillError::Abandoned))
            }
            SourceBytes::Full => Err(Failure::JobRefused(JobRefused {
                error: ImageError::QueueFull,
                of_source: false,
            })),
        }
    }
}

/// The result, unless all who waited for it leave first. Where it goes on behind an answer, `left` is told of that.
async fn unless_unwanted<T>(
    pilot: &Pilot,
    left: impl FnOnce(),
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        made = &mut work => return Some(made),
        () = pilot.abandoned() => {}
    }
    if pilot.goes_on() {
        left();
        Some(work.await)
    } else {
        None
    }
}

impl Cache {
    fn refused_picture(&self, source: &Object, id: u128, refused: &JobRefused) {
        let reason = refused.error.as_str();
        match &refused.error {
            error if error.is_permanent() && refused.of_source => {
                self.decline_pictures(source, reason);
                // So that whoever waits for this very form is told, too.
                self.decline(id, reason, Decline::ForLong);
            }
            error if error.is_permanent() => self.decline(id, reason, Decline::ForLong),
            ImageError::Timeout(_) => self.decline(id, reason, Decline::TimedOut),
            _ => self.decline(id, reason, Decline::ForNow),
        }
    }

    /// Puts a picture under this head into the tiers, as far as they take it, and gives the head and how many of its bytes
    /// are there in chunks. `mark` is added to how it was made.
    pub(super) async fn kept_picture(
        self: &Arc<Self>,
        ask: &Ask,
        mut object: Draft,
        id: u128,
        picture: &Picture,
        mark: &str,
    ) -> (Arc<Object>, u64) {
        let is_best = matches!(picture.media, Media::Picture(_)) && !picture.may_improve;
        let mark = if is_best { BEST } else { mark };
        if let Ok(media_type) = HeaderValue::try_from(picture.media.media_type()) {
            object.headers.insert(CONTENT_TYPE, media_type);
        }
        object.headers.remove(UNENCODED_DIGEST);
        object.detail = format!("{}{mark}", picture.detail).into();
        object.body = Body::Inline(Bytes::new());
        let object = Arc::new(object.seal());
        let length = picture.bytes.len() as u64;
        let max_bytes = ask.zone.policy.max_object_bytes;
        let mut keeping = keeping_of(self, ask, id, &object, Some(length), max_bytes);
        if keeping.add(&picture.bytes).await.is_some()
            && let Some(finished) = keeping.finish().await
        {
            // A small one lies in its head, where who falls behind does not look.
            let kept_to = match finished.body {
                Body::Chunked { length } => length,
                Body::Inline(_) => 0,
            };
            self.install(ask, id, finished, None).await;
            return (object, kept_to);
        }
        (object, 0)
    }
}
