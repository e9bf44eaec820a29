//! The clocks on stable storage: one thread owns the database, and commits what waits in one go.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use redb::{Database, ReadableTable, TableDefinition};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::slot::{Marks, PurgeItem, Slot};
use super::table::Tables;
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

const MARKS: TableDefinition<'static, &[u8], (u64, u64)> = TableDefinition::new("marks");
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
const NAMES: TableDefinition<'static, &str, &str> = TableDefinition::new("names");

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Journal {
    calls: Mutex<Option<mpsc::Sender<Call>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Call {
    items: Vec<PurgeItem>,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

impl Journal {
    /// Opens or makes the database, and starts the thread. Returns what is in the database and its
    /// name, too.
    pub(super) fn open(
        state: &Path,
        max_clocks: usize,
    ) -> Result<(Self, Arc<Tables>, String), StoreError> {
        let path = state.join(FILE);
        let (database, tables, identity) = match open_and_read(&path) {
            Err(failure) if is_corruption(&failure) => {
                // The purges in it are lost. That is safe: the new database has a new name, and the
                // disk tier starts empty when that changes.
                warn!(path = %path.display(), error = %failure, "the purge clocks start anew");
                fs::rename(&path, path.with_extension("corrupt"))
                    .map_err(|error| StoreError::state("put aside", &path, error))?;
                open_and_read(&path)?
            }
            opened => opened?,
        };
        let tables = Arc::new(tables);
        let (calls, inbox) = mpsc::channel(CALLS_WAITING_MAX);
        let scribe = Scribe {
            path: path.clone(),
            database: Some(database),
            tables: Arc::clone(&tables),
            max_clocks: max_clocks.max(1),
        };
        let thread = std::thread::Builder::new()
            .name("purge-clocks".to_owned())
            .spawn(move || scribe.run(inbox))
            .map_err(|error| StoreError::state("start the thread of", path, error))?;
        let journal = Self {
            calls: Mutex::new(Some(calls)),
            thread: Mutex::new(Some(thread)),
        };
        Ok((journal, tables, identity))
    }

    pub(super) async fn purge(&self, items: Vec<PurgeItem>) -> Result<u64, StoreError> {
        let calls = self.calls.lock().clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        calls
            .send(Call { items, answer })
            .await
            .map_err(|_| StoreError::Closed)?;
        // Held while waiting, the sender would keep the thread from ending.
        drop(calls);
        answered.await.map_err(|_| StoreError::Closed)?
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
    path: PathBuf,
    /// `None` after an error: redb refuses to go on with a database that failed, so it is opened anew.
    database: Option<Database>,
    tables: Arc<Tables>,
    max_clocks: usize,
}

impl Scribe {
    /// Ends when nobody can call any more.
    fn run(mut self, mut inbox: mpsc::Receiver<Call>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut items = first.items.len();
            let mut batch = vec![first];
            while batch.len() < BATCH_CALLS_MAX && items < BATCH_ITEMS_MAX {
                let Ok(next) = inbox.try_recv() else { break };
                items += next.items.len();
                batch.push(next);
            }
            self.serve(batch);
        }
    }

    fn serve(&mut self, batch: Vec<Call>) {
        let plan = self.plan(&batch);
        let outcome = self.commit(&plan);
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
                self.database = None;
                for call in batch {
                    drop(call.answer.send(Err(failure.clone())));
                }
            }
        }
    }

    /// What the batch changes, without changing it.
    fn plan(&self, batch: &[Call]) -> Plan {
        let first = self.tables.sequence.load(Ordering::Acquire) + 1;
        let mut changed: HashMap<Slot, Marks> = HashMap::new();
        let mut new_slots = 0;
        let mut last = first;
        for (call, sequence) in batch.iter().zip(first..) {
            last = sequence;
            for item in &call.items {
                let marks = changed.entry(item.slot.clone()).or_insert_with(|| {
                    let known = self.tables.marks(&item.slot);
                    new_slots += usize::from(known.is_none());
                    known.unwrap_or_default()
                });
                marks.raise(item.kind, sequence);
            }
        }
        let mut plan = Plan {
            first,
            last,
            changed,
            floor: None,
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
        latest.extend(plan.changed.values().map(Marks::latest));
        // A slot that is known and changed is in there twice: the floor rises a little more than it must.
        let keep = self.max_clocks - self.max_clocks / 10;
        let drop = latest.len().saturating_sub(keep).clamp(1, latest.len());
        let (_, floor, _) = latest.select_nth_unstable(drop - 1);
        *floor
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_database(&self.path)?,
        };
        write(&database, plan)?;
        self.database = Some(database);
        Ok(())
    }
}

/// What a batch changes.
struct Plan {
    /// The number of the first call; each further call has the next.
    first: u64,
    last: u64,
    changed: HashMap<Slot, Marks>,
    floor: Option<u64>,
}

impl Plan {
    /// Makes the batch hold. Only after it is durable: else a fetch could begin with a number that a
    /// crash then gives to another purge.
    fn publish(self, tables: &Tables) {
        if let Some(floor) = self.floor {
            // Before the clocks go that it stands in for.
            tables.floor.store(floor, Ordering::Release);
        }
        let slots: Vec<Slot> = self.changed.keys().cloned().collect();
        for (slot, marks) in self.changed {
            tables.set(slot, marks);
        }
        if let Some(floor) = self.floor {
            tables.drop_up_to(floor);
        }
        tables.sequence.store(self.last, Ordering::Release);
        // Last: who sees the new epoch sees all the above.
        match self.floor {
            Some(_) => tables.turn_all_epochs(),
            None => tables.turn_epochs(&slots),
        }
    }
}

fn write(database: &Database, plan: &Plan) -> Result<(), StoreError> {
    // The default durability is an fsync in `commit`.
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    {
        let mut table = transaction.open_table(MARKS).map_err(redb::Error::from)?;
        for (slot, marks) in &plan.changed {
            table
                .insert(slot.encode().as_slice(), (marks.hard, marks.soft))
                .map_err(redb::Error::from)?;
        }
        let mut numbers = transaction.open_table(NUMBERS).map_err(redb::Error::from)?;
        numbers
            .insert("sequence", plan.last)
            .map_err(redb::Error::from)?;
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

fn open_and_read(path: &Path) -> Result<(Database, Tables, String), StoreError> {
    let database = open_database(path)?;
    let tables = Tables::new();
    let identity = read_all(&database, path, &tables)?;
    Ok((database, tables, identity))
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)
        .map_err(|error| redb::Error::from(error).into())
}

fn is_corruption(failure: &StoreError) -> bool {
    let StoreError::Clocks { source } = failure else {
        return false;
    };
    match source.as_ref() {
        redb::Error::Corrupted(_) => true,
        // What redb says of a file that is none of its own.
        redb::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

/// Fills `tables` from the database, and names it if it is new.
fn read_all(database: &Database, path: &Path, tables: &Tables) -> Result<String, StoreError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let identity;
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
        let sequence = number(&numbers, "sequence")?.unwrap_or_default();
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
                Some(slot) => tables.set(slot, Marks { hard, soft }),
                // Unknown what it purges, so it purges everything that is older.
                None => floor = floor.max(hard.max(soft)),
            }
        }
        tables.sequence.store(sequence, Ordering::Release);
        tables.floor.store(floor, Ordering::Release);
    }
    transaction.commit().map_err(redb::Error::from)?;
    Ok(identity)
}
