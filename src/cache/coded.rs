use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderValue};
use tokio::sync::Semaphore;

use crate::store::{Draft, Object};
use crate::variant::{Coding, Encoder};

use super::FillError;
use super::derive::Work;
use super::flight::{Head, HeadBody, Landing, Pilot};
use super::form::{keeping_of, made_object};
use super::install::Keeping;

/// Larger pieces are encoded away from the runtime's threads.
const INLINE_ENCODING_BYTES: usize = 16 << 10;

impl Work {
    /// Streams: the first bytes go out coded while the source still grows, and whenever it pauses.
    pub(super) async fn compress(
        self,
        coding: Coding,
        level: u32,
        pilot: Pilot,
        mut landing: Landing,
    ) {
        let turns = Arc::clone(&self.cache.encoding);
        let story = &self.source.story;
        let storable = story.stored || story.forward.is_none() || story.tier.is_some();
        let object = Arc::new(self.coded_head(coding).seal());
        pilot.publish_head(Head {
            object: Arc::clone(&object),
            length: None,
            stored: Ok(()),
            body: HeadBody::Growing,
            personal: false,
            vary: None,
        });
        let max_bytes = self.ask.zone.policy.max_object_bytes;
        let mut keeping = storable.then(|| self.keeping(&object, None, max_bytes));
        let (cache, id, ask) = (Arc::clone(&self.cache), self.id, Arc::clone(&self.ask));
        let mut reader = self
            .source
            .into_reader(&cache, &self.ask.zone.store, 0, None);
        let mut encoder = Some(Encoder::new(coding, level));
        let mut owing = false;
        let outcome = loop {
            let step = match next_step(&mut reader, &mut owing).await {
                Ok(step) => step,
                Err(error) => break Err(error),
            };
            let last = matches!(step, Step::End);
            let coded = match encode(&mut encoder, step, &turns).await {
                Ok(coded) => coded,
                Err(error) => break Err(FillError::Encoding(Arc::new(error))),
            };
            if let Some(kept) = &mut keeping {
                match kept.add(&coded).await {
                    Some(kept_to) => pilot.kept_to(kept_to),
                    None => keeping = None,
                }
            }
            pilot.publish(coded).await;
            if last {
                break Ok(());
            }
        };
        match outcome {
            Ok(()) => {
                if let Some(keeping) = keeping
                    && let Some(finished) = keeping.finish().await
                {
                    cache.install(&ask, id, finished, None).await;
                }
                landing.close();
                pilot.finish();
            }
            Err(error) => {
                landing.close();
                pilot.fail(&error);
            }
        }
    }

    pub(super) fn keeping(
        &self,
        object: &Arc<Object>,
        length: Option<u64>,
        max_bytes: u64,
    ) -> Keeping {
        keeping_of(&self.cache, &self.ask, self.id, object, length, max_bytes)
    }

    fn coded_head(&self, coding: Coding) -> Draft {
        let mut object = made_object(&self.source.object, &self.key, coding.token());
        if let Ok(token) = HeaderValue::try_from(coding.token()) {
            object.headers.insert(CONTENT_ENCODING, token);
        }
        object.detail = coding.token().into();
        object
    }
}

enum Step {
    Bytes(Bytes),
    /// The source has paused: what is inside goes out.
    Pause,
    End,
}

/// The next piece; a pause when none is ready and bytes went in since the last one.
async fn next_step(reader: &mut super::Reader, owing: &mut bool) -> Result<Step, FillError> {
    let step = std::future::poll_fn(|context| match reader.poll_next(context) {
        Poll::Pending if *owing => Poll::Ready(Ok(Step::Pause)),
        Poll::Pending => Poll::Pending,
        Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Ok(Step::Bytes(bytes))),
        Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
        Poll::Ready(None) => Poll::Ready(Ok(Step::End)),
    })
    .await?;
    *owing = matches!(step, Step::Bytes(_));
    Ok(step)
}

/// One step of work; a large one waits for its turn and runs away from the runtime's own threads.
async fn encode(encoder: &mut Option<Encoder>, step: Step, turns: &Semaphore) -> io::Result<Bytes> {
    let Some(mut own) = encoder.take() else {
        return Err(io::Error::other("the encoder has ended"));
    };
    let large = matches!(&step, Step::Bytes(bytes) if bytes.len() > INLINE_ENCODING_BYTES);
    let work = move || match step {
        Step::Bytes(bytes) => own.push(&bytes).map(|coded| (coded, Some(own))),
        Step::Pause => own.flush().map(|coded| (coded, Some(own))),
        Step::End => own.finish().map(|coded| (coded, None)),
    };
    let (coded, back) = if large {
        let _turn = turns.acquire().await;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)??
    } else {
        work()?
    };
    *encoder = back;
    Ok(coded)
}
