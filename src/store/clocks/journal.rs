//! The clocks on stable storage: one thread owns the database, and commits what waits in one go. It gives
//! the numbers of invalidations, too, and writes those to their log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::log::{Frames, Record, Replay, TrafficLog};
use super::notes::{KEPT, Note, Noted};
use super::slot::{Invalidation, Marks, PurgeItem, RowKey, Slot, TrafficSlot};
use super::table::Tables;
use super::traffic::{Admission, Bound, TrafficChanges, TrafficPlan};
use super::witness::{Told, Witness};
use crate::clock::SharedClock;
use crate::store::StoreError;

const FILE: &str = "purge.redb";
const FORMAT: u64 = 1;

/// Calls that wait for the thread; further ones wait for room.
const CALLS_WAITING_MAX: usize = 1024;
/// Calls and items that share a commit; more would make the first of them wait too long.
const BATCH_CALLS_MAX: usize = 1024;
const BATCH_ITEMS_MAX: usize = 100_000;
/// The tables are read once, at start: the database's own cache is for its tree's upper pages only.
const CACHE_BYTES: usize = 8 << 20;

/// Clocks of invalidations that the node keeps. What they take is some 10 MiB of memory and 4 MiB of log;
/// a site that is written to by its users in so many places is better off with its own clock raised.
const TRAFFIC_MAX: usize = 65_536;
/// How many numbers are set aside at a time for invalidations: one commit, thus one fsync, for so many.
const NUMBERS_AHEAD: u64 = 4096;

const MARKS: TableDefinition<'static, &[u8], (u64, u64)> = TableDefinition::new("marks");
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
const NAMES: TableDefinition<'static, &str, &str> = TableDefinition::new("names");

/// What is to be said later of purges, by their numbers: a name and the words.
const NOTES: TableDefinition<'static, u64, (&str, &str)> = TableDefinition::new("notes");
/// What invalidations have left, while their log cannot be written.
const TRAFFIC: TableDefinition<'static, &[u8], (u64, u64)> = TableDefinition::new("traffic");

/// The bounds on the clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_clocks: usize,
    pub(super) max_traffic: usize,
}

impl Limits {
    pub(super) fn of(max_clocks: usize) -> Self {
        Self {
            max_clocks,
            max_traffic: TRAFFIC_MAX,
        }
    }
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Journal {
    calls: Mutex<Option<mpsc::Sender<Call>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Call {
    Purge(PurgeCall),
    Invalidate(InvalidateCall),
}

#[derive(Debug)]
struct PurgeCall {
    items: Vec<PurgeItem>,
    note: Option<Note>,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

#[derive(Debug)]
struct InvalidateCall {
    site: Box<str>,
    items: Vec<Invalidation>,
    answer: oneshot::Sender<Result<Invalidated, StoreError>>,
}

#[derive(Debug)]
enum Invalidated {
    Holds(u64),
    /// Not yet: these are to be handed in again after this time.
    Later(Vec<Invalidation>, Duration),
}

impl Call {
    fn items(&self) -> usize {
        match self {
            Self::Purge(call) => call.items.len(),
            Self::Invalidate(call) => call.items.len(),
        }
    }
}

impl Journal {
    /// Opens or makes the database, reads the log of invalidations, and starts the thread. Returns what
    /// is there and the database's name, too.
    pub(super) fn open(
        state: &Path,
        limits: Limits,
        clock: SharedClock,
    ) -> Result<(Self, Arc<Tables>, String), StoreError> {
        let path = state.join(FILE);
        let opened = match open_and_read(state, &path) {
            Err(failure) if is_corruption(&failure) => {
                // The purges in it are lost. That is safe: the new database has a new name, and the
                // disk tier starts empty when that changes.
                put_aside(&path, &failure)?;
                open_and_read(state, &path)?
            }
            opened => opened?,
        };
        let mut log = TrafficLog::new(state, &opened.identity);
        replay(&mut log, &opened)?;
        let mut witness = opened.witness;
        if let Err(error) = witness.tell(opened.sequence) {
            warn!(path = %path.display(), %error, "the number of the last purge was not noted");
        }
        let tables = Arc::new(opened.tables);
        let (calls, inbox) = mpsc::channel(CALLS_WAITING_MAX);
        let scribe = Scribe {
            state: state.to_owned(),
            path: path.clone(),
            database: Some(opened.database),
            durable: opened.sequence,
            witness,
            max_clocks: limits.max_clocks.max(1),
            clock,
            log,
            bound: Bound::new(limits.max_traffic),
            reserved: tables.sequence.load(Ordering::Acquire),
            has_rows: opened.has_rows,
            tables: Arc::clone(&tables),
        };
        let thread = std::thread::Builder::new()
            .name("purge-clocks".to_owned())
            .spawn(move || scribe.run(inbox))
            .map_err(|error| StoreError::state("start the thread of", path, error))?;
        let journal = Self {
            calls: Mutex::new(Some(calls)),
            thread: Mutex::new(Some(thread)),
        };
        Ok((journal, tables, opened.identity))
    }

    pub(super) async fn purge(
        &self,
        items: Vec<PurgeItem>,
        note: Option<Note>,
    ) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        let call = PurgeCall {
            items,
            note: note.filter(Note::fits),
            answer,
        };
        self.send(Call::Purge(call)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn invalidate(
        &self,
        site: &str,
        mut items: Vec<Invalidation>,
    ) -> Result<u64, StoreError> {
        // Ends when there is room: one site's clock may be raised each second, and makes some.
        loop {
            let (answer, answered) = oneshot::channel();
            let call = InvalidateCall {
                site: site.into(),
                items,
                answer,
            };
            self.send(Call::Invalidate(call)).await?;
            match answered.await.map_err(|_| StoreError::Closed)?? {
                Invalidated::Holds(sequence) => return Ok(sequence),
                Invalidated::Later(refused, wait) => {
                    items = refused;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn send(&self, call: Call) -> Result<(), StoreError> {
        // Held while waiting for the answer, the sender would keep the thread from ending.
        let calls = self.calls.lock().clone().ok_or(StoreError::Closed)?;
        calls.send(call).await.map_err(|_| StoreError::Closed)
    }

    /// Ends the thread once it has done what waits, and thereby lets the database go.
    pub(super) async fn close(&self) {
        self.calls.lock().take();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the thread has been printed by then, and a lost runtime leaves it to `drop`.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

impl Drop for Journal {
    /// Waits for the thread: a commit or two. Whoever opens the same state next finds it free.
    fn drop(&mut self) {
        self.calls.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            drop(thread.join());
        }
    }
}

/// The thread.
struct Scribe {
    state: PathBuf,
    path: PathBuf,
    /// The last number that the database was told.
    durable: u64,
    witness: Witness,
    /// `None` after an error: redb refuses to go on with a database that failed, so it is opened anew.
    database: Option<Database>,
    tables: Arc<Tables>,
    max_clocks: usize,
    clock: SharedClock,
    log: TrafficLog,
    bound: Bound,
    /// Invalidations get no number beyond this one, which the database knows: after a loss of power,
    /// which may take the log, no number is given twice.
    reserved: u64,
    /// Whether the database has any invalidations.
    has_rows: bool,
}

impl Scribe {
    /// Ends when nobody can call any more.
    fn run(mut self, mut inbox: mpsc::Receiver<Call>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut items = first.items();
            let mut batch = vec![first];
            while batch.len() < BATCH_CALLS_MAX && items < BATCH_ITEMS_MAX {
                let Ok(next) = inbox.try_recv() else { break };
                items += next.items();
                batch.push(next);
            }
            // These calls wait at the same time, so their order is free. Invalidations first: they
            // need not wait for the fsync.
            let (mut purges, mut invalidations) = (Vec::new(), Vec::new());
            for call in batch {
                match call {
                    Call::Purge(call) => purges.push(call),
                    Call::Invalidate(call) => invalidations.push(call),
                }
            }
            if !invalidations.is_empty() {
                self.serve_invalidations(invalidations);
            }
            if !purges.is_empty() {
                self.serve_purges(purges);
            }
        }
        // Not needed for a restart; it spares a machine that is switched off next the loss.
        if let Err(error) = self.log.sync() {
            warn!(path = %self.log.path().display(), %error, "the log of invalidations was not synced");
        }
    }

    fn serve_purges(&mut self, mut batch: Vec<PurgeCall>) {
        let plan = self.plan(&mut batch);
        let outcome = self.commit(&plan, &Rows::Leave);
        match outcome {
            Ok(()) => {
                let first = plan.first;
                plan.publish(&self.tables);
                for (call, sequence) in batch.into_iter().zip(first..) {
                    // Nobody there: the caller has gone away, the purge holds all the same.
                    drop(call.answer.send(Ok(sequence)));
                }
            }
            Err(failure) => {
                error!(error = %failure, "a purge could not be written");
                for call in batch {
                    drop(call.answer.send(Err(failure.clone())));
                }
            }
        }
    }

    fn serve_invalidations(&mut self, batch: Vec<InvalidateCall>) {
        let tables = Arc::clone(&self.tables);
        let last = tables.sequence.load(Ordering::Acquire);
        let mut plan = TrafficPlan::new(&tables, &self.bound, self.clock.uptime(), last);
        let admissions: Vec<Admission> = batch
            .iter()
            .map(|call| plan.admit(&call.site, &call.items))
            .collect();
        let changes = plan.into_changes();
        let outcome = self
            .keep(&changes)
            .map(|raised| changes.publish(raised, &tables, &mut self.bound));
        if let Err(failure) = &outcome {
            error!(error = %failure, "an invalidation could not be written");
        }
        for (call, admission) in batch.into_iter().zip(admissions) {
            let answer = match (admission, &outcome) {
                (Admission::Accepted(sequence), Ok(())) => Ok(Invalidated::Holds(sequence)),
                (Admission::Accepted(_), Err(failure)) => Err(failure.clone()),
                (Admission::Later(wait), _) => Ok(Invalidated::Later(call.items, wait)),
            };
            drop(call.answer.send(answer));
        }
    }

    /// Writes a batch of invalidations: to the log, and to the database what must be there. Returns the
    /// clocks of sites that are raised by it.
    fn keep(&mut self, changes: &TrafficChanges) -> Result<HashMap<Slot, Marks>, StoreError> {
        if changes.is_empty() {
            return Ok(HashMap::new());
        }
        let raised = changes.raised(&self.tables);
        let uptime = self.clock.uptime();
        let is_logged = !self.log.rests(uptime)
            && match self.write_log(changes, uptime) {
                Ok(()) => true,
                Err(error) => {
                    let path = self.log.path().display();
                    warn!(%path, %error, "the log of invalidations cannot be written");
                    false
                }
            };
        let reserved = (changes.last > self.reserved).then(|| changes.last + NUMBERS_AHEAD);
        if is_logged && raised.is_empty() && reserved.is_none() {
            return Ok(raised);
        }
        let rows = if !is_logged {
            Rows::Add(changes)
        } else if self.has_rows {
            // The log has been written anew since it failed, with all there is.
            Rows::Clear
        } else {
            Rows::Leave
        };
        self.has_rows = match rows {
            Rows::Leave => self.has_rows,
            Rows::Add(_) | Rows::Clear => true,
        };
        let is_cleared = matches!(rows, Rows::Clear);
        let plan = Plan {
            first: changes.first,
            last: changes.last,
            changed: of_slots(&raised),
            sites: HashSet::new(),
            notes: Vec::new(),
            floor: None,
            reserved,
        };
        self.commit(&plan, &rows)?;
        if is_cleared {
            self.has_rows = false;
        }
        if !raised.is_empty() {
            // Not sooner: until the clock of the site is durable, the log must have what it stands for.
            self.log.rewrite_next();
        }
        self.reserved = reserved.unwrap_or(self.reserved);
        Ok(raised)
    }

    fn write_log(&mut self, changes: &TrafficChanges, uptime: Duration) -> io::Result<()> {
        let is_anew = self.log.wants_rewrite();
        let mut frames = Frames::default();
        let mut added = Ok(());
        let mut add = |site: &str, slot: TrafficSlot, marks: Marks| {
            if added.is_ok() {
                added = frames.add(site, slot, marks);
            }
        };
        if is_anew {
            self.tables.each_traffic(&mut add);
        }
        for (site, slot, marks) in changes.entries() {
            add(site, slot, marks);
        }
        added?;
        if is_anew {
            self.log.rewrite(&frames, uptime)
        } else {
            self.log.append(&frames, uptime)
        }
    }

    /// What the batch changes, without changing it.
    fn plan(&self, batch: &mut [PurgeCall]) -> Plan {
        let first = self.tables.sequence.load(Ordering::Acquire) + 1;
        let mut changed: BTreeMap<RowKey, Change> = BTreeMap::new();
        let (mut sites, mut notes) = (HashSet::new(), Vec::new());
        let mut new_slots = 0;
        let mut last = first;
        for (call, sequence) in batch.iter_mut().zip(first..) {
            last = sequence;
            notes.extend(call.note.take().map(|note| (sequence, note)));
            for PurgeItem { slot, kind } in std::mem::take(&mut call.items) {
                if !sites.contains(&slot.site().cloned()) {
                    sites.insert(slot.site().cloned());
                }
                let change = changed.entry(slot.encode()).or_insert_with(|| {
                    let known = self.tables.marks(&slot);
                    new_slots += usize::from(known.is_none());
                    let marks = known.unwrap_or_default();
                    Change { slot, marks }
                });
                change.marks.raise(kind, sequence);
            }
        }
        let mut plan = Plan {
            first,
            last,
            changed,
            sites,
            notes,
            floor: None,
            reserved: None,
        };
        let slots = self.tables.slots() + new_slots;
        if slots > self.max_clocks {
            plan.floor = Some(self.new_floor(&plan, slots));
        }
        plan
    }

    /// The floor that drops enough: a tenth more than must be, so that it is not raised at every purge.
    fn new_floor(&self, plan: &Plan, slots: usize) -> u64 {
        let mut latest: Vec<u64> = Vec::with_capacity(slots);
        self.tables.each_marks(|marks| latest.push(marks.latest()));
        latest.extend(plan.changed.values().map(|change| change.marks.latest()));
        // A slot that is known and changed is in there twice: the floor rises a little more than it must.
        let keep = self.max_clocks - self.max_clocks / 10;
        let drop = latest.len().saturating_sub(keep).clamp(1, latest.len());
        let (_, floor, _) = latest.select_nth_unstable(drop - 1);
        *floor
    }

    fn commit(&mut self, plan: &Plan, rows: &Rows<'_>) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.open_again()?,
        };
        let database = guarded(|| write(&database, plan, rows).map(|()| database))?;
        self.database = Some(database);
        self.durable = plan.last;
        if let Err(error) = self.witness.tell(plan.last) {
            let path = self.path.display();
            warn!(%path, %error, "the number of the last purge was not noted");
        }
        Ok(())
    }

    /// The database, after an error. If it has lost what it was told, it is put aside: what holds in memory
    /// goes on to hold, and the next start begins with an empty disk.
    fn open_again(&mut self) -> Result<Database, StoreError> {
        let known = self.witness.identity();
        let failure = match guarded(|| open_database(&self.path).and_then(head_of)) {
            Ok((database, head)) if head.sequence >= self.durable && head.identity == known => {
                return Ok(database);
            }
            Ok(_) => rolled_back(),
            Err(failure) if is_corruption(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        put_aside(&self.path, &failure)?;
        let (database, identity) = guarded(|| {
            let database = open_database(&self.path)?;
            let identity = read_all(&database, &self.path, &Tables::new())?.identity;
            Ok((database, identity))
        })?;
        let sequence = self.tables.sequence.load(Ordering::Acquire);
        let mut plan = Plan::empty(sequence);
        plan.floor = Some(sequence);
        plan.reserved = Some(self.reserved);
        write(&database, &plan, &Rows::Leave)?;
        self.has_rows = false;
        self.log = TrafficLog::new(&self.state, &identity);
        self.witness = Witness::new(&self.state, &identity);
        Ok(database)
    }
}

/// What a batch changes.
struct Plan {
    /// The number of the first call; each further call has the next.
    first: u64,
    last: u64,
    /// In the order of the database's rows: neighbours share their pages.
    changed: BTreeMap<RowKey, Change>,
    /// The sites that it concerns; `None` is any.
    sites: HashSet<Option<Arc<str>>>,
    notes: Vec<(u64, Note)>,
    floor: Option<u64>,
    /// Numbers up to this one may be given to what is not in the database.
    reserved: Option<u64>,
}

/// What a slot has from now on.
struct Change {
    slot: Slot,
    marks: Marks,
}

fn of_slots(marks: &HashMap<Slot, Marks>) -> BTreeMap<RowKey, Change> {
    let changes = marks.iter().map(|(slot, marks)| {
        let (slot, marks) = (slot.clone(), *marks);
        (slot.encode(), Change { slot, marks })
    });
    changes.collect()
}

/// What becomes of the invalidations in the database.
enum Rows<'a> {
    Leave,
    /// These are added; what sites had whose clocks are raised goes.
    Add(&'a TrafficChanges),
    /// They go: the log has them.
    Clear,
}

impl Plan {
    /// One that changes nothing, after the number `sequence`.
    fn empty(sequence: u64) -> Self {
        Self {
            first: sequence,
            last: sequence,
            changed: BTreeMap::new(),
            sites: HashSet::new(),
            notes: Vec::new(),
            floor: None,
            reserved: None,
        }
    }

    /// Makes the batch hold. Only after it is durable: else a fetch could begin with a number that a
    /// crash then gives to another purge. No lock is held for longer than one slot takes.
    fn publish(self, tables: &Tables) {
        if let Some(floor) = self.floor {
            // Before the clocks go that it stands in for.
            tables.floor.store(floor, Ordering::Release);
        }
        for Change { slot, marks } in self.changed.values() {
            tables.set(slot, *marks);
        }
        if let Some(floor) = self.floor {
            tables.drop_up_to(floor);
        }
        for (sequence, Note { id, text }) in self.notes {
            let text = text.into();
            tables.notes.lock().add(&id, Noted { sequence, text });
        }
        tables.sequence.store(self.last, Ordering::Release);
        // Last: who sees the new epoch sees all the above.
        match self.floor {
            Some(_) => tables.turn_all_epochs(),
            None => tables.turn_epochs(&self.sites),
        }
    }
}

fn write(database: &Database, plan: &Plan, rows: &Rows<'_>) -> Result<(), StoreError> {
    // The default durability is an fsync in `commit`.
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    {
        let mut table = transaction.open_table(MARKS).map_err(redb::Error::from)?;
        for (key, Change { marks, .. }) in &plan.changed {
            table
                .insert(key.as_slice(), (marks.hard, marks.soft))
                .map_err(redb::Error::from)?;
        }
        let mut numbers = transaction.open_table(NUMBERS).map_err(redb::Error::from)?;
        numbers
            .insert("sequence", plan.last)
            .map_err(redb::Error::from)?;
        if let Some(reserved) = plan.reserved {
            numbers
                .insert("reserved", reserved)
                .map_err(redb::Error::from)?;
        }
        write_rows(&transaction, rows)?;
        write_notes(&transaction, &plan.notes)?;
        if let Some(floor) = plan.floor {
            numbers.insert("floor", floor).map_err(redb::Error::from)?;
            table
                .retain(|_, (hard, soft)| hard.max(soft) > floor)
                .map_err(redb::Error::from)?;
        }
    }
    transaction.commit().map_err(redb::Error::from)?;
    Ok(())
}

fn write_notes(transaction: &WriteTransaction, notes: &[(u64, Note)]) -> Result<(), redb::Error> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(NOTES)?;
    for (sequence, Note { id, text }) in notes {
        table.insert(sequence, (id.as_str(), text.as_str()))?;
    }
    while table.len()? > KEPT as u64 {
        table.pop_first()?;
    }
    Ok(())
}

fn write_rows(transaction: &WriteTransaction, rows: &Rows<'_>) -> Result<(), redb::Error> {
    let changes = match rows {
        Rows::Leave => return Ok(()),
        Rows::Add(changes) => Some(changes),
        Rows::Clear => None,
    };
    let mut table = transaction.open_table(TRAFFIC)?;
    table.retain(|key, _| {
        let slot = TrafficSlot::decode(key);
        changes.is_some_and(|changes| slot.is_some_and(|(_, site)| !changes.drops(site)))
    })?;
    for (site, slot, marks) in changes.iter().flat_map(|changes| changes.entries()) {
        table.insert(slot.encode(site).as_slice(), (marks.hard, marks.soft))?;
    }
    Ok(())
}

/// What is in the database.
struct Opened {
    database: Database,
    tables: Tables,
    identity: String,
    /// The last number that it was told.
    sequence: u64,
    witness: Witness,
    has_rows: bool,
}

fn open_and_read(state: &Path, path: &Path) -> Result<Opened, StoreError> {
    let (database, tables, head) = guarded(|| {
        let mut database = open_database(path)?;
        // Pages are not verified as they are read. A database that had to be mended has lost something.
        match database.check_integrity().map_err(redb::Error::from)? {
            true => {}
            false => return Err(rolled_back()),
        }
        let tables = Tables::new();
        let head = read_all(&database, path, &tables)?;
        Ok((database, tables, head))
    })?;
    let witness = Witness::new(state, &head.identity);
    match witness.read() {
        Told::Nothing => {}
        Told::Sequence(told) if told <= head.sequence => {}
        Told::Sequence(_) => return Err(rolled_back()),
        // It cannot be known whether the database has all that was confirmed.
        Told::Damaged => purge_older(&database, &tables)?,
    }
    let has_rows = tables.traffic() > 0;
    Ok(Opened {
        database,
        tables,
        identity: head.identity,
        sequence: head.sequence,
        witness,
        has_rows,
    })
}

/// Purges all that was fetched before now.
fn purge_older(database: &Database, tables: &Tables) -> Result<(), StoreError> {
    let sequence = tables.sequence.load(Ordering::Acquire);
    let mut plan = Plan::empty(sequence);
    plan.floor = Some(sequence);
    write(database, &plan, &Rows::Leave)?;
    plan.publish(tables);
    Ok(())
}

fn rolled_back() -> StoreError {
    redb::Error::Corrupted("purges that were confirmed are not in it".to_owned()).into()
}

fn put_aside(path: &Path, failure: &StoreError) -> Result<(), StoreError> {
    warn!(path = %path.display(), error = %failure, "the purge clocks start anew");
    fs::rename(path, path.with_extension("corrupt"))
        .map_err(|error| StoreError::state("put aside", path, error))
}

/// Runs what reads or writes pages that may be damaged: where the database gives up on one, that is an error
/// like any other.
fn guarded<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted("a page of it makes no sense".to_owned()).into())
    })
}

/// Adds what is in the log of invalidations.
fn replay(log: &mut TrafficLog, opened: &Opened) -> Result<(), StoreError> {
    let (tables, path) = (&opened.tables, log.path().display().to_string());
    let records = match log.read() {
        Replay::Records(records) => records,
        Replay::Foreign => {
            info!(
                path,
                "the log of invalidations belongs to other purge clocks"
            );
            return Ok(());
        }
        Replay::Damaged(reason) => {
            warn!(
                path,
                reason, "invalidations are lost: all that is older is purged"
            );
            // Every number that an invalidation had is at or below the last one. On stable storage before
            // the file goes, which would say so again at each start.
            purge_older(&opened.database, tables)?;
            if let Err(error) = log.remove() {
                warn!(path, %error, "the damaged log of invalidations cannot be removed");
            }
            return Ok(());
        }
    };
    for Record { site, slot, marks } in records {
        tables.sequence.fetch_max(marks.latest(), Ordering::AcqRel);
        add_traffic(tables, &site, slot, marks);
    }
    Ok(())
}

/// Adds to what invalidations have left on a slot, unless the site's own clock says it already.
fn add_traffic(tables: &Tables, site: &str, slot: TrafficSlot, mut marks: Marks) {
    let raised = tables.marks(&Slot::Site(site.into()));
    if raised.is_some_and(|raised| raised.covers(marks)) {
        return;
    }
    marks.merge(tables.traffic_marks(site, slot).unwrap_or_default());
    tables.set_traffic(site, [(slot, marks)]);
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)
        .map_err(|error| redb::Error::from(error).into())
}

/// Whether the file is to blame, and not what holds it.
fn is_corruption(failure: &StoreError) -> bool {
    let StoreError::Clocks { source } = failure else {
        return false;
    };
    match source.as_ref() {
        // What redb says of a file that is none of its own.
        redb::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    }
}

/// What the database says of itself.
#[derive(Default)]
struct HeadRows {
    identity: String,
    /// The last number that it was told.
    sequence: u64,
}

fn head_of(mut database: Database) -> Result<(Database, HeadRows), StoreError> {
    if !database.check_integrity().map_err(redb::Error::from)? {
        return Err(rolled_back());
    }
    let head = match read_head(&database) {
        // It is new: somebody has taken the file away.
        Err(redb::Error::TableDoesNotExist(_)) => HeadRows::default(),
        head => head?,
    };
    Ok((database, head))
}

fn read_head(database: &Database) -> Result<HeadRows, redb::Error> {
    let transaction = database.begin_read()?;
    let sequence = transaction.open_table(NUMBERS)?.get("sequence")?;
    let identity = transaction.open_table(NAMES)?.get("identity")?;
    Ok(HeadRows {
        sequence: sequence.map_or(0, |sequence| sequence.value()),
        identity: identity.map_or_else(String::new, |name| name.value().to_owned()),
    })
}

/// Fills `tables` from the database, and names it if it is new.
fn read_all(database: &Database, path: &Path, tables: &Tables) -> Result<HeadRows, StoreError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let (identity, sequence);
    {
        let mut numbers = transaction.open_table(NUMBERS).map_err(redb::Error::from)?;
        let number = |numbers: &redb::Table<'_, &str, u64>, name: &str| {
            let found = numbers.get(name).map_err(redb::Error::from)?;
            Ok::<_, StoreError>(found.map(|number| number.value()))
        };
        match number(&numbers, "format")? {
            None => {
                numbers
                    .insert("format", FORMAT)
                    .map_err(redb::Error::from)?;
            }
            Some(FORMAT) => {}
            Some(found) => {
                return Err(StoreError::ClocksFormat {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
        }
        sequence = number(&numbers, "sequence")?.unwrap_or_default();
        let reserved = number(&numbers, "reserved")?.unwrap_or_default();
        let mut floor = number(&numbers, "floor")?.unwrap_or_default();

        let mut names = transaction.open_table(NAMES).map_err(redb::Error::from)?;
        let known = names
            .get("identity")
            .map_err(redb::Error::from)?
            .map(|name| name.value().to_owned());
        identity = match known {
            Some(name) => name,
            None => {
                let name = format!(
                    "{:032x}",
                    u128::from_le_bytes(crate::store::hash::random_bytes()?)
                );
                names
                    .insert("identity", name.as_str())
                    .map_err(redb::Error::from)?;
                name
            }
        };

        let marks = transaction.open_table(MARKS).map_err(redb::Error::from)?;
        for row in marks.iter().map_err(redb::Error::from)? {
            let (key, value) = row.map_err(redb::Error::from)?;
            let (hard, soft) = value.value();
            match Slot::decode(key.value()) {
                Some(slot) => tables.set(&slot, Marks { hard, soft }),
                // Unknown what it purges, so it purges everything that is older.
                None => floor = floor.max(hard.max(soft)),
            }
        }
        let notes = transaction.open_table(NOTES).map_err(redb::Error::from)?;
        for row in notes.iter().map_err(redb::Error::from)? {
            let (number, value) = row.map_err(redb::Error::from)?;
            let (id, text) = value.value();
            let (sequence, text) = (number.value(), text.into());
            tables.notes.lock().add(id, Noted { sequence, text });
        }
        let rows = transaction.open_table(TRAFFIC).map_err(redb::Error::from)?;
        for row in rows.iter().map_err(redb::Error::from)? {
            let (key, value) = row.map_err(redb::Error::from)?;
            let (hard, soft) = value.value();
            match TrafficSlot::decode(key.value()) {
                Some((slot, site)) => add_traffic(tables, site, slot, Marks { hard, soft }),
                None => floor = floor.max(hard.max(soft)),
            }
        }
        // Any number up to the reserved one may have been given before a loss of power.
        tables
            .sequence
            .store(sequence.max(reserved), Ordering::Release);
        tables.floor.store(floor, Ordering::Release);
    }
    transaction.commit().map_err(redb::Error::from)?;
    Ok(HeadRows { identity, sequence })
}

#[cfg(test)]
mod tests {
    use super::super::slot::Purge;
    use super::*;
    use crate::clock::SystemClock;

    /// A scribe whose database is in a folder that is not there.
    fn scribe(state: &Path, missing: &Path) -> Scribe {
        Scribe {
            state: state.to_owned(),
            path: missing.join(FILE),
            durable: 0,
            witness: Witness::new(state, ""),
            database: None,
            tables: Arc::new(Tables::new()),
            max_clocks: 10,
            clock: SystemClock::shared(),
            log: TrafficLog::new(state, "name"),
            bound: Bound::new(2),
            reserved: 0,
            has_rows: false,
        }
    }

    fn invalidate(scribe: &mut Scribe, url: u128) -> Result<Invalidated, StoreError> {
        let (answer, mut answered) = oneshot::channel();
        scribe.serve_invalidations(vec![InvalidateCall {
            site: "demo".into(),
            items: vec![Invalidation {
                slot: TrafficSlot::Url(url),
                kind: Purge::Hard,
            }],
            answer,
        }]);
        answered.try_recv().unwrap()
    }

    #[test]
    fn an_invalidation_that_can_be_written_nowhere_does_not_hold() {
        let state = tempfile::tempdir().unwrap();
        let missing = state.path().join("missing");
        let mut scribe = scribe(&missing, &missing);
        assert!(invalidate(&mut scribe, 1).is_err());
        assert_eq!(scribe.tables.traffic(), 0);
        assert_eq!(scribe.tables.sequence.load(Ordering::Acquire), 0);

        // The disk is back, and the log is not tried yet: the database alone will do.
        fs::create_dir(&missing).unwrap();
        let answer = invalidate(&mut scribe, 1);
        assert!(matches!(answer, Ok(Invalidated::Holds(1))), "{answer:?}");
        assert_eq!(scribe.tables.traffic(), 1);
    }

    #[test]
    fn the_log_keeps_what_a_sites_clock_stands_for_until_that_is_durable() {
        let state = tempfile::tempdir().unwrap();
        let missing = state.path().join("missing");
        let mut scribe = scribe(state.path(), &missing);
        scribe.reserved = 100;
        let urls = |scribe: &Scribe| match scribe.log.read() {
            Replay::Records(records) => records.len(),
            other => panic!("{other:?}"),
        };
        for url in 0..2 {
            assert!(invalidate(&mut scribe, url).is_ok());
        }
        scribe.log.rewrite_next();
        assert!(invalidate(&mut scribe, 2).is_err());
        assert_eq!((urls(&scribe), scribe.tables.traffic()), (2, 2));

        fs::create_dir(&missing).unwrap();
        assert!(invalidate(&mut scribe, 2).is_ok());
        assert_eq!((urls(&scribe), scribe.tables.traffic()), (2, 0));
        // The next write leaves them out.
        assert!(invalidate(&mut scribe, 3).is_ok());
        assert_eq!((urls(&scribe), scribe.tables.traffic()), (1, 1));
    }
}
