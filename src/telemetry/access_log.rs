use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::config::AccessLogConfig;
use super::error::TelemetryError;
use super::metrics::Metrics;
use super::names;
use super::record::Record;

/// Records between the workers and the writer; at 200 000 requests a second and [`PAUSE`] some 4 000 wait.
/// A full queue drops, it never delays a request.
const QUEUE_RECORDS: usize = 16_384;

/// One write to the file.
const BATCH_BYTES: usize = 64 << 10;

/// How long the busy writer lets records gather. While it sleeps here, no worker pays for waking it up; when
/// nothing came it waits in the queue itself.
const PAUSE: Duration = Duration::from_millis(10);

/// The access log: JSON lines, written by a thread of its own.
pub struct AccessLog {
    queue: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    reopen: AtomicBool,
    recorded: AtomicU64,
    dropped_queue: AtomicU64,
    dropped_write: AtomicU64,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are records, and a box would be an allocation on the hot path"
)]
enum Message {
    Record(Record),
    /// Makes the writer look at the flags.
    Wake,
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
    Close,
}

impl AccessLog {
    /// Opens the file and starts the writer. A log that is not enabled takes records and forgets them.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or no thread can be started.
    pub fn start(config: &AccessLogConfig) -> Result<Self, TelemetryError> {
        if !config.enabled {
            return Ok(Self {
                queue: None,
                shared: Arc::default(),
                writer: Mutex::new(None),
            });
        }
        let sink = match &config.path {
            Some(path) => Sink::open(path).map_err(|source| TelemetryError::OpenAccessLog {
                path: path.clone(),
                source,
            })?,
            None => Sink::Stream(Box::new(io::stdout())),
        };
        Self::start_with(sink, QUEUE_RECORDS)
    }

    fn start_with(sink: Sink, queue_records: usize) -> Result<Self, TelemetryError> {
        let (queue, inbox) = sync_channel(queue_records);
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            inbox,
            sink,
            shared: Arc::clone(&shared),
            batch: Vec::with_capacity(BATCH_BYTES + 4096),
            batch_records: 0,
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run())
            .map_err(TelemetryError::StartThread)?;
        Ok(Self {
            queue: Some(queue),
            shared,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Whether it is worth making a [`Record`].
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands a record over. Never blocks: when the writer cannot keep up, the record is dropped and counted.
    pub fn record(&self, record: Record) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Message::Record(record)) {
            Ok(()) => &self.shared.recorded,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                &self.shared.dropped_queue
            }
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the file anew, for log rotation: whatever is recorded after this call goes to the new file.
    pub fn reopen(&self) {
        let Some(queue) = &self.queue else { return };
        self.shared.reopen.store(true, Ordering::Release);
        // A full queue needs no wake-up: its writer is awake and looks at the flag before each write.
        drop(queue.try_send(Message::Wake));
    }

    /// Waits until everything recorded before this call is with the system. Blocks: not for async code.
    pub fn flush(&self) {
        let Some(queue) = &self.queue else { return };
        let (done, wait) = sync_channel(1);
        if queue.send(Message::Flush(done)).is_ok() {
            // An error here means that the writer is gone, and then there is nothing to wait for.
            wait.recv().ok();
        }
    }

    /// Writes what is queued and ends the writer. Blocks until that is done; later records are dropped.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else {
            return;
        };
        if let Some(queue) = &self.queue {
            drop(queue.send(Message::Close));
        }
        if writer.join().is_err() {
            tracing::error!("the access log's thread ended in a panic");
        }
    }

    /// Records that are not in the file, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped_queue.load(Ordering::Relaxed)
            + self.shared.dropped_write.load(Ordering::Relaxed)
    }

    /// Makes the log's own counters part of the metrics.
    pub fn report_to(&self, metrics: &Metrics) {
        let shared = Arc::clone(&self.shared);
        metrics.register_source("access_log", move |exposition| {
            let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
            exposition.add(names::ACCESS_LOG_RECORDS, &[], read(&shared.recorded));
            for (reason, cell) in [
                ("queue", &shared.dropped_queue),
                ("write", &shared.dropped_write),
            ] {
                exposition.add(names::ACCESS_LOG_DROPPED, &[("reason", reason)], read(cell));
            }
        });
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("enabled", &self.is_enabled())
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Where the lines go.
enum Sink {
    File { path: PathBuf, file: File },
    Stream(Box<dyn Write + Send>),
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::File {
            path: path.to_owned(),
            file: append_to(path)?,
        })
    }

    /// Keeps the old file when the new one cannot be opened: lines in the wrong file beat lost ones.
    fn reopen(&mut self) {
        let Self::File { path, file } = self else {
            return;
        };
        match append_to(path) {
            Ok(new) => *file = new,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "access log could not be reopened");
            }
        }
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(batch),
            Self::Stream(stream) => stream.write_all(batch).and_then(|()| stream.flush()),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Writer {
    inbox: Receiver<Message>,
    sink: Sink,
    shared: Arc<Shared>,
    batch: Vec<u8>,
    batch_records: u64,
    /// So that a full disk is one warning and not one a batch.
    failing: bool,
}

/// Whether the writer goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Idle,
    Stop,
}

impl Writer {
    /// Ends at `Close`, or when every sender is gone.
    fn run(mut self) {
        while let Ok(message) = self.inbox.recv() {
            if self.take(message) == Next::Stop {
                break;
            }
            loop {
                if !self.batch.is_empty() {
                    thread::sleep(PAUSE);
                }
                match self.drain() {
                    Next::Continue => thread::sleep(PAUSE),
                    Next::Idle => break,
                    Next::Stop => return,
                }
            }
        }
        self.write_batch();
    }

    /// Takes all that is queued and writes it.
    fn drain(&mut self) -> Next {
        let mut taken = false;
        while let Ok(message) = self.inbox.try_recv() {
            taken = true;
            if self.take(message) == Next::Stop {
                return Next::Stop;
            }
        }
        self.write_batch();
        if taken { Next::Continue } else { Next::Idle }
    }

    fn take(&mut self, message: Message) -> Next {
        match message {
            Message::Record(record) => {
                record.write_to(&mut self.batch);
                self.batch_records += 1;
                if self.batch.len() >= BATCH_BYTES {
                    self.write_batch();
                }
            }
            Message::Wake => self.write_batch(),
            Message::Flush(done) => {
                self.write_batch();
                // Whoever asked may have given up waiting.
                done.try_send(()).ok();
            }
            Message::Close => {
                self.write_batch();
                return Next::Stop;
            }
        }
        Next::Continue
    }

    fn write_batch(&mut self) {
        if self.shared.reopen.swap(false, Ordering::Acquire) {
            self.sink.reopen();
        }
        if self.batch.is_empty() {
            return;
        }
        match self.sink.write(&self.batch) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.shared
                    .dropped_write
                    .fetch_add(self.batch_records, Ordering::Relaxed);
                if !self.failing {
                    tracing::warn!(%error, "access log could not be written; lines are dropped");
                }
                self.failing = true;
            }
        }
        self.batch.clear();
        self.batch_records = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Sender, channel};

    use super::super::config::MetricsConfig;
    use super::super::record::tests::record;
    use super::*;

    fn log_in(folder: &tempfile::TempDir) -> (AccessLog, PathBuf) {
        let path = folder.path().join("access.log");
        let config = AccessLogConfig {
            enabled: true,
            path: Some(path.clone()),
        };
        (AccessLog::start(&config).unwrap(), path)
    }

    fn targets(text: &str) -> Vec<String> {
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                value["target"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn lines_keep_the_order_of_one_thread_and_close_writes_all() {
        let folder = tempfile::tempdir().unwrap();
        let (log, path) = log_in(&folder);
        let expect: Vec<_> = (0..5000).map(|number| format!("/{number}")).collect();
        for target in &expect {
            log.record(record(target));
        }
        log.close();
        assert_eq!(targets(&fs::read_to_string(path).unwrap()), expect);
        assert_eq!(log.dropped(), 0);
        log.record(record("/late"));
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn an_existing_file_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        for target in ["/a", "/b"] {
            let (log, _) = log_in(&folder);
            log.record(record(target));
        }
        let text = fs::read_to_string(folder.path().join("access.log")).unwrap();
        assert_eq!(targets(&text), ["/a", "/b"]);
    }

    #[test]
    fn records_after_reopen_are_in_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (log, path) = log_in(&folder);
        let old = folder.path().join("access.log.1");
        log.record(record("/before"));
        log.flush();
        fs::rename(&path, &old).unwrap();
        log.reopen();
        log.record(record("/after"));
        log.flush();
        assert_eq!(targets(&fs::read_to_string(old).unwrap()), ["/before"]);
        assert_eq!(targets(&fs::read_to_string(path).unwrap()), ["/after"]);
    }

    #[test]
    fn a_log_that_is_off_takes_records_and_writes_nothing() {
        let config = AccessLogConfig {
            enabled: false,
            path: Some("/nonexistent/access.log".into()),
        };
        let log = AccessLog::start(&config).unwrap();
        assert!(!log.is_enabled());
        log.record(record("/"));
        log.reopen();
        log.flush();
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let config = AccessLogConfig {
            enabled: true,
            path: Some("/nonexistent/access.log".into()),
        };
        let error = AccessLog::start(&config).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/access.log"), "{error}");
        assert!(error.contains("[log.access]"), "{error}");
    }

    /// A sink that tells when a write has begun and ends it when it is told to.
    struct Gate {
        entered: Sender<()>,
        leave: Receiver<io::Result<()>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(()).unwrap();
            self.leave.recv().unwrap_or(Ok(()))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_writer_costs_records_and_never_blocks() {
        let (entered, has_entered) = channel();
        let (leave, may_leave) = channel();
        let sink = Sink::Stream(Box::new(Gate {
            entered,
            leave: may_leave,
        }));
        let log = AccessLog::start_with(sink, 4).unwrap();
        log.record(record("/first"));
        has_entered.recv().unwrap();
        for _ in 0..10 {
            log.record(record("/waiting"));
        }
        assert_eq!(log.dropped(), 6);

        leave.send(Err(io::Error::other("disk full"))).unwrap();
        drop(leave);
        log.close();
        assert_eq!(log.dropped(), 7, "the failed write lost one more");

        let metrics = Metrics::new(MetricsConfig::default());
        log.report_to(&metrics);
        let text = metrics.render();
        assert!(text.contains("brim_access_log_dropped_total{reason=\"queue\"} 6\n"));
        assert!(text.contains("brim_access_log_dropped_total{reason=\"write\"} 1\n"));
        assert!(text.contains("brim_access_log_records_total 5\n"));
    }
}
