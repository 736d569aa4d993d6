//! The table, in Markdown that reads as plain text too.

use std::time::Duration;

use crate::timing::Rounds;

/// One line of the table.
pub struct Line {
    what: &'static str,
    measured: String,
    floor: String,
    ratio: String,
    bound: String,
    within: bool,
}

impl Line {
    /// A time that may be so many times the floor's.
    pub fn times_floor(what: &'static str, rounds: &Rounds, at_most: f64) -> Self {
        let ratio = rounds.ratio();
        Self {
            what,
            measured: time(rounds.measured()),
            floor: time(rounds.floor()),
            ratio: format!("{ratio:.2}"),
            bound: format!("at most {at_most:.2}"),
            within: ratio <= at_most,
        }
    }

    /// A throughput that must be so many times the floor's; the rounds are times for one request.
    pub fn throughput(what: &'static str, rounds: &Rounds, at_least: f64) -> Self {
        let ratio = rounds.ratio().recip();
        let per_second = |time: Duration| format!("{:.0}/s", time.as_secs_f64().recip());
        Self {
            what,
            measured: per_second(rounds.measured()),
            floor: per_second(rounds.floor()),
            ratio: format!("{ratio:.2}"),
            bound: format!("at least {at_least:.2}"),
            within: ratio >= at_least,
        }
    }

    /// A throughput, for comparison.
    pub fn other_throughput(what: &'static str, rounds: &Rounds) -> Self {
        Self { bound: "-".into(), within: true, ..Self::throughput(what, rounds, 0.0) }
    }

    /// What another program needs, for comparison.
    pub fn peer(what: &'static str, rounds: &Rounds) -> Self {
        Self { bound: "-".into(), ..Self::times_floor(what, rounds, f64::INFINITY) }
    }

    /// A time with a bound of its own.
    pub fn time(what: &'static str, measured: Duration, under: Duration) -> Self {
        Self::absolute(what, time(measured), format!("under {}", time(under)), measured < under)
    }

    /// Memory with a bound, in bytes.
    pub fn memory(what: &'static str, measured: i64, under: i64) -> Self {
        Self::absolute(what, megabytes(measured), format!("under {}", megabytes(under)), measured < under)
    }

    /// A number of things of which there must be none.
    #[cfg(target_os = "linux")]
    pub fn none(what: &'static str, measured: usize) -> Self {
        Self::absolute(what, measured.to_string(), "none".into(), measured == 0)
    }

    fn absolute(what: &'static str, measured: String, bound: String, within: bool) -> Self {
        Self { what, measured, floor: "-".into(), ratio: "-".into(), bound, within }
    }

    pub fn in_table(&self, subject: &str) -> String {
        let what = format!("{subject}{}", self.what);
        row([&what, &self.measured, &self.floor, &self.ratio, &self.bound, if self.within { "ok" } else { "over" }])
    }
}

pub fn head() -> String {
    format!(
        "{}\n{}",
        row(["what", "measured", "floor", "ratio", "bound", ""]),
        row(["---", "--:", "--:", "--:", "--:", "---"])
    )
}

fn row([what, measured, floor, ratio, bound, verdict]: [&str; 6]) -> String {
    format!("| {what:<50} | {measured:>10} | {floor:>10} | {ratio:>6} | {bound:>13} | {verdict:<4} |")
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        0.001.. => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

fn megabytes(bytes: i64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
