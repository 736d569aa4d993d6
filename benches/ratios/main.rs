//! Compares the library and the sidecar with floors: the least work that any program needs for the same answers.
//!
//! `cargo bench` prints the table; words behind `--` choose the lines that contain one of them. The table is a report: a
//! line that is over its bound says so, and only what cannot be measured, or a wrong answer, is a failure.

mod corpus;
mod echo;
mod floor;
mod library;
mod memory;
#[cfg(target_os = "linux")]
mod opens;
mod peer;
mod stdio;
mod table;
mod timing;
mod watching;
mod writes;

use std::{
    env,
    io::{self, Write},
};

use corpus::Corpus;
use table::Line;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Measures some lines of the table; several where one run brings several numbers.
struct Measurement {
    /// What its lines begin with.
    subject: &'static str,
    lines: fn(&Corpus) -> Result<Vec<Line>>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement { subject: "library: snippets", lines: library::snippets },
    Measurement { subject: "library: content scan", lines: library::content_scans },
    Measurement { subject: "library: tracking scan", lines: library::tracking_scans },
    Measurement { subject: "stdio: snippets", lines: stdio::snippets },
    Measurement { subject: "stdio: one snippet", lines: stdio::one_snippet },
    Measurement { subject: "stdio: start", lines: stdio::start },
    Measurement { subject: "stdio: memory", lines: memory::lines },
    Measurement { subject: "writes: transaction", lines: writes::transaction },
    Measurement { subject: "writes: small edit over stdio", lines: writes::over_stdio },
    Measurement { subject: "writes: one file", lines: writes::one_file },
    Measurement { subject: "watching 100,000 files", lines: watching::large_tree },
    Measurement { subject: "watching a quiet tree", lines: watching::quiet_tree },
];

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if words == [echo::ARGUMENT] {
        return Ok(echo::run(io::stdin().lock(), io::stdout().lock())?);
    }
    let chosen = |subject: &str| words.is_empty() || words.iter().any(|word| subject.contains(word.as_str()));

    let corpus = Corpus::fetched()?;
    println!("{} cores, of which floors use all; {corpus}", floor::threads());
    println!("Medians of interleaved rounds; the ratio is the median of the rounds' ratios.\n");
    println!("{}", table::head());
    for measurement in MEASUREMENTS.iter().filter(|measurement| chosen(measurement.subject)) {
        for line in (measurement.lines)(&corpus)? {
            println!("{}", line.in_table(measurement.subject));
        }
        io::stdout().flush()?;
    }
    Ok(())
}
