use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::journal::{Journal, Limits};
use super::notes::{Note, Noted, Notes};
use super::slot::{ANY_TAG, Invalidation, Marks, PurgeItem, Purged, Slot, Subject, TrafficSlot};
use crate::clock::{SharedClock, SystemClock};
use crate::policy;
use crate::store::hash::FoldBuilder;
use crate::store::{Object, StoreError};

/// A shard of two million clocks has some 8000: what a growing or shrinking table holds up its readers for
/// stays far below a millisecond.
const SHARDS: usize = 256;

/// The purge clocks of the node.
#[derive(Debug)]
pub struct Clocks {
    tables: Arc<Tables>,
    journal: Journal,
    identity: String,
}

impl Clocks {
    /// Reads the clocks in `state`, or starts them there. Blocks.
    pub(in crate::store) fn open(state: &Path, max_clocks: usize) -> Result<Self, StoreError> {
        Self::open_with(state, Limits::of(max_clocks), SystemClock::shared())
    }

    pub(super) fn open_with(
        state: &Path,
        limits: Limits,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let (journal, tables, identity) = Journal::open(state, limits, clock)?;
        Ok(Self {
            tables,
            journal,
            identity,
        })
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The number of the last purge or invalidation that holds. What is fetched from now on carries it.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.tables.sequence.load(Ordering::Acquire)
    }

    /// Objects whose bytes were fetched before this number are purged.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.tables.floor.load(Ordering::Acquire)
    }

    /// How many clocks are held, without those of invalidations.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.tables.slots.load(Ordering::Relaxed)
    }

    /// How many clocks of invalidations are held.
    #[must_use]
    pub fn traffic(&self) -> usize {
        self.tables.traffic()
    }

    /// How often, since the start, the clock of a site was raised in place of its invalidations.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.tables.overflows.load(Ordering::Relaxed)
    }

    /// Purges, all or nothing, and returns the number of this purge. When it returns, the purge is on
    /// stable storage and holds for everything. Calls at the same time share one commit.
    ///
    /// Not cancel-safe in the sense that a purge whose call is dropped may still happen.
    ///
    /// # Errors
    ///
    /// When the purge could not be written: then it does not hold.
    pub async fn purge(&self, items: Vec<PurgeItem>) -> Result<u64, StoreError> {
        if items.is_empty() {
            return Ok(self.sequence());
        }
        self.journal.purge(items, None).await
    }

    /// As [`Clocks::purge`], with words about it that are found again by their name, also after a restart:
    /// they are written with the purge.
    ///
    /// # Errors
    ///
    /// As [`Clocks::purge`].
    pub async fn purge_noted(&self, items: Vec<PurgeItem>, note: Note) -> Result<u64, StoreError> {
        self.journal.purge(items, Some(note)).await
    }

    /// The words about a purge, if it is among the last.
    #[must_use]
    pub fn noted(&self, id: &str) -> Option<Noted> {
        self.tables.notes.lock().find(id)
    }

    /// Purges what traffic has shown to be out of date, all or nothing, and returns the number of this
    /// invalidation. When it returns, it holds for every look-up that starts afterwards. It outlives the
    /// process, but perhaps not a loss of power: it costs a write, not an fsync.
    ///
    /// The clocks of invalidations are bounded by themselves. When there are too many, the site with the
    /// most of them gets its own clock raised in place of all of them, at most once a second; with twice
    /// too many within that second, this waits for the second to end.
    ///
    /// Not cancel-safe in the sense that an invalidation whose call is dropped may still happen.
    ///
    /// # Errors
    ///
    /// When it could neither be written to the log nor to the database: then it does not hold.
    pub async fn invalidate(
        &self,
        site: &str,
        items: Vec<Invalidation>,
    ) -> Result<u64, StoreError> {
        if items.is_empty() {
            return Ok(self.sequence());
        }
        self.journal.invalidate(site, items).await
    }

    /// The clock of a site, to be kept by those who check often.
    #[must_use]
    pub fn site(&self, name: &str) -> Arc<SiteClock> {
        self.tables.site(name)
    }

    /// Whether an object of `site` was purged. An object that was found to be valid is not looked at
    /// again before the next purge that may concern its site.
    #[must_use]
    pub fn check(&self, site: &SiteClock, object: &Object) -> Purged {
        // Before the tables: a purge changes these first and the epoch then, so what is remembered
        // is never newer than what was looked at.
        let epoch = site.epoch();
        if object.cleared_epoch.load(Ordering::Relaxed) == epoch {
            return Purged::No;
        }
        let subject = Subject {
            url: object.url,
            host: policy::host_of(object.key()),
            path: object.path(),
            tags: &object.tags(),
        };
        let purged = self.check_marks(site, &subject, object.body_seq, object.checked_seq);
        if purged == Purged::No {
            object.cleared_epoch.store(epoch, Ordering::Relaxed);
        }
        purged
    }

    /// The same for what is not an object yet, such as a fill that is under way.
    #[must_use]
    pub fn check_marks(
        &self,
        site: &SiteClock,
        subject: &Subject<'_>,
        body_seq: u64,
        checked_seq: u64,
    ) -> Purged {
        // From a future that these clocks do not know: the state was put back from a copy, and the
        // purges since then are lost.
        if body_seq > self.sequence() || body_seq < self.floor() {
            return Purged::Hard;
        }
        let mut purged = Purged::No;
        self.tables.consider(site, subject, |marks| {
            purged = purged.max(marks.verdict(body_seq, checked_seq));
        });
        purged
    }

    /// Lets the database go. Later purges fail.
    pub(in crate::store) async fn close(&self) {
        self.journal.close().await;
    }

    /// Names this line of sequence numbers: another database has another name.
    pub(in crate::store) fn identity(&self) -> &str {
        &self.identity
    }
}

/// The clocks of one site.
#[derive(Debug)]
pub struct SiteClock {
    epoch: AtomicU64,
    /// Tells its tags and prefixes from those of other sites.
    salt: u64,
    /// The last purges of any of its tags.
    any_tag: AnyTag,
    marks: RwLock<SiteMarks>,
}

#[derive(Debug, Default)]
struct AnyTag {
    hard: AtomicU64,
    soft: AtomicU64,
}

impl AnyTag {
    fn raise(&self, marks: Marks) {
        self.hard.fetch_max(marks.hard, Ordering::AcqRel);
        self.soft.fetch_max(marks.soft, Ordering::AcqRel);
    }

    fn marks(&self) -> Marks {
        Marks {
            hard: self.hard.load(Ordering::Acquire),
            soft: self.soft.load(Ordering::Acquire),
        }
    }
}

#[derive(Debug, Default)]
struct SiteMarks {
    site: Option<Marks>,
    /// The lengths that prefixes have had since the start: only those of a path are looked up.
    lengths: BTreeSet<usize>,
    /// The same of prefixes that are of one host.
    lengths_of_hosts: BTreeSet<usize>,
    /// What traffic has invalidated. Apart from the others, so that dropping these leaves those as they
    /// are; here and not with the URLs, so that a site's own can be dropped in one go.
    traffic: HashMap<TrafficSlot, Marks>,
}

impl SiteClock {
    fn new(salt: u64) -> Self {
        Self {
            // An object has 0 until it has been checked.
            epoch: AtomicU64::new(1),
            salt,
            any_tag: AnyTag::default(),
            marks: RwLock::default(),
        }
    }

    /// Changes with every purge that may concern the site.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The last purges of any of its tags.
    pub(super) fn any_tag(&self) -> Marks {
        self.any_tag.marks()
    }

    fn turn(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

/// All clocks in memory, equal to what is written. Only the journal's thread changes them.
///
/// Those of URLs, tags and prefixes are in one table, under 64 bits of a hash that nobody outside can
/// compute. Should two slots ever share these, a purge of one purges the other, too: a miss more, never a
/// purge less.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) sequence: AtomicU64,
    pub(super) floor: AtomicU64,
    slots: AtomicUsize,
    traffic: AtomicUsize,
    pub(super) overflows: AtomicU64,
    /// How often a slot has been looked up, for tests.
    #[cfg(test)]
    pub(super) looks: AtomicU64,
    everything: RwLock<Marks>,
    shards: Box<[RwLock<HashMap<u64, Marks, FoldBuilder>>]>,
    sites: RwLock<HashMap<Box<str>, Arc<SiteClock>>>,
    hasher: RandomState,
    pub(super) notes: Mutex<Notes>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            slots: AtomicUsize::new(0),
            traffic: AtomicUsize::new(0),
            overflows: AtomicU64::new(0),
            #[cfg(test)]
            looks: AtomicU64::new(0),
            everything: RwLock::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            sites: RwLock::default(),
            hasher: RandomState::new(),
            notes: Mutex::default(),
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    pub(super) fn site(&self, name: &str) -> Arc<SiteClock> {
        if let Some(site) = self.sites.read().get(name) {
            return Arc::clone(site);
        }
        let mut sites = self.sites.write();
        let site = sites
            .entry(name.into())
            .or_insert_with(|| Arc::new(SiteClock::new(self.hasher.hash_one(name))));
        Arc::clone(site)
    }

    /// Calls `consider` with the marks of every slot that `subject`, of `site`, is part of.
    fn consider(&self, site: &SiteClock, subject: &Subject<'_>, mut consider: impl FnMut(Marks)) {
        consider(*self.everything.read());
        let mut look = |key: u64| {
            if let Some(marks) = self.marks_at(key) {
                consider(marks);
            }
        };
        look(key_of_url(subject.url));
        for tag in subject.tags {
            look(key_of_tag(site, *tag));
        }
        let marks = site.marks.read();
        for start in starts(subject.path, &marks.lengths) {
            look(self.key_of_prefix(site, None, start));
        }
        if let Some(host) = subject.host {
            for start in starts(subject.path, &marks.lengths_of_hosts) {
                look(self.key_of_prefix(site, Some(host), start));
            }
        }
        marks.site.into_iter().for_each(&mut consider);
        if !marks.traffic.is_empty() {
            let url = std::iter::once(TrafficSlot::Url(subject.url));
            let tags = subject.tags.iter().map(|tag| TrafficSlot::Tag(*tag));
            for slot in url.chain(tags) {
                marks
                    .traffic
                    .get(&slot)
                    .copied()
                    .into_iter()
                    .for_each(&mut consider);
            }
        }
        drop(marks);
        if subject.tags.contains(&ANY_TAG) {
            consider(site.any_tag.marks());
        }
    }

    fn marks_at(&self, key: u64) -> Option<Marks> {
        #[cfg(test)]
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.shard(key).read().get(&key).copied()
    }

    fn set_at(&self, key: u64, marks: Marks) -> bool {
        self.shard(key).write().insert(key, marks).is_none()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is below the number of shards"
    )]
    fn shard(&self, key: u64) -> &RwLock<HashMap<u64, Marks, FoldBuilder>> {
        // Not by the bits that place a key within a shard.
        &self.shards[(key >> 40) as usize % SHARDS]
    }

    fn key_of_prefix(&self, site: &SiteClock, host: Option<&str>, prefix: &[u8]) -> u64 {
        self.hasher.hash_one((site.salt, host, prefix))
    }

    /// The marks of a slot, if it has any.
    pub(super) fn marks(&self, slot: &Slot) -> Option<Marks> {
        match slot {
            Slot::Url { url, .. } => self.marks_at(key_of_url(*url)),
            Slot::Prefix { site, host, prefix } => {
                let site = self.site(site);
                self.marks_at(self.key_of_prefix(&site, host.as_deref(), prefix.as_bytes()))
            }
            Slot::Tag { site, tag } => self.marks_at(key_of_tag(&self.site(site), *tag)),
            Slot::Site(site) => self.site(site).marks.read().site,
            Slot::Everything => Some(*self.everything.read()).filter(|marks| marks.latest() > 0),
        }
    }

    /// Sets the marks of a slot; the epochs are turned afterwards.
    pub(super) fn set(&self, slot: &Slot, marks: Marks) {
        let is_new = match slot {
            Slot::Url { url, .. } => self.set_at(key_of_url(*url), marks),
            Slot::Prefix { site, host, prefix } => {
                let site = self.site(site);
                let key = self.key_of_prefix(&site, host.as_deref(), prefix.as_bytes());
                let is_new = self.set_at(key, marks);
                if is_new {
                    let mut table = site.marks.write();
                    match host {
                        None => table.lengths.insert(prefix.len()),
                        Some(_) => table.lengths_of_hosts.insert(prefix.len()),
                    };
                }
                is_new
            }
            Slot::Tag { site, tag } => {
                let site = self.site(site);
                site.any_tag.raise(marks);
                self.set_at(key_of_tag(&site, *tag), marks)
            }
            Slot::Site(site) => {
                let site = self.site(site);
                site.marks.write().site.replace(marks).is_none()
            }
            Slot::Everything => {
                let mut everything = self.everything.write();
                let is_new = everything.latest() == 0;
                *everything = marks;
                is_new
            }
        };
        if is_new {
            self.slots.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn traffic(&self) -> usize {
        self.traffic.load(Ordering::Relaxed)
    }

    /// The marks that invalidations have left on a slot.
    pub(super) fn traffic_marks(&self, site: &str, slot: TrafficSlot) -> Option<Marks> {
        self.site(site).marks.read().traffic.get(&slot).copied()
    }

    /// How many slots of each site have such marks.
    pub(super) fn traffic_of_sites(&self) -> Vec<(Box<str>, usize)> {
        let sites = self.sites.read();
        let count = |site: &SiteClock| site.marks.read().traffic.len();
        sites
            .iter()
            .map(|(name, site)| (name.clone(), count(site)))
            .collect()
    }

    /// Calls `visit` with such marks of one site, and returns how many slots have them.
    pub(super) fn traffic_of_site(&self, site: &str, visit: impl FnMut(Marks)) -> usize {
        let site = self.site(site);
        let marks = site.marks.read();
        marks.traffic.values().copied().for_each(visit);
        marks.traffic.len()
    }

    /// Calls `visit` with every slot that has such marks.
    pub(super) fn each_traffic(&self, mut visit: impl FnMut(&str, TrafficSlot, Marks)) {
        for (name, site) in self.sites.read().iter() {
            for (slot, marks) in &site.marks.read().traffic {
                visit(name, *slot, *marks);
            }
        }
    }

    /// Sets what invalidations have left on slots of a site; the epochs are turned afterwards.
    pub(super) fn set_traffic(
        &self,
        site: &str,
        marks: impl IntoIterator<Item = (TrafficSlot, Marks)>,
    ) {
        let site = self.site(site);
        let traffic = &mut site.marks.write().traffic;
        let before = traffic.len();
        traffic.extend(marks.into_iter().inspect(|(slot, marks)| match slot {
            TrafficSlot::Tag(_) => site.any_tag.raise(*marks),
            TrafficSlot::Url(_) => {}
        }));
        self.traffic
            .fetch_add(traffic.len() - before, Ordering::Relaxed);
    }

    /// Drops all that invalidations have left on slots of a site, whose clock must have been raised
    /// before.
    pub(super) fn drop_traffic(&self, site: &str) {
        let site = self.site(site);
        let traffic = &mut site.marks.write().traffic;
        self.traffic.fetch_sub(traffic.len(), Ordering::Relaxed);
        *traffic = HashMap::new();
    }

    /// Calls `visit` with the marks of every slot, without those of invalidations.
    pub(super) fn each_marks(&self, mut visit: impl FnMut(Marks)) {
        let everything = *self.everything.read();
        if everything.latest() > 0 {
            visit(everything);
        }
        for shard in &self.shards {
            shard.read().values().copied().for_each(&mut visit);
        }
        for site in self.all_sites() {
            site.marks.read().site.iter().copied().for_each(&mut visit);
        }
    }

    /// Drops the slots whose purges are all at or below `floor`, which must have been raised before.
    pub(super) fn drop_up_to(&self, floor: u64) {
        let keep = |marks: &Marks| marks.latest() > floor;
        let mut dropped = 0;
        {
            let mut everything = self.everything.write();
            if everything.latest() > 0 && !keep(&everything) {
                *everything = Marks::default();
                dropped += 1;
            }
        }
        for shard in &self.shards {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, marks| keep(marks));
            dropped += before - shard.len();
        }
        for site in self.all_sites() {
            let mut table = site.marks.write();
            if table.site.is_some_and(|marks| !keep(&marks)) {
                table.site = None;
                dropped += 1;
            }
            let traffic = &mut table.traffic;
            let before = traffic.len();
            traffic.retain(|_, marks| keep(marks));
            self.traffic
                .fetch_sub(before - traffic.len(), Ordering::Relaxed);
        }
        self.slots.fetch_sub(dropped, Ordering::Relaxed);
    }

    /// Tells the sites that these slots concern, `None` being any, that there was a purge.
    pub(super) fn turn_epochs(&self, sites: &HashSet<Option<Arc<str>>>) {
        if sites.contains(&None) {
            return self.turn_all_epochs();
        }
        for site in sites.iter().flatten() {
            self.site(site).turn();
        }
    }

    /// Tells a site that something of it was invalidated.
    pub(super) fn turn_epoch(&self, site: &str) {
        self.site(site).turn();
    }

    pub(super) fn turn_all_epochs(&self) {
        for site in self.all_sites() {
            site.turn();
        }
    }

    fn all_sites(&self) -> Vec<Arc<SiteClock>> {
        self.sites.read().values().map(Arc::clone).collect()
    }
}

/// The beginnings of a path that have one of these lengths.
fn starts<'a>(path: &'a str, lengths: &'a BTreeSet<usize>) -> impl Iterator<Item = &'a [u8]> {
    let fitting = lengths.range(..=path.len());
    fitting.filter_map(|length| path.as_bytes().get(..*length))
}

fn key_of_url(url: u128) -> u64 {
    fold(url)
}

fn key_of_tag(site: &SiteClock, tag: u128) -> u64 {
    fold(tag) ^ site.salt
}

/// Half of a hash.
fn fold(hash: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
