//! Times that another program on the same machine does not decide.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::Result;

const LEAST_ROUNDS: usize = 5;
const MOST_ROUNDS: usize = 101;
/// No round begins after this time, unless there are too few of them.
const ENOUGH: Duration = Duration::from_secs(6);

/// Times of two ways to do something, taken in turns.
pub struct Rounds {
    /// Measured and floor of each round.
    pairs: Vec<(Duration, Duration)>,
}

impl Rounds {
    /// Lets both ways take turns; what they return is their time. The first round warms both up and does not count.
    pub fn side_by_side(
        mut measured: impl FnMut() -> Result<Duration>,
        mut floor: impl FnMut() -> Result<Duration>,
    ) -> Result<Self> {
        measured()?;
        floor()?;
        let begin = Instant::now();
        let mut pairs = Vec::new();
        while pairs.len() < LEAST_ROUNDS || (pairs.len() < MOST_ROUNDS && begin.elapsed() < ENOUGH) {
            // Neither is always the one that comes second.
            pairs.push(if pairs.len() % 2 == 0 {
                let measured = measured()?;
                (measured, floor()?)
            } else {
                let floor = floor()?;
                (measured()?, floor)
            });
        }
        Ok(Self { pairs })
    }

    /// Rounds that were measured already, each with its floor.
    pub fn of(pairs: Vec<(Duration, Duration)>) -> Self {
        Self { pairs }
    }

    pub fn measured(&self) -> Duration {
        median(self.pairs.iter().map(|(measured, _)| *measured))
    }

    pub fn floor(&self) -> Duration {
        median(self.pairs.iter().map(|(_, floor)| *floor))
    }

    pub fn ratio(&self) -> f64 {
        let ratios = self.pairs.iter().map(|(measured, floor)| measured.as_secs_f64() / floor.as_secs_f64());
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

/// How long the work takes; freeing what it returns does not count.
pub fn time<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let begin = Instant::now();
    let result = black_box(work());
    (begin.elapsed(), result)
}

/// The middle of at least one time.
pub fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_unstable();
    times[times.len() / 2]
}
