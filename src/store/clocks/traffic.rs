//! What a batch of invalidations changes, and when a site has too many of them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::info;

use super::slot::{Invalidation, Marks, Slot, TrafficSlot};
use super::table::Tables;

/// The clock of a site is raised at most once in this time.
const RAISE_EVERY: Duration = Duration::from_secs(1);

/// The bound on the clocks of invalidations.
#[derive(Debug)]
pub(super) struct Bound {
    /// Beyond this, the clock of the site with the most of them is raised. When that was done less than
    /// a second ago, they are kept up to twice as many; beyond that, calls wait.
    max: usize,
    /// When, by uptime, the clocks of sites were raised; only what is not yet a second ago.
    raised: HashMap<Box<str>, Duration>,
}

impl Bound {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            raised: HashMap::new(),
        }
    }

    /// What is left of the second in which the clock of a site must not be raised again.
    fn wait(&self, site: &str, uptime: Duration) -> Option<Duration> {
        let again = *self.raised.get(site)? + RAISE_EVERY;
        again.checked_sub(uptime).filter(|wait| !wait.is_zero())
    }

    fn note(&mut self, site: &str, uptime: Duration) {
        self.raised.retain(|_, at| uptime < *at + RAISE_EVERY);
        self.raised.insert(site.into(), uptime);
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is part of the plan, with this number.
    Accepted(u64),
    /// There is no room for it; there may be after this time.
    Later(Duration),
}

/// What a batch of invalidations changes, without changing it.
pub(super) struct TrafficPlan<'a> {
    tables: &'a Tables,
    bound: &'a Bound,
    uptime: Duration,
    first: u64,
    last: u64,
    /// The clocks of invalidations that there will be.
    entries: usize,
    sites: HashMap<Box<str>, SitePlan>,
}

#[derive(Debug, Default)]
pub(super) struct SitePlan {
    /// The site's clock is raised to these, and all that its slots had is dropped.
    raised: Option<Marks>,
    /// Set afterwards.
    marks: HashMap<TrafficSlot, Marks>,
    /// How many of those are new.
    fresh: usize,
}

impl<'a> TrafficPlan<'a> {
    pub(super) fn new(tables: &'a Tables, bound: &'a Bound, uptime: Duration, last: u64) -> Self {
        Self {
            tables,
            bound,
            uptime,
            first: last + 1,
            last,
            entries: tables.traffic(),
            sites: HashMap::new(),
        }
    }

    /// Takes a call into the plan, if there is room or can be made.
    pub(super) fn admit(&mut self, site: &str, items: &[Invalidation]) -> Admission {
        let number = self.last + 1;
        let new: HashSet<TrafficSlot> = items
            .iter()
            .map(|item| item.slot)
            .filter(|slot| self.marks(site, *slot).is_none())
            .collect();
        let new = new.len();
        while self.entries + new > self.bound.max {
            let Some(largest) = self.largest(site, new) else {
                break;
            };
            if let Some(wait) = self.wait(&largest) {
                if self.entries + new <= 2 * self.bound.max {
                    break;
                }
                return Admission::Later(wait);
            }
            let raised = self.raise(&largest);
            if *largest == *site {
                for item in items {
                    raised.raise(item.kind, number);
                }
                self.last = number;
                return Admission::Accepted(number);
            }
        }
        for item in items {
            let mut marks = self.marks(site, item.slot).unwrap_or_default();
            marks.raise(item.kind, number);
            let plan = self.sites.entry(site.into()).or_default();
            plan.marks.insert(item.slot, marks);
        }
        if let Some(plan) = self.sites.get_mut(site) {
            plan.fresh += new;
        }
        self.entries += new;
        self.last = number;
        Admission::Accepted(number)
    }

    fn marks(&self, site: &str, slot: TrafficSlot) -> Option<Marks> {
        let plan = self.sites.get(site);
        if let Some(marks) = plan.and_then(|plan| plan.marks.get(&slot)) {
            return Some(*marks);
        }
        match plan.and_then(|plan| plan.raised) {
            Some(_) => None,
            None => self.tables.traffic_marks(site, slot),
        }
    }

    /// The site that would have the most slots with `new` more for `site`: who makes the crowd pays.
    fn largest(&self, site: &str, new: usize) -> Option<Box<str>> {
        let count = |name: &str, held: usize| {
            let plan = self.sites.get(name);
            let held = match plan.and_then(|plan| plan.raised) {
                Some(_) => 0,
                None => held,
            };
            let mine = if name == site { new } else { 0 };
            held + plan.map_or(0, |plan| plan.fresh) + mine
        };
        self.tables
            .traffic_of_sites()
            .into_iter()
            .map(|(name, held)| (count(&name, held), Reverse(name)))
            .filter(|(count, _)| *count > 0)
            .max()
            .map(|(_, Reverse(name))| name)
    }

    fn wait(&self, site: &str) -> Option<Duration> {
        match self.sites.get(site).and_then(|plan| plan.raised) {
            Some(_) => Some(RAISE_EVERY),
            None => self.bound.wait(site, self.uptime),
        }
    }

    /// Raises a site's clock to the last of its invalidations: what was fetched since stays.
    fn raise(&mut self, site: &str) -> &mut Marks {
        let mut raised = Marks::default();
        let held = self
            .tables
            .traffic_of_site(site, |marks| raised.merge(marks));
        let plan = self.sites.entry(site.into()).or_default();
        for (_, marks) in plan.marks.drain() {
            raised.merge(marks);
        }
        self.entries = self.entries.saturating_sub(held + plan.fresh);
        plan.fresh = 0;
        plan.raised.insert(raised)
    }

    pub(super) fn into_changes(self) -> TrafficChanges {
        TrafficChanges {
            first: self.first,
            last: self.last,
            uptime: self.uptime,
            sites: self.sites,
        }
    }
}

/// A plan that nobody can add to.
pub(super) struct TrafficChanges {
    pub(super) first: u64,
    pub(super) last: u64,
    uptime: Duration,
    sites: HashMap<Box<str>, SitePlan>,
}

impl TrafficChanges {
    pub(super) fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    pub(super) fn drops(&self, site: &str) -> bool {
        self.sites
            .get(site)
            .is_some_and(|plan| plan.raised.is_some())
    }

    /// The sites whose clocks are raised, as changes of their own slots.
    pub(super) fn raised(&self, tables: &Tables) -> HashMap<Slot, Marks> {
        let raised = self.sites.iter().filter_map(|(name, plan)| {
            let slot = Slot::Site((&**name).into());
            let mut marks = plan.raised?;
            marks.merge(tables.marks(&slot).unwrap_or_default());
            Some((slot, marks))
        });
        raised.collect()
    }

    /// All slots that are set.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, TrafficSlot, Marks)> {
        self.sites.iter().flat_map(|(name, plan)| {
            let marks = plan.marks.iter();
            marks.map(|(slot, marks)| (&**name, *slot, *marks))
        })
    }

    /// Makes the batch hold, once it is written. `raised` is what [`raised`](Self::raised) gave.
    pub(super) fn publish(
        mut self,
        raised: HashMap<Slot, Marks>,
        tables: &Tables,
        bound: &mut Bound,
    ) {
        // Before the slots go that they stand in for.
        for (slot, marks) in raised {
            tables.set(&slot, marks);
        }
        for (name, plan) in &mut self.sites {
            if plan.raised.is_some() {
                info!(site = %name, "too many invalidations: the clock of the site is raised");
                bound.note(name, self.uptime);
                tables.drop_traffic(name);
                tables.overflows.fetch_add(1, Ordering::Relaxed);
            }
            tables.set_traffic(name, plan.marks.drain());
        }
        tables.sequence.store(self.last, Ordering::Release);
        // Last: who sees the new epoch sees all the above.
        for name in self.sites.keys() {
            tables.turn_epoch(name);
        }
    }
}
