use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::super::config::{Coding, CompressionWorkers};
use super::{DeltaCoding, DictionaryHash, Encoder, encode_delta, gzip};

/// Bytes of content between two looks at whether the result is still wanted.
const PIECE_BYTES: usize = 128 << 10;

/// Below everything that answers requests, and below the threads for pictures.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// A body coded at the best level, and what that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestCoded {
    /// The coded body.
    pub bytes: Bytes,
    /// Time of the processor.
    pub cpu: Duration,
}

/// Threads of low priority that code whole bodies at the best level.
pub struct BestCoder {
    jobs: SyncSender<Job>,
}

struct Job {
    work: Work,
    level: u32,
    content: Bytes,
    done: oneshot::Sender<io::Result<BestCoded>>,
}

enum Work {
    Whole(Coding),
    /// Against a dictionary, whose hash is this.
    Delta(DeltaCoding, Bytes, DictionaryHash),
}

impl Job {
    /// `None` when nobody listens any more.
    fn run(&self) -> io::Result<Option<Bytes>> {
        match &self.work {
            _ if self.done.is_closed() => Ok(None),
            Work::Whole(Coding::Gzip) => {
                gzip::encode_best(self.level, &self.content).map(|coded| Some(coded.into()))
            }
            Work::Whole(coding) => encode_best(*coding, self.level, &self.content, &|| {
                !self.done.is_closed()
            }),
            Work::Delta(coding, dictionary, hash) => {
                encode_delta(*coding, self.level, dictionary, hash, &self.content).map(Some)
            }
        }
    }
}

impl BestCoder {
    /// Starts the threads. They end with it, each after its job.
    #[must_use]
    pub fn new(workers: &CompressionWorkers) -> Self {
        let (jobs, inbox) = sync_channel(workers.queue.max(1));
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..workers.threads.max(1) {
            let inbox = Arc::clone(&inbox);
            let spawned = std::thread::Builder::new()
                .name(format!("coding-{number}"))
                .spawn(move || work(&inbox));
            if let Err(error) = spawned {
                // First levels stay.
                tracing::warn!(%error, "a thread for codings could not be started");
            }
        }
        Self { jobs }
    }

    /// Codes a body. `None` when the queue is full, or the threads are gone.
    ///
    /// Cancel-safe: dropping the future ends the job soon.
    ///
    /// # Errors
    /// The coder failed (no memory).
    pub async fn encode(
        &self,
        coding: Coding,
        level: u32,
        content: Bytes,
    ) -> Option<io::Result<BestCoded>> {
        self.hand_in(Work::Whole(coding), level, content).await
    }

    /// As [`BestCoder::encode`], against a dictionary whose SHA-256 is `hash`.
    ///
    /// # Errors
    /// As [`encode_delta`].
    pub async fn encode_delta(
        &self,
        coding: DeltaCoding,
        level: u32,
        dictionary: Bytes,
        hash: DictionaryHash,
        content: Bytes,
    ) -> Option<io::Result<BestCoded>> {
        let work = Work::Delta(coding, dictionary, hash);
        self.hand_in(work, level, content).await
    }

    async fn hand_in(
        &self,
        work: Work,
        level: u32,
        content: Bytes,
    ) -> Option<io::Result<BestCoded>> {
        let (done, result) = oneshot::channel();
        let job = Job {
            work,
            level,
            content,
            done,
        };
        self.jobs.try_send(job).ok()?;
        result.await.ok()
    }
}

fn work(inbox: &Mutex<Receiver<Job>>) {
    be_nice();
    // Ends when the coder is dropped.
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let begun = cpu_time();
        let coded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run()));
        let cpu = cpu_time().saturating_sub(begun);
        let coded = match coded {
            Ok(Ok(Some(bytes))) => Ok(BestCoded { bytes, cpu }),
            Ok(Ok(None)) => continue,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the coder panicked")),
        };
        let _unwanted = job.done.send(coded);
    }
}

/// Codes in pieces; `None` when `goes_on` says no.
fn encode_best(
    coding: Coding,
    level: u32,
    content: &[u8],
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Option<Bytes>> {
    let mut encoder = Encoder::of_length(coding, level, content.len());
    let mut coded = Vec::new();
    for piece in content.chunks(PIECE_BYTES) {
        if !goes_on() {
            return Ok(None);
        }
        coded.extend_from_slice(&encoder.push(piece)?);
    }
    coded.extend_from_slice(&encoder.finish()?);
    Ok(Some(Bytes::from(coded.into_boxed_slice())))
}

/// On Linux niceness belongs to the thread; elsewhere it would slow the whole process.
fn be_nice() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread for codings keeps its priority");
    }
}

/// Time of the processor that this thread has taken.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn script() -> Vec<u8> {
        (0..4000_u32)
            .flat_map(|n| {
                format!(
                    "const v{n} = f({}, \"{}\");\n",
                    n.wrapping_mul(7919) % 1009,
                    n % 37
                )
                .into_bytes()
            })
            .collect()
    }

    #[tokio::test]
    async fn best_is_whole_and_not_larger_than_first() {
        let coder = BestCoder::new(&CompressionWorkers {
            threads: 1,
            queue: 4,
        });
        let content = Bytes::from(script());
        for (coding, first, best) in [
            (Coding::Zstd, 3, 19),
            (Coding::Brotli, 5, 11),
            (Coding::Gzip, 6, 9),
        ] {
            let coded = coder
                .encode(coding, best, content.clone())
                .await
                .unwrap()
                .unwrap();
            assert!(coded.cpu > Duration::ZERO);
            assert_eq!(decode(coding, &coded.bytes, 1 << 20).unwrap(), content);
            let quick = encode(coding, first, &content).unwrap();
            assert!(coded.bytes.len() <= quick.len(), "{coding:?}");
        }
        let empty = coder.encode(Coding::Brotli, 11, Bytes::new()).await;
        assert_eq!(
            decode(Coding::Brotli, &empty.unwrap().unwrap().bytes, 0).unwrap(),
            Bytes::new()
        );
    }

    #[test]
    fn in_pieces_it_is_as_small_as_at_once() {
        let content = script();
        for coding in CODINGS {
            let pieces = encode_best(coding, 9, &content, &|| true).unwrap().unwrap();
            let whole = encode(coding, 9, &content).unwrap();
            let (pieces, whole) = (pieces.len() as f64, whole.len() as f64);
            assert!(pieces <= whole * 1.003, "{coding:?}: {pieces} of {whole}");
        }
    }

    #[test]
    fn gzip_at_its_best_is_smaller_than_what_streams() {
        let content = script();
        let best = gzip::encode_best(9, &content).unwrap();
        assert_eq!(decode(Coding::Gzip, &best, 1 << 20).unwrap(), content);
        let streamed = encode(Coding::Gzip, 9, &content).unwrap();
        assert!(
            best.len() * 100 < streamed.len() * 99,
            "{} of {}",
            best.len(),
            streamed.len()
        );
        for level in [1, 5] {
            let coded = gzip::encode_best(level, &content).unwrap();
            assert_eq!(decode(Coding::Gzip, &coded, 1 << 20).unwrap(), content);
        }
        let empty = gzip::encode_best(9, b"").unwrap();
        assert!(decode(Coding::Gzip, &empty, 0).unwrap().is_empty());
    }

    #[test]
    fn what_nobody_wants_stops() {
        let content = vec![7; 1 << 20];
        let coded = encode_best(Coding::Brotli, 11, &content, &|| false).unwrap();
        assert_eq!(coded, None);
    }
}
