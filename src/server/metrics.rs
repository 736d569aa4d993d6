//! How often each method was asked for, and how long it took.

use std::{
    array,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::protocol::status::MethodStats;

/// Counters of the methods of one connection.
pub(crate) struct Metrics {
    methods: Vec<(&'static str, Counters)>,
}

impl Metrics {
    /// Counters for `methods`; what is recorded of others is not kept.
    pub fn new(methods: impl IntoIterator<Item = &'static str>) -> Self {
        Self { methods: methods.into_iter().map(|name| (name, Counters::new())).collect() }
    }

    pub fn record(&self, method: &str, took: Duration, failed: bool) {
        if let Some((_, counters)) = self.methods.iter().find(|(name, _)| *name == method) {
            counters.record(took, failed);
        }
    }

    /// The methods that have been asked for at least once.
    pub fn snapshot(&self) -> BTreeMap<String, MethodStats> {
        let all = self.methods.iter().map(|(name, counters)| ((*name).to_owned(), counters.stats()));
        all.filter(|(_, stats)| stats.count > 0).collect()
    }
}

struct Counters {
    errors: AtomicU64,
    /// Requests by how long they took.
    buckets: [AtomicU64; BUCKETS],
}

impl Counters {
    fn new() -> Self {
        Self { errors: AtomicU64::new(0), buckets: array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn record(&self, took: Duration, failed: bool) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)].fetch_add(1, Relaxed);
        self.errors.fetch_add(failed.into(), Relaxed);
    }

    fn stats(&self) -> MethodStats {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        let count: u64 = counts.iter().sum();
        let quantile = |hundredths: u64| {
            let rank = (count * hundredths).div_ceil(100);
            let mut seen = 0;
            let bucket = counts.iter().position(|n| {
                seen += n;
                seen >= rank.max(1)
            });
            bucket.map_or(0, last_of)
        };
        MethodStats { count, errors: self.errors.load(Relaxed), p50_us: quantile(50), p99_us: quantile(99) }
    }
}

/// Up to this many microseconds each has a bucket of its own; beyond, each doubling is cut into [`STEPS`].
const EXACT: u64 = 16;
const STEPS: u64 = 8;
/// 2^40 microseconds are 12 days; whatever takes longer counts as that.
const BUCKETS: usize = (EXACT + (40 - EXACT.ilog2() as u64) * STEPS) as usize;

fn bucket_of(micros: u64) -> usize {
    if micros < EXACT {
        return micros as usize;
    }
    let doubling = u64::from(micros.ilog2());
    let step = (micros >> (doubling - STEPS.ilog2() as u64)) - STEPS;
    let bucket = EXACT + (doubling - EXACT.ilog2() as u64) * STEPS + step;
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest time that falls into a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let (doubling, step) = ((bucket - EXACT) / STEPS + EXACT.ilog2() as u64, (bucket - EXACT) % STEPS);
    let width = 1 << (doubling - STEPS.ilog2() as u64);
    (STEPS + step + 1) * width - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_ends_at_most_an_eighth_above_it() {
        let mut times: Vec<u64> = (0..4096).collect();
        times.extend((12..40).flat_map(|exponent| [(1 << exponent) - 1, 1 << exponent, (1 << exponent) + 1]));
        for time in times {
            let last = last_of(bucket_of(time));
            assert!(time <= last && last <= time + time / 8, "{time} -> {last}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_times_recorded() {
        let metrics = Metrics::new(["a", "b"]);
        for micros in 1..=100 {
            metrics.record("a", Duration::from_micros(if micros <= 98 { 10 } else { 1 << 20 }), micros == 7);
        }
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.len(), 1, "b was never asked for");
        let stats = snapshot["a"];
        assert_eq!((stats.count, stats.errors, stats.p50_us), (100, 1, 10));
        assert!(stats.p99_us >= 1 << 20, "{stats:?}");
    }

    #[test]
    fn a_single_request_is_its_own_median() {
        let metrics = Metrics::new(["a"]);
        metrics.record("a", Duration::from_micros(3), true);
        metrics.record("unknown", Duration::from_micros(3), true);
        assert_eq!(
            metrics.snapshot(),
            [("a".to_owned(), MethodStats { count: 1, errors: 1, p50_us: 3, p99_us: 3 })].into()
        );
    }
}
