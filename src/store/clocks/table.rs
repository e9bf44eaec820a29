use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::journal::{Journal, Limits};
use super::slot::{Invalidation, Marks, PurgeItem, Purged, Slot, TrafficSlot};
use crate::clock::{SharedClock, SystemClock};
use crate::store::{Object, StoreError};

const URL_SHARDS: usize = 64;

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
        self.journal.purge(items).await
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
        let purged = self.check_marks(
            site,
            object.url,
            object.path(),
            &object.tags(),
            object.body_seq,
            object.checked_seq,
        );
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
        url: u128,
        path: &str,
        tags: &[u128],
        body_seq: u64,
        checked_seq: u64,
    ) -> Purged {
        let tables = &self.tables;
        // From a future that these clocks do not know: the state was put back from a copy, and the
        // purges since then are lost.
        if body_seq > self.sequence() || body_seq < self.floor() {
            return Purged::Hard;
        }
        let everything = *tables.everything.read();
        let mut purged = everything.verdict(body_seq, checked_seq);
        let mut consider = |marks: Option<Marks>| {
            let verdict = marks.map_or(Purged::No, |marks| marks.verdict(body_seq, checked_seq));
            purged = purged.max(verdict);
        };
        consider(tables.url_shard(url).read().get(&url).copied());
        site.consider(url, path, tags, consider);
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
    marks: RwLock<SiteMarks>,
}

#[derive(Debug, Default)]
struct SiteMarks {
    site: Option<Marks>,
    tags: HashMap<u128, Marks>,
    prefixes: HashMap<Box<[u8]>, Marks>,
    /// The lengths that prefixes have: only those of a path are looked up.
    lengths: BTreeSet<usize>,
    /// What traffic has invalidated. Apart from the others, so that dropping these leaves those as they
    /// are; here and not with the URLs, so that a site's own can be dropped in one go.
    traffic: HashMap<TrafficSlot, Marks>,
}

impl SiteClock {
    fn new() -> Self {
        Self {
            // An object has 0 until it has been checked.
            epoch: AtomicU64::new(1),
            marks: RwLock::default(),
        }
    }

    /// Changes with every purge that may concern the site.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn turn(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn consider(
        &self,
        url: u128,
        path: &str,
        tags: &[u128],
        mut consider: impl FnMut(Option<Marks>),
    ) {
        let marks = self.marks.read();
        consider(marks.site);
        if !marks.tags.is_empty() {
            for tag in tags {
                consider(marks.tags.get(tag).copied());
            }
        }
        if !marks.traffic.is_empty() {
            consider(marks.traffic.get(&TrafficSlot::Url(url)).copied());
            for tag in tags {
                consider(marks.traffic.get(&TrafficSlot::Tag(*tag)).copied());
            }
        }
        for length in &marks.lengths {
            let Some(start) = path.as_bytes().get(..*length) else {
                break;
            };
            consider(marks.prefixes.get(start).copied());
        }
    }
}

/// All clocks in memory, equal to what is written. Only the journal's thread changes them.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) sequence: AtomicU64,
    pub(super) floor: AtomicU64,
    slots: AtomicUsize,
    traffic: AtomicUsize,
    pub(super) overflows: AtomicU64,
    everything: RwLock<Marks>,
    urls: Box<[RwLock<HashMap<u128, Marks>>]>,
    sites: RwLock<HashMap<Box<str>, Arc<SiteClock>>>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            slots: AtomicUsize::new(0),
            traffic: AtomicUsize::new(0),
            overflows: AtomicU64::new(0),
            everything: RwLock::default(),
            urls: (0..URL_SHARDS).map(|_| RwLock::default()).collect(),
            sites: RwLock::default(),
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
            .or_insert_with(|| Arc::new(SiteClock::new()));
        Arc::clone(site)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is below the number of shards"
    )]
    fn url_shard(&self, url: u128) -> &RwLock<HashMap<u128, Marks>> {
        &self.urls[(url % URL_SHARDS as u128) as usize]
    }

    /// The marks of a slot, if it has any.
    pub(super) fn marks(&self, slot: &Slot) -> Option<Marks> {
        match slot {
            Slot::Url(url) => self.url_shard(*url).read().get(url).copied(),
            Slot::Prefix { site, prefix } => {
                let marks = self.site(site);
                let marks = marks.marks.read();
                marks.prefixes.get(prefix.as_bytes()).copied()
            }
            Slot::Tag { site, tag } => self.site(site).marks.read().tags.get(tag).copied(),
            Slot::Site(site) => self.site(site).marks.read().site,
            Slot::Everything => Some(*self.everything.read()).filter(|marks| marks.latest() > 0),
        }
    }

    /// Sets the marks of a slot; the epochs are turned afterwards.
    pub(super) fn set(&self, slot: Slot, marks: Marks) {
        let is_new = match slot {
            Slot::Url(url) => self.url_shard(url).write().insert(url, marks).is_none(),
            Slot::Prefix { site, prefix } => {
                let clock = self.site(&site);
                let mut table = clock.marks.write();
                let prefix = prefix.into_bytes().into_boxed_slice();
                let length = prefix.len();
                table.lengths.insert(length);
                table.prefixes.insert(prefix, marks).is_none()
            }
            Slot::Tag { site, tag } => {
                let clock = self.site(&site);
                clock.marks.write().tags.insert(tag, marks).is_none()
            }
            Slot::Site(site) => {
                let clock = self.site(&site);
                clock.marks.write().site.replace(marks).is_none()
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
        traffic.extend(marks);
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
        for shard in &self.urls {
            shard.read().values().copied().for_each(&mut visit);
        }
        for site in self.all_sites() {
            let table = site.marks.read();
            table.site.iter().copied().for_each(&mut visit);
            table.tags.values().copied().for_each(&mut visit);
            table.prefixes.values().copied().for_each(&mut visit);
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
        for shard in &self.urls {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, marks| keep(marks));
            dropped += before - shard.len();
        }
        for site in self.all_sites() {
            let mut table = site.marks.write();
            let SiteMarks {
                site,
                tags,
                prefixes,
                lengths,
                traffic,
            } = &mut *table;
            if site.as_ref().is_some_and(|marks| !keep(marks)) {
                *site = None;
                dropped += 1;
            }
            let before = tags.len() + prefixes.len();
            tags.retain(|_, marks| keep(marks));
            prefixes.retain(|_, marks| keep(marks));
            lengths.clear();
            lengths.extend(prefixes.keys().map(|prefix| prefix.len()));
            dropped += before - tags.len() - prefixes.len();
            let before = traffic.len();
            traffic.retain(|_, marks| keep(marks));
            self.traffic
                .fetch_sub(before - traffic.len(), Ordering::Relaxed);
        }
        self.slots.fetch_sub(dropped, Ordering::Relaxed);
    }

    /// Tells the sites that `slots` concern that there was a purge.
    pub(super) fn turn_epochs<'a>(&self, slots: impl IntoIterator<Item = &'a Slot>) {
        let mut sites = HashSet::new();
        for slot in slots {
            match slot {
                // The slot of a URL does not say whose it is.
                Slot::Url(_) | Slot::Everything => return self.turn_all_epochs(),
                Slot::Prefix { site, .. } | Slot::Tag { site, .. } | Slot::Site(site) => {
                    sites.insert(site.as_str());
                }
            }
        }
        for site in sites {
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
