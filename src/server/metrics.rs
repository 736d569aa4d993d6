//! Counts and durations of requests, by method.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::protocol::status::MethodStats;

/// Methods that are told apart; a client that invents names must not fill the memory.
const MAX_METHODS: usize = 64;

/// Stands for all further methods.
const OTHERS: &str = "other";

/// What has become of the requests so far.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<String, Durations>>);

impl Metrics {
    /// Counts a request that was answered.
    pub fn record(&self, method: &str, duration: Duration, refused: bool) {
        let mut methods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if methods.contains_key(method) || methods.len() < MAX_METHODS { method } else { OTHERS };
        match methods.get_mut(name) {
            Some(durations) => durations.record(duration, refused),
            None => methods.entry(name.to_owned()).or_default().record(duration, refused),
        }
    }

    pub fn snapshot(&self) -> BTreeMap<String, MethodStats> {
        let methods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        methods.iter().map(|(method, durations)| (method.clone(), durations.stats())).collect()
    }
}

/// A histogram whose buckets grow with the duration: exact to an eighth, in constant memory.
#[derive(Default)]
struct Durations {
    count: u64,
    errors: u64,
    buckets: BTreeMap<u16, u64>,
}

impl Durations {
    fn record(&mut self, duration: Duration, refused: bool) {
        self.count += 1;
        self.errors += u64::from(refused);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(micros)).or_default() += 1;
    }

    fn stats(&self) -> MethodStats {
        MethodStats { count: self.count, errors: self.errors, p50_us: self.percentile(50), p99_us: self.percentile(99) }
    }

    /// The largest duration of the bucket in which `percent` of the requests are reached.
    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return largest_of(*bucket);
            }
        }
        0
    }
}

/// Values below 16 have a bucket each; above, eight buckets share each power of two.
fn bucket(value: u64) -> u16 {
    let shift = (60 - value.leading_zeros().min(60)) as u16;
    shift * 8 + (value >> shift) as u16
}

fn largest_of(bucket: u16) -> u64 {
    let shift = (bucket / 8).saturating_sub(1);
    let first = u64::from(bucket - shift * 8);
    (first << shift) | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_is_told_to_an_eighth(value in 0_u64..) {
            let told = largest_of(bucket(value));
            prop_assert!(told >= value);
            prop_assert!(told - value <= value / 8);
        }

        #[test]
        fn longer_durations_have_later_buckets(a in 0_u64.., b in 0_u64..) {
            prop_assert_eq!(bucket(a.min(b)) <= bucket(a.max(b)), true);
        }
    }

    #[test]
    fn methods_are_counted_apart() {
        let metrics = Metrics::default();
        for micros in 1..=100 {
            metrics.record("ploke/scan", Duration::from_micros(micros), micros % 10 == 0);
        }
        metrics.record("ploke/status", Duration::from_micros(3), false);

        let snapshot = metrics.snapshot();
        assert_eq!(snapshot["ploke/scan"], MethodStats { count: 100, errors: 10, p50_us: 51, p99_us: 103 });
        assert_eq!(snapshot["ploke/status"], MethodStats { count: 1, errors: 0, p50_us: 3, p99_us: 3 });
    }

    #[test]
    fn invented_methods_are_counted_together() {
        let metrics = Metrics::default();
        for number in 0..1000 {
            metrics.record(&format!("invented/{number}"), Duration::ZERO, true);
        }
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.len(), MAX_METHODS + 1);
        assert_eq!(snapshot[OTHERS].count, 1000 - MAX_METHODS as u64);
    }
}
