//! The content of what the origin has coded, for clients that do not take the coding.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use tokio::sync::Semaphore;

use crate::store::{CHUNK_BYTES, Draft};
use crate::variant::{Coding, DecodeError, Decoder, cpu_time};

use super::codings::Effort;
use super::derive::{Decline, Work};
use super::flight::{Head, HeadBody, Landing, Pilot};
use super::form::{IDENTITY, made_object};
use super::{FillError, Reader};

/// Larger pieces are decoded away from the runtime's threads.
const INLINE_DECODING_BYTES: usize = 4 << 10;
/// What is decoded at a time. A piece may become a hundred times larger, and what it becomes is held at once.
const FEED_BYTES: usize = 16 << 10;

/// The origin's coding holds more than may be decoded: the body passes as it is.
pub const CODING_TOO_LARGE: &str = "coding-too-large";
/// The origin's body is not what its coding says.
pub const CODING_CORRUPT: &str = "coding-corrupt";

impl Work {
    /// Decodes while the source still grows. A body that one chunk holds is decoded whole before its head goes out, so that a
    /// mistake in it becomes an error and no broken answer; of a larger one the rest may still break, which cuts it off.
    pub(super) async fn decode(self, coding: Coding, pilot: Pilot, mut landing: Landing) {
        let (cache, id) = (Arc::clone(&self.cache), self.id);
        match self.decoded(coding, &pilot).await {
            Ok(()) => {
                landing.close();
                pilot.finish();
            }
            Err(error) => {
                if let FillError::Decoding(error) = &error {
                    cache.decline(id, word(error), Decline::ForLong);
                }
                landing.close();
                pilot.fail(&error);
            }
        }
    }

    fn plain_head(&self, coding: Coding) -> Draft {
        let mut object = made_object(&self.source.object, &self.key, IDENTITY);
        object.headers.remove(CONTENT_ENCODING);
        object.detail = format!("identity;from={}", coding.token()).into();
        object
    }

    async fn decoded(self, coding: Coding, pilot: &Pilot) -> Result<(), FillError> {
        let story = &self.source.story;
        let storable = story.stored || story.forward.is_none() || story.tier.is_some();
        let object = Arc::new(self.plain_head(coding).seal());
        let limit = self.ask.zone.compression.max_size_bytes;
        let max_bytes = self.ask.zone.policy.max_object_bytes;
        let ends_with_readers = self.ends_with_readers(storable);
        let is_short = self.source.length.is_some_and(|n| n <= CHUNK_BYTES as u64);
        let mut keeping = storable.then(|| self.keeping(&object, None, max_bytes));
        let (cache, id, ask) = (Arc::clone(&self.cache), self.id, Arc::clone(&self.ask));
        let turns = Arc::clone(&cache.encoding);
        let mut feed = Feed {
            reader: self.source.into_reader(&cache, &ask.zone.store, 0, None),
            rest: Bytes::new(),
        };
        let publish = |length| {
            pilot.publish_head(Head {
                object: Arc::clone(&object),
                length,
                stored: Ok(()),
                body: HeadBody::Growing,
                personal: false,
                vary: None,
            });
        };
        let mut decoder =
            Some(Decoder::new(coding, limit).map_err(|error| failed(DecodeError::Corrupt(error)))?);
        let mut held = Vec::new();
        let (mut bytes_in, mut bytes_out, mut cpu) = (0, 0, Duration::ZERO);
        let mut is_published = false;
        loop {
            let piece = tokio::select! {
                biased;
                piece = feed.next() => piece?,
                () = pilot.abandoned(), if ends_with_readers => return Err(FillError::Abandoned),
            };
            let last = piece.is_none();
            bytes_in += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            let (content, took) = step(&mut decoder, piece, &turns).await?;
            bytes_out += content.len() as u64;
            cpu += took;
            if !content.is_empty() {
                held.push(content);
            }
            if !last && (is_short || held.is_empty()) {
                continue;
            }
            if !is_published {
                let whole: usize = held.iter().map(Bytes::len).sum();
                publish(last.then_some(whole as u64));
                is_published = true;
                // What has begun to go out is not cut off for its size: it is bounded by its readers' pace.
                if let Some(decoder) = &mut decoder {
                    decoder.unbound();
                }
            }
            for content in held.drain(..) {
                if let Some(kept) = &mut keeping {
                    match kept.add(&content).await {
                        Some(kept_to) => pilot.kept_to(kept_to),
                        None => keeping = None,
                    }
                }
                pilot.publish(content).await;
            }
            if last {
                break;
            }
        }
        cache.codings.made(
            &ask.zone.name,
            (coding, Effort::Undone),
            (bytes_in, bytes_out),
            cpu,
        );
        if let Some(keeping) = keeping
            && let Some(finished) = keeping.finish().await
        {
            cache.install(&ask, id, finished, None).await;
        }
        Ok(())
    }
}

/// The source, by at most [`FEED_BYTES`].
struct Feed {
    reader: Reader,
    rest: Bytes,
}

impl Feed {
    /// Cancel-safe.
    async fn next(&mut self) -> Result<Option<Bytes>, FillError> {
        if self.rest.is_empty() {
            let piece = std::future::poll_fn(|context| self.reader.poll_next(context)).await;
            let Some(piece) = piece.transpose()? else {
                return Ok(None);
            };
            self.rest = piece;
        }
        let length = self.rest.len().min(FEED_BYTES);
        Ok(Some(self.rest.split_to(length)))
    }
}

/// One piece, or the end; a large one waits for its turn and is decoded away from the runtime's own threads.
async fn step(
    decoder: &mut Option<Decoder>,
    piece: Option<Bytes>,
    turns: &Semaphore,
) -> Result<(Bytes, Duration), FillError> {
    let Some(mut own) = decoder.take() else {
        return Err(FillError::Abandoned);
    };
    let large = piece
        .as_ref()
        .is_some_and(|piece| piece.len() > INLINE_DECODING_BYTES);
    let work = move || {
        let begun = cpu_time();
        let done = match piece {
            Some(piece) => own.push(&piece).map(|content| (content, Some(own))),
            None => own.finish().map(|content| (content, None)),
        };
        done.map(|(content, back)| (content, back, cpu_time().saturating_sub(begun)))
    };
    let done = if large {
        let _turn = turns.acquire().await;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| FillError::Abandoned)?
    } else {
        work()
    };
    let (content, back, took) = done.map_err(failed)?;
    *decoder = back;
    Ok((content, took))
}

fn failed(error: DecodeError) -> FillError {
    FillError::Decoding(Arc::new(error))
}

fn word(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::TooLarge { .. } => CODING_TOO_LARGE,
        DecodeError::Corrupt(_) => CODING_CORRUPT,
    }
}
