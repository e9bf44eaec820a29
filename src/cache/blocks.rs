use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::clock::SharedClock;
use crate::origin::{self, RangeRequests};
use crate::policy;
use crate::semantics::range::ContentRange;
use crate::store::{CHUNK_BYTES, Entry, EntryKey, Newcomer, Object, Placement, SiteStore, Store};
use crate::telemetry::FillOutcome;

use super::marks::{Mark, Marks};
use super::{Ask, FillError};

/// Bytes of a block: the parts in which objects are pulled are those in which they are stored.
pub(super) const BLOCK: u64 = CHUNK_BYTES as u64;

/// Blocks that one fetch asks for at most: a reader in sequence reads this far ahead.
pub(super) const SPAN_MAX: u32 = 16;

/// Fetches of blocks at one time. Each holds one block that is not whole yet, so this bounds their memory.
const FETCHES_MAX: usize = 128;

/// How long a fetch waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// How long it is remembered that an origin gives no usable parts of a URL.
const NO_PARTS_FOR: Duration = Duration::from_secs(600);

/// How long readers of a version that is the origin's no more are told so without asking it again.
const CHANGED_FOR: Duration = Duration::from_secs(60);

/// Blocks that somebody reads or waits for, whoever keeps them: what one reader pulls or holds, the others share.
pub(super) struct Blocks {
    store: Arc<Store>,
    clock: SharedClock,
    /// Connections to origins live on the fills' runtime, whoever asks.
    fills: Handle,
    marks: Arc<Marks>,
    turns: Semaphore,
    /// An entry lasts as long as its bytes are held, or its fetch runs.
    shelf: Mutex<HashMap<BlockKey, Slot>>,
}

/// Version and number.
type BlockKey = (u128, u32);

enum Slot {
    Held(Weak<Lent>),
    Coming(Arc<Coming>),
}

/// A block that is being pulled.
struct Coming {
    outcome: watch::Sender<Option<Outcome>>,
    span: Arc<Span>,
}

type Outcome = Result<Bytes, FillError>;

/// The blocks of one fetch, and how many want them.
#[derive(Default)]
struct Span {
    wanted: AtomicUsize,
}

/// Keeps a fetch going; without one it stops behind the block that is on its way.
pub(super) struct Interest(Arc<Span>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A block's bytes, taken off the shelf when nobody holds them any more.
struct Lent {
    bytes: Bytes,
    key: BlockKey,
    blocks: Weak<Blocks>,
}

struct Loan(Arc<Lent>);

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(blocks) = self.blocks.upgrade() else {
            return;
        };
        if let Place::Occupied(slot) = blocks.shelf.lock().entry(self.key)
            && matches!(slot.get(), Slot::Held(held) if held.strong_count() == 0)
        {
            slot.remove();
        }
    }
}

/// What a reader needs.
pub(super) struct Wanted {
    pub(super) version: u128,
    pub(super) number: u32,
    /// Its right length, if that is known: a stored piece of another length is as good as lost.
    pub(super) length: Option<usize>,
    /// The last block that this reader will want.
    pub(super) last: u32,
    /// Blocks that may be pulled at one time, this one among them.
    pub(super) span: u32,
    /// Where what is read from disk goes.
    pub(super) placement: Placement,
    pub(super) store: Arc<SiteStore>,
    pub(super) source: Option<Arc<BlockSource>>,
}

/// A block, and what keeps those behind it coming.
pub(super) struct Block {
    pub(super) bytes: Bytes,
    pub(super) interest: Option<Interest>,
}

enum OnShelf {
    Held(Bytes),
    Coming(watch::Receiver<Option<Outcome>>, Interest),
}

impl Blocks {
    pub(super) fn new(
        store: &Arc<Store>,
        clock: &SharedClock,
        fills: &Handle,
        marks: &Arc<Marks>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            fills: fills.clone(),
            marks: Arc::clone(marks),
            turns: Semaphore::new(FETCHES_MAX),
            shelf: Mutex::default(),
        })
    }

    /// The block from wherever it is: from other readers, a tier, a fetch that runs, or a new one. Cancel-safe.
    ///
    /// # Errors
    /// `Changed` when the origin has another version, `Hole` when it cannot be had again, else what the fetch
    /// failed with.
    pub(super) async fn block(self: &Arc<Self>, wanted: &Wanted) -> Result<Block, FillError> {
        let key = (wanted.version, wanted.number);
        let found = look(&self.shelf.lock(), key);
        if let Some(found) = found {
            return found.bytes().await;
        }
        let stored = EntryKey::chunk(wanted.version, wanted.number);
        if let Some((Entry::Chunk(bytes), _)) =
            wanted.store.load_placed(&stored, wanted.placement).await
            && wanted.length.is_none_or(|length| length == bytes.len())
        {
            let bytes = match wanted.placement {
                // Readers of different speeds would each have a copy of their own of what memory does not keep.
                Placement::DiskPreferred => self.lend(key, bytes),
                Placement::MemoryAndDisk => bytes,
            };
            return Ok(Block {
                bytes,
                interest: None,
            });
        }
        self.fetched(wanted)?.bytes().await
    }

    /// Whether the block need not be pulled, as far as can be told without waiting.
    pub(super) fn may_have(&self, store: &SiteStore, version: u128, number: u32) -> bool {
        is_stored(store, version, number)
            || matches!(self.shelf.lock().get(&(version, number)), Some(Slot::Held(held)) if held.strong_count() > 0)
    }

    /// Whether the block is being pulled.
    pub(super) fn is_coming(&self, version: u128, number: u32) -> bool {
        matches!(
            self.shelf.lock().get(&(version, number)),
            Some(Slot::Coming(_))
        )
    }

    /// Starts to pull a block that will be wanted next, unless it is there or coming.
    pub(super) fn ahead(self: &Arc<Self>, wanted: &Wanted) -> Option<Interest> {
        let (version, number) = (wanted.version, wanted.number);
        if self.may_have(&wanted.store, version, number) || self.is_coming(version, number) {
            return None;
        }
        match self.fetched(wanted) {
            Ok(OnShelf::Coming(_, interest)) => Some(interest),
            // Whoever needs it is told what is wrong with it.
            Ok(OnShelf::Held(_)) | Err(_) => None,
        }
    }

    /// Joins the fetch of the block, or starts one of it and of those behind it that are missing, too.
    fn fetched(self: &Arc<Self>, wanted: &Wanted) -> Result<OnShelf, FillError> {
        let source = wanted.source.as_ref().ok_or(FillError::Hole)?;
        let uptime = self.clock.uptime();
        if matches!(self.marks.of(wanted.version, uptime), Some(Mark::Changed)) {
            return Err(FillError::Changed);
        }
        if self.gives_no_parts(&source.ask) {
            return Err(FillError::Hole);
        }
        let last = wanted
            .last
            .min(wanted.number.saturating_add(wanted.span.max(1) - 1))
            .min(source.last_block());
        // Before the lock: a tier that makes room takes that lock when it lets go of a block.
        let missing = (wanted.number.saturating_add(1)..=last)
            .take_while(|number| !is_stored(&wanted.store, wanted.version, *number))
            .count();
        let mut shelf = self.shelf.lock();
        if let Some(found) = look(&shelf, (wanted.version, wanted.number)) {
            return Ok(found);
        }
        let mut fetch = Fetch::new(self, source);
        let (coming, outcome) = fetch.add(wanted.number, &mut shelf);
        for number in (wanted.number.saturating_add(1)..=last).take(missing) {
            if shelf.contains_key(&(wanted.version, number)) {
                break;
            }
            fetch.add(number, &mut shelf);
        }
        let interest = coming.join();
        drop(shelf);
        self.fills.spawn(fetch.run());
        Ok(OnShelf::Coming(outcome, interest))
    }

    /// Announces a block whose answer is there already: readers wait for it from now on.
    pub(super) fn announce(self: &Arc<Self>, source: &Arc<BlockSource>, number: u32) -> Fetch {
        let mut fetch = Fetch::new(self, source);
        let (coming, _) = fetch.add(number, &mut self.shelf.lock());
        fetch.own = Some(coming.join());
        fetch
    }

    /// Puts bytes where other readers of the block find them as long as somebody holds them.
    fn lend(self: &Arc<Self>, key: BlockKey, bytes: Bytes) -> Bytes {
        let lent = Arc::new(Lent {
            bytes,
            key,
            blocks: Arc::downgrade(self),
        });
        let slot = Slot::Held(Arc::downgrade(&lent));
        let mut shelf = self.shelf.lock();
        if let Some(Slot::Held(held)) = shelf.get(&key)
            && let Some(other) = held.upgrade()
        {
            return Bytes::from_owner(Loan(other));
        }
        let before = shelf.insert(key, slot);
        drop(shelf);
        // Behind the lock: it may hold the last of somebody's bytes.
        drop(before);
        Bytes::from_owner(Loan(lent))
    }

    /// Whether the origin is known not to give usable parts of this URL.
    pub(super) fn gives_no_parts(&self, ask: &Ask) -> bool {
        let mark = self.marks.of(self.parts_id(ask), self.clock.uptime());
        matches!(mark, Some(Mark::NoParts))
    }

    pub(super) fn remember_no_parts(&self, ask: &Ask) {
        let until = self.clock.uptime() + NO_PARTS_FOR;
        self.marks.set(self.parts_id(ask), Mark::NoParts, until);
    }

    fn parts_id(&self, ask: &Ask) -> u128 {
        self.store.hash(&[b"parts", &ask.id.to_le_bytes()])
    }

    /// Drops the head at `id` if it is of this version: the next request starts anew.
    pub(super) fn forget(&self, store: &SiteStore, id: u128, version: u128) {
        let key = EntryKey::head(id);
        let is_another = matches!(
            store.memory(&key),
            Some(Entry::Object(object)) if object.version != version
        );
        if !is_another {
            store.remove(&key);
        }
    }
}

fn is_stored(store: &SiteStore, version: u128, number: u32) -> bool {
    store.may_contain(&EntryKey::chunk(version, number))
}

fn look(shelf: &HashMap<BlockKey, Slot>, key: BlockKey) -> Option<OnShelf> {
    match shelf.get(&key)? {
        Slot::Held(held) => {
            let bytes = Bytes::from_owner(Loan(held.upgrade()?));
            Some(OnShelf::Held(bytes))
        }
        Slot::Coming(coming) => Some(OnShelf::Coming(coming.outcome.subscribe(), coming.join())),
    }
}

impl OnShelf {
    async fn bytes(self) -> Result<Block, FillError> {
        match self {
            Self::Held(bytes) => Ok(Block {
                bytes,
                interest: None,
            }),
            Self::Coming(mut outcome, interest) => {
                let came = match outcome.wait_for(Option::is_some).await {
                    Ok(came) => came.clone(),
                    // The fetch was dropped: the node stops.
                    Err(_) => None,
                };
                Ok(Block {
                    bytes: came.unwrap_or(Err(FillError::Abandoned))?,
                    interest: Some(interest),
                })
            }
        }
    }
}

impl Coming {
    /// Only under the shelf's lock: there the fetch decides that nobody wants the rest.
    fn join(&self) -> Interest {
        self.span.wanted.fetch_add(1, Ordering::AcqRel);
        Interest(Arc::clone(&self.span))
    }
}

/// How the blocks of one version are asked for: the request of its object with a range that only holds for the very
/// representation that is stored (RFC 9110 §13.1.5).
pub(super) struct BlockSource {
    ask: Arc<Ask>,
    /// Where the object's head is kept.
    id: u128,
    varied: HeaderMap,
    object: Arc<Object>,
    validator: HeaderValue,
    length: u64,
    placement: Placement,
}

impl BlockSource {
    /// `None` when parts of it could not be told from those of another version, or are not to be asked for.
    /// `placement` is where what is pulled goes.
    pub(super) fn of(
        ask: &Arc<Ask>,
        id: u128,
        object: &Arc<Object>,
        length: Option<u64>,
        varied: HeaderMap,
        placement: Placement,
    ) -> Option<Arc<Self>> {
        let length = length.filter(|length| *length > BLOCK && block_at(length - 1).is_some())?;
        if object.status != StatusCode::OK
            || ask.zone.origin.config().range_requests == RangeRequests::Never
        {
            return None;
        }
        let validator = policy::strong_validator(&object.headers())?.clone();
        Some(Arc::new(Self {
            ask: Arc::clone(ask),
            id,
            varied,
            object: Arc::clone(object),
            validator,
            length,
            placement,
        }))
    }

    fn version(&self) -> u128 {
        self.object.version
    }

    fn last_block(&self) -> u32 {
        block_at(self.length - 1).unwrap_or(u32::MAX)
    }

    /// Where block `number` ends.
    fn end_of(&self, number: u32) -> u64 {
        ((u64::from(number) + 1) * BLOCK).min(self.length)
    }

    /// Whether an answer is exactly the part of exactly this version that was asked for.
    fn judge(
        &self,
        response: &origin::Response,
        part: &std::ops::Range<u64>,
    ) -> Result<(), Misfit> {
        let is_same = policy::is_part_of(&self.object.headers(), &response.headers);
        match response.status {
            StatusCode::PARTIAL_CONTENT => {
                let told = response
                    .headers
                    .get(http::header::CONTENT_RANGE)
                    .and_then(ContentRange::parse)
                    .ok_or(Misfit::NoParts)?;
                if !is_same || told.complete_bytes != self.length {
                    return Err(Misfit::Changed);
                }
                let fits = told.part == *part
                    && response
                        .content_length
                        .is_none_or(|length| length == part.end - part.start);
                if fits { Ok(()) } else { Err(Misfit::NoParts) }
            }
            // If-Range was ignored, or does not hold.
            StatusCode::OK if is_same => Err(Misfit::NoParts),
            StatusCode::OK
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::RANGE_NOT_SATISFIABLE => Err(Misfit::Changed),
            status if status.is_redirection() => Err(Misfit::Changed),
            status => Err(Misfit::Status(status)),
        }
    }
}

/// Why an answer cannot be used.
enum Misfit {
    Changed,
    NoParts,
    Status(StatusCode),
}

/// The block that `position` lies in.
pub(super) fn block_at(position: u64) -> Option<u32> {
    u32::try_from(position / BLOCK).ok()
}

/// One fetch of consecutive blocks.
pub(super) struct Fetch {
    blocks: Arc<Blocks>,
    source: Arc<BlockSource>,
    /// Those that have not come yet.
    coming: VecDeque<(u32, Arc<Coming>)>,
    span: Arc<Span>,
    /// Whoever started it and wants it whatever the readers do.
    own: Option<Interest>,
    received: u64,
    /// Whether each block found a place.
    kept: bool,
}

impl Fetch {
    fn new(blocks: &Arc<Blocks>, source: &Arc<BlockSource>) -> Self {
        Self {
            blocks: Arc::clone(blocks),
            source: Arc::clone(source),
            coming: VecDeque::new(),
            span: Arc::default(),
            own: None,
            received: 0,
            kept: true,
        }
    }

    fn add(
        &mut self,
        number: u32,
        shelf: &mut HashMap<BlockKey, Slot>,
    ) -> (Arc<Coming>, watch::Receiver<Option<Outcome>>) {
        let (sender, outcome) = watch::channel(None);
        let coming = Arc::new(Coming {
            outcome: sender,
            span: Arc::clone(&self.span),
        });
        let slot = Slot::Coming(Arc::clone(&coming));
        shelf.insert((self.source.version(), number), slot);
        self.coming.push_back((number, Arc::clone(&coming)));
        (coming, outcome)
    }

    async fn run(mut self) {
        let metrics = Arc::clone(&self.source.ask.zone.metrics);
        let outcome = match self.fetch().await {
            Ok(()) if !self.coming.is_empty() => FillOutcome::Abandoned,
            Ok(()) if self.kept => FillOutcome::Stored,
            Ok(()) => FillOutcome::NotStored,
            Err(error) => {
                tracing::debug!(site = %self.source.ask.zone.name, %error, "fetch of blocks failed");
                if let FillError::Origin(error) = &error {
                    metrics.origin_error(error.kind());
                }
                self.fail(&error);
                FillOutcome::Failed
            }
        };
        metrics.range_fetch(outcome, self.received);
    }

    async fn fetch(&mut self) -> Result<(), FillError> {
        let blocks = Arc::clone(&self.blocks);
        let Ok(Ok(_turn)) = timeout(TURN_PATIENCE, blocks.turns.acquire()).await else {
            return Err(FillError::Overloaded);
        };
        // Each turn but the last brings a block, or ends it.
        while !self.coming.is_empty() && !self.is_unwanted() {
            let left = self.coming.len();
            match self.ask().await {
                Ok(()) => {}
                // Cut off on the way: the rest is asked for again.
                Err(FillError::Origin(_)) if self.coming.len() < left => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), FillError> {
        let (Some((first, _)), Some((last, _))) = (self.coming.front(), self.coming.back()) else {
            return Ok(());
        };
        let source = Arc::clone(&self.source);
        let part = u64::from(*first) * BLOCK..source.end_of(*last);
        let range = HeaderValue::try_from(format!("bytes={}-{}", part.start, part.end - 1))
            .map_err(|_| FillError::Hole)?;
        let request = source.ask.origin_request(
            &source.varied,
            vec![(RANGE, range), (IF_RANGE, source.validator.clone())],
        );
        let response = source.ask.zone.origin.fetch(request).await?;
        match source.judge(&response, &part) {
            Ok(()) => self.receive(response.body).await,
            Err(Misfit::Changed) => {
                self.blocks.marks.set(
                    source.version(),
                    Mark::Changed,
                    self.blocks.clock.uptime() + CHANGED_FOR,
                );
                Err(FillError::Changed)
            }
            Err(Misfit::NoParts) => {
                self.blocks.remember_no_parts(&source.ask);
                Err(FillError::Hole)
            }
            Err(Misfit::Status(status)) => Err(FillError::Status(status)),
        }
    }

    /// Takes the blocks out of a body that begins with the next of them, until it ends or nobody wants the rest.
    async fn receive(&mut self, mut body: origin::Body) -> Result<(), FillError> {
        let mut piece = Bytes::new();
        while let Some(number) = self.coming.front().map(|(number, _)| *number) {
            if self.is_unwanted() {
                return Ok(());
            }
            let length = self.source.end_of(number) - u64::from(number) * BLOCK;
            let length = usize::try_from(length).map_err(|_| FillError::Hole)?;
            let mut block = BytesMut::with_capacity(length);
            while block.len() < length {
                if piece.is_empty() {
                    piece = body.chunk().await?.ok_or(FillError::Hole)?;
                    self.received += piece.len() as u64;
                }
                let now = piece.split_to(piece.len().min(length - block.len()));
                block.extend_from_slice(&now);
            }
            self.arrived(number, block.freeze()).await;
        }
        // The end is read, too: then the connection serves again.
        if piece.is_empty() && body.chunk().await?.is_none() {
            Ok(())
        } else {
            Err(FillError::Hole)
        }
    }

    /// Hands a block to those who wait for it, then to the tiers. It stays on the shelf until they have it.
    async fn arrived(&mut self, number: u32, bytes: Bytes) {
        let Some((_, coming)) = self.coming.pop_front() else {
            return;
        };
        let version = self.source.version();
        let held = self.blocks.lend((version, number), bytes);
        coming.outcome.send_replace(Some(Ok(held.clone())));
        drop(coming);
        let key = EntryKey::chunk(version, number);
        let ask = &self.source.ask;
        // One answer for all blocks of the object, whoever pulls them.
        let _admission = ask.zone.store.admit(&Newcomer {
            id: self.source.id,
            version,
            bytes: Some(self.source.length),
            whole: false,
        });
        let kept = ask
            .zone
            .store
            .insert(key, Entry::Chunk(held), self.source.placement)
            .await;
        self.kept &= kept.memory || kept.disk;
    }

    /// Whether nobody wants what has not come yet; then nobody can join it any more.
    fn is_unwanted(&self) -> bool {
        let mut shelf = self.blocks.shelf.lock();
        let unwanted = self.span.wanted.load(Ordering::Acquire) == 0;
        if unwanted {
            self.take_off(&mut shelf);
        }
        unwanted
    }

    /// None of these slots holds bytes, so none is the last to do so.
    fn take_off(&self, shelf: &mut HashMap<BlockKey, Slot>) {
        for (number, coming) in &self.coming {
            if let Place::Occupied(slot) = shelf.entry((self.source.version(), *number))
                && matches!(slot.get(), Slot::Coming(own) if Arc::ptr_eq(own, coming))
            {
                slot.remove();
            }
        }
    }

    fn fail(&mut self, error: &FillError) {
        self.take_off(&mut self.blocks.shelf.lock());
        for (_, coming) in self.coming.drain(..) {
            coming.outcome.send_replace(Some(Err(error.clone())));
        }
    }

    /// Takes the one block that was announced out of an answer that is there.
    pub(super) async fn receive_announced(mut self, body: origin::Body) -> (FillOutcome, u64) {
        let outcome = match self.receive(body).await {
            Ok(()) if self.kept => FillOutcome::Stored,
            Ok(()) => FillOutcome::NotStored,
            Err(error) => {
                self.fail(&error);
                FillOutcome::Failed
            }
        };
        (outcome, self.received)
    }
}

/// Whoever waits for what will not come is told.
impl Drop for Fetch {
    fn drop(&mut self) {
        self.fail(&FillError::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use crate::clock::ManualClock;
    use crate::store::{Config, MemoryConfig};

    use super::*;

    #[tokio::test]
    async fn a_block_is_found_as_long_as_somebody_holds_it() {
        let state = tempfile::tempdir().unwrap();
        let config = Config {
            memory: MemoryConfig::default(),
            disks: Vec::new(),
            state: state.path().to_owned(),
            max_clocks: 10,
        };
        let runtime = Handle::current();
        let store = Store::open(&config, runtime.clone()).await.unwrap();
        let clock: SharedClock = Arc::new(ManualClock::starting_at(SystemTime::UNIX_EPOCH));
        let blocks = Blocks::new(&store, &clock, &runtime, &Arc::default());
        let wanted = |number| Wanted {
            version: 7,
            number,
            length: None,
            last: number,
            span: 1,
            placement: Placement::DiskPreferred,
            store: store.site("demo"),
            source: None,
        };
        let held = blocks.lend((7, 3), Bytes::from_static(b"block"));
        let slice = held.slice(1..3);
        drop(held);
        assert!(blocks.may_have(&store.site("demo"), 7, 3));
        let found = blocks.block(&wanted(3)).await.unwrap();
        assert_eq!(found.bytes, "block");
        let again = blocks.lend((7, 3), Bytes::from_static(b"block"));
        assert_eq!(again.as_ptr(), found.bytes.as_ptr(), "one copy");
        drop((slice, found, again));
        assert!(!blocks.may_have(&store.site("demo"), 7, 3));
        assert!(blocks.shelf.lock().is_empty());
        let gone = blocks.block(&wanted(3)).await;
        assert!(matches!(gone, Err(FillError::Hole)));
    }
}
