use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::store::{Draft, Object};
use crate::variant::{Coding, Encoder, cpu_time};

use super::FillError;
use super::codings::Effort;
use super::derive::Work;
use super::flight::{Head, HeadBody, Landing, Pilot};
use super::form::{coded_object, keeping_of, tells_digest};
use super::install::Keeping;

/// Larger pieces are encoded away from the runtime's threads.
const INLINE_ENCODING_BYTES: usize = 16 << 10;

impl Work {
    /// Streams: the first bytes go out coded while the source still grows, and whenever it pauses.
    pub(super) async fn compress(
        mut self,
        coding: Coding,
        level: u32,
        pilot: Pilot,
        mut landing: Landing,
    ) {
        match self.sibling(coding).await {
            Ok(Some(found)) => return self.give(coding, found, pilot, landing).await,
            Ok(None) => {}
            Err(error) => {
                landing.close();
                return pilot.fail(&error);
            }
        }
        let turns = Arc::clone(&self.cache.encoding);
        let story = &self.source.story;
        let storable = story.stored || story.forward.is_none() || story.tier.is_some();
        let object = Arc::new(self.coded_head(coding, level).seal());
        pilot.publish_head(Head {
            object: Arc::clone(&object),
            length: None,
            stored: Ok(()),
            body: HeadBody::Growing,
            personal: false,
            vary: None,
        });
        let max_bytes = self.ask.zone.policy.max_object_bytes;
        // The digest of its bytes is known when they are all there: the stored head tells it.
        let is_digested = tells_digest(&self.source.object);
        let mut keeping = storable.then(|| {
            let keeping = self.keeping(&object, None, max_bytes);
            keeping.digested(is_digested)
        });
        let (cache, id, ask) = (Arc::clone(&self.cache), self.id, Arc::clone(&self.ask));
        let ends_with_readers = self.ends_with_readers(storable);
        let mut reader = self
            .source
            .into_reader(&cache, &self.ask.zone.store, 0, None);
        let mut encoder = Some(Encoder::new(coding, level));
        let mut owing = false;
        let mut spent = Spent::default();
        let outcome = loop {
            let step = tokio::select! {
                biased;
                step = next_step(&mut reader, &mut owing) => step,
                () = pilot.abandoned(), if ends_with_readers => Err(FillError::Abandoned),
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => break Err(error),
            };
            let last = matches!(step, Step::End);
            let coded = match encode(&mut encoder, step, &turns, &mut spent).await {
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
                let bytes = (spent.bytes_in, spent.bytes_out);
                cache
                    .codings
                    .made(&ask.zone.name, (coding, Effort::First), bytes, spent.cpu);
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

    /// Whether nothing is to be gained from going on when nobody reads: what is not kept, and a growing source of unknown
    /// length, which may never end.
    pub(super) fn ends_with_readers(&self, storable: bool) -> bool {
        !storable || self.source.is_growing() && self.source.length.is_none()
    }

    pub(super) fn keeping(
        &self,
        object: &Arc<Object>,
        length: Option<u64>,
        max_bytes: u64,
    ) -> Keeping {
        keeping_of(&self.cache, &self.ask, self.id, object, length, max_bytes)
    }

    fn coded_head(&self, coding: Coding, level: u32) -> Draft {
        let mut object = coded_object(&self.source.object, &self.key, coding.token());
        object.detail = format!("{};level={level}", coding.token()).into();
        object
    }
}

/// What a job has taken and given so far.
#[derive(Default)]
struct Spent {
    bytes_in: u64,
    bytes_out: u64,
    cpu: Duration,
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
async fn encode(
    encoder: &mut Option<Encoder>,
    step: Step,
    turns: &Semaphore,
    spent: &mut Spent,
) -> io::Result<Bytes> {
    let Some(mut own) = encoder.take() else {
        return Err(io::Error::other("the encoder has ended"));
    };
    let large = matches!(&step, Step::Bytes(bytes) if bytes.len() > INLINE_ENCODING_BYTES);
    if let Step::Bytes(bytes) = &step {
        spent.bytes_in += bytes.len() as u64;
    }
    let work = move || {
        let begun = cpu_time();
        let done = match step {
            Step::Bytes(bytes) => own.push(&bytes).map(|coded| (coded, Some(own))),
            Step::Pause => own.flush().map(|coded| (coded, Some(own))),
            Step::End => own.finish().map(|coded| (coded, None)),
        };
        done.map(|(coded, back)| (coded, back, cpu_time().saturating_sub(begun)))
    };
    let (coded, back, cpu) = if large {
        let _turn = turns.acquire().await;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)??
    } else {
        work()?
    };
    spent.bytes_out += coded.len() as u64;
    spent.cpu += cpu;
    *encoder = back;
    Ok(coded)
}
