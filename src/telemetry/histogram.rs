use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper edges in microseconds, inclusive as in Prometheus. A hit from memory takes tens of microseconds, a
/// fill from another continent a second, a large body on a slow line a minute.
const EDGES_MICROS: [u64; EDGES] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
const EDGES: usize = 19;

/// A histogram of durations made of relaxed atomics: an observation costs two additions and a search among
/// twenty numbers. It is not sharded itself; it lives in a shard.
#[derive(Debug)]
pub(super) struct DurationCells {
    /// One a bucket; the last is for what is above all edges.
    buckets: [AtomicU64; EDGES + 1],
    /// Wraps after 584 years of added time.
    sum_nanos: AtomicU64,
}

impl Default for DurationCells {
    fn default() -> Self {
        Self {
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            sum_nanos: AtomicU64::new(0),
        }
    }
}

impl DurationCells {
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // The edge is inclusive: 100 µs and not a nanosecond more is still in the bucket of 100 µs.
        let bucket = EDGES_MICROS.partition_point(|edge| edge * 1000 < nanos);
        if let Some(cell) = self.buckets.get(bucket) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// What a histogram holds at one moment, all shards added up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    pub(super) sum_seconds: f64,
    pub(super) count: u64,
    /// Upper edge in seconds and how many are in this bucket alone.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Distribution {
    pub(super) fn of<'a>(shards: impl Iterator<Item = &'a DurationCells>) -> Self {
        let mut counts = [0_u64; EDGES + 1];
        let mut sum = Duration::ZERO;
        for cells in shards {
            for (count, cell) in counts.iter_mut().zip(&cells.buckets) {
                *count += cell.load(Ordering::Relaxed);
            }
            sum = sum.saturating_add(Duration::from_nanos(
                cells.sum_nanos.load(Ordering::Relaxed),
            ));
        }
        let edges = EDGES_MICROS
            .iter()
            .map(|micros| Duration::from_micros(*micros).as_secs_f64())
            .chain(std::iter::once(f64::INFINITY));
        Self {
            sum_seconds: sum.as_secs_f64(),
            // From the buckets and not from a cell of its own, so that the two always agree.
            count: counts.iter().sum(),
            buckets: edges.zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(took: Duration, edge_seconds: f64) {
        let cells = DurationCells::default();
        cells.observe(took);
        let distribution = Distribution::of(std::iter::once(&cells));
        let filled: Vec<_> = distribution
            .buckets
            .iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(filled, [&(edge_seconds, 1)]);
        assert_eq!(distribution.count, 1);
        assert!((distribution.sum_seconds - took.as_secs_f64()).abs() < 1e-9);
    }

    #[test]
    fn an_edge_belongs_to_the_bucket_below_it() {
        check(Duration::ZERO, 0.000_05);
        check(Duration::from_micros(50), 0.000_05);
        check(Duration::from_nanos(50_001), 0.000_1);
        check(Duration::from_millis(1), 0.001);
        check(Duration::from_secs(60), 60.0);
        check(Duration::from_millis(60_001), f64::INFINITY);
    }

    #[test]
    fn shards_add_up() {
        let shards = [DurationCells::default(), DurationCells::default()];
        for cells in &shards {
            cells.observe(Duration::from_millis(2));
            cells.observe(Duration::from_millis(300));
        }
        let distribution = Distribution::of(shards.iter());
        assert_eq!(distribution.count, 4);
        assert!((distribution.sum_seconds - 0.604).abs() < 1e-9);
        let total: u64 = distribution.buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(total, 4);
    }
}
