use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Urgency;

/// Upper edges of the times in the queue, in milliseconds: a free thread takes a job at once, and nobody waits for
/// longer than some seconds.
const EDGES_MILLIS: [u32; 12] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 30_000];

/// Names of sites that are told apart; more can only come of reloads.
const SITES_MAX: usize = 4096;

/// Counters since the start, and what is going on now.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageStats {
    /// Jobs that a thread has finished, well or not.
    pub jobs: u64,
    /// Time of the processor that the threads have spent on them.
    pub busy: Duration,
    /// Source bytes of the pictures made.
    pub bytes_in: u64,
    /// Bytes of the pictures made.
    pub bytes_out: u64,
    /// Jobs that wait for a thread, by urgency.
    pub queued: [(Urgency, usize); Urgency::ALL.len()],
    /// Memory reserved by running jobs and by what is kept decoded.
    pub memory_bytes: u64,
    /// The part of it that is kept decoded.
    pub decoded_bytes: u64,
    /// Files decoded.
    pub decodes: u64,
    /// Jobs that found their picture decoded.
    pub shared_decodes: u64,
    /// Times in the queue: upper edge in seconds, and how many were not longer than that and than the edge before.
    pub waits: Vec<(f64, u64)>,
    /// All times in the queue together.
    pub waited: Duration,
    /// By site.
    pub sites: Vec<SiteImages>,
}

/// What was done for one site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteImages {
    /// Its name.
    pub site: Arc<str>,
    /// By the format of the result; jobs without a result are under `none`.
    pub formats: Vec<(&'static str, FormatImages)>,
    /// How often each reason of [`super::super::ImageError::as_str`] was given.
    pub refusals: Vec<(&'static str, u64)>,
    /// Answers that were given without the form that they should have had, by reason.
    pub fallbacks: Vec<(&'static str, u64)>,
    /// What became of trying to make a better one, by outcome.
    pub upgrades: Vec<(&'static str, u64)>,
}

/// What was done for one site in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormatImages {
    /// Jobs.
    pub jobs: u64,
    /// Time of the processor.
    pub busy: Duration,
    /// Source bytes.
    pub bytes_in: u64,
    /// Bytes of the pictures made.
    pub bytes_out: u64,
    /// What the pictures made are smaller than their sources.
    pub saved_bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    decodes: AtomicU64,
    shared_decodes: AtomicU64,
    waits: [AtomicU64; EDGES_MILLIS.len() + 1],
    waited_nanoseconds: AtomicU64,
    sites: Mutex<HashMap<Arc<str>, Site>>,
}

#[derive(Default)]
struct Site {
    formats: BTreeMap<&'static str, FormatImages>,
    refusals: BTreeMap<&'static str, u64>,
    fallbacks: BTreeMap<&'static str, u64>,
    upgrades: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(super) fn decoded(&self) {
        self.decodes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shared(&self) {
        self.shared_decodes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn waited(&self, time: Duration) {
        let edges = EDGES_MILLIS.map(|edge| Duration::from_millis(edge.into()));
        let bucket = edges.partition_point(|edge| *edge < time);
        if let Some(cell) = self.waits.get(bucket) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waited_nanoseconds
            .fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// A job is over. `made` are the lengths of the source and of the result.
    pub(super) fn job(
        &self,
        site: &Arc<str>,
        format: &'static str,
        busy: Duration,
        made: Option<(u64, u64)>,
    ) {
        self.of(site, |counters| {
            let sums = counters.formats.entry(format).or_default();
            sums.jobs += 1;
            sums.busy += busy;
            if let Some((from, to)) = made {
                sums.bytes_in += from;
                sums.bytes_out += to;
                sums.saved_bytes += from.saturating_sub(to);
            }
        });
    }

    pub(super) fn refused(&self, site: &Arc<str>, reason: &'static str) {
        self.of(site, |site| *site.refusals.entry(reason).or_default() += 1);
    }

    pub(super) fn fell_back(&self, site: &Arc<str>, reason: &'static str) {
        self.of(site, |site| *site.fallbacks.entry(reason).or_default() += 1);
    }

    pub(super) fn upgraded(&self, site: &Arc<str>, outcome: &'static str) {
        self.of(site, |site| *site.upgrades.entry(outcome).or_default() += 1);
    }

    fn of(&self, site: &Arc<str>, count: impl FnOnce(&mut Site)) {
        let mut sites = self.sites.lock();
        if sites.contains_key(site) || sites.len() < SITES_MAX {
            count(sites.entry(Arc::clone(site)).or_default());
        }
    }

    /// All counters; what is going on now is left at zero.
    pub(super) fn stats(&self) -> ImageStats {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let edges = EDGES_MILLIS
            .iter()
            .map(|edge| f64::from(*edge) / 1000.0)
            .chain([f64::INFINITY]);
        let sites: Vec<SiteImages> = {
            let sites = self.sites.lock();
            sites.iter().map(|(name, site)| site.stats(name)).collect()
        };
        let formats = || {
            let sites = sites.iter();
            sites.flat_map(|site| site.formats.iter().map(|(_, sums)| sums))
        };
        ImageStats {
            jobs: formats().map(|sums| sums.jobs).sum(),
            busy: formats().map(|sums| sums.busy).sum(),
            bytes_in: formats().map(|sums| sums.bytes_in).sum(),
            bytes_out: formats().map(|sums| sums.bytes_out).sum(),
            queued: Urgency::ALL.map(|urgency| (urgency, 0)),
            memory_bytes: 0,
            decoded_bytes: 0,
            decodes: load(&self.decodes),
            shared_decodes: load(&self.shared_decodes),
            waits: edges.zip(self.waits.iter().map(load)).collect(),
            waited: Duration::from_nanos(load(&self.waited_nanoseconds)),
            sites,
        }
    }
}

impl Site {
    fn stats(&self, name: &Arc<str>) -> SiteImages {
        let counts = |of: &BTreeMap<&'static str, u64>| of.iter().map(|(n, c)| (*n, *c)).collect();
        SiteImages {
            site: Arc::clone(name),
            formats: self.formats.iter().map(|(f, sums)| (*f, *sums)).collect(),
            refusals: counts(&self.refusals),
            fallbacks: counts(&self.fallbacks),
            upgrades: counts(&self.upgrades),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_and_formats_are_told_apart_and_add_up() {
        let counters = Counters::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let second = Duration::from_secs(1);
        counters.job(&a, "avif", second, Some((100, 30)));
        counters.job(&a, "avif", second, Some((10, 30)));
        counters.job(&b, "none", second, None);
        counters.refused(&b, "bad-picture");
        let stats = counters.stats();
        assert_eq!((stats.jobs, stats.busy), (3, 3 * second));
        assert_eq!((stats.bytes_in, stats.bytes_out), (110, 60));
        let of = |name: &str| stats.sites.iter().find(|site| &*site.site == name).unwrap();
        assert_eq!(of("a").formats[0].1.saved_bytes, 70, "never less than none");
        assert_eq!(of("b").formats[0].0, "none");
        assert_eq!(of("b").refusals, [("bad-picture", 1)]);
    }

    #[test]
    fn waits_fall_into_the_bucket_below_their_edge() {
        let counters = Counters::default();
        for millis in [0, 1, 2, 60_000] {
            counters.waited(Duration::from_millis(millis));
        }
        let stats = counters.stats();
        assert_eq!(stats.waits[0], (0.001, 2));
        assert_eq!(stats.waits[1], (0.005, 1));
        assert_eq!(stats.waits.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!(stats.waited, Duration::from_millis(60_003));
    }
}
