//! `ploke-io demo`: a working session with the sidecar, as an agent would have it, on a throwaway project.

mod client;
mod project;
mod session;

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;

use self::{
    client::ClientError,
    project::{Limits, Project, ProjectError, Skipped},
    session::{Failure, STEPS, Session},
};

const LIMITS: Limits = Limits { files: 20_000, bytes: 512 << 20 };
/// How long the sidecar may take for a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Columns of a step's text, after which its time stands.
const TEXT_WIDTH: usize = 74;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Directory to work on a copy of; it is not touched itself [default: a small sample]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let played = std::env::current_exe()
        .map_err(DemoError::NoProgram)
        .and_then(|program| play(program.as_os_str(), args, PATIENCE, &mut io::stdout()));
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ploke-io demo: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("could not find the program itself: {0}")]
    NoProgram(io::Error),
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Start(#[from] ClientError),
    #[error("could not print: {0}")]
    Print(#[from] io::Error),
    #[error("step {number}, {name}, failed\n  expected: {}\n  came:     {}\n{}", .failure.expected, .failure.came, on_stderr(.stderr))]
    Step { number: usize, name: &'static str, failure: Failure, stderr: String },
}

fn on_stderr(text: &str) -> String {
    if text.is_empty() { "  the sidecar's stderr is empty".into() } else { format!("  the sidecar's stderr:\n{text}") }
}

/// Plays the session with `program` as the sidecar and tells each step on `out`.
fn play(program: &OsStr, args: &DemoArgs, patience: Duration, out: &mut impl Write) -> Result<(), DemoError> {
    let project = match &args.dir {
        Some(dir) => Project::copy_of(dir, LIMITS)?,
        None => Project::sample()?,
    };
    print_project(out, &project, args)?;
    let mut session = Session::start(program, project, patience)?;
    let begin = Instant::now();
    for (index, (name, step)) in STEPS.iter().enumerate() {
        let number = index + 1;
        let start = Instant::now();
        let told = step(&mut session).map_err(|failure| {
            let stderr = session.kill();
            DemoError::Step { number, name, failure, stderr }
        })?;
        let time = start.elapsed().as_secs_f64() * 1000.0;
        writeln!(out, "{number:>2}  {name:<11} {:<TEXT_WIDTH$} {time:>7.1} ms", told.text)?;
        for line in told.detail.lines() {
            writeln!(out, "{:16}{}", "", line.trim_end())?;
        }
    }
    let time = begin.elapsed().as_secs_f64() * 1000.0;
    writeln!(out, "\nAll as it must be, in {time:.0} ms; the temporary project is gone.")?;
    Ok(())
}

fn print_project(out: &mut impl Write, project: &Project, args: &DemoArgs) -> io::Result<()> {
    let origin = match &args.dir {
        Some(dir) => format!("a temporary copy of {}", dir.display()),
        None => "a temporary sample project".into(),
    };
    writeln!(out, "ploke-io {} on {origin}, {} files", env!("CARGO_PKG_VERSION"), project.files.len())?;
    let Skipped { directories, links, unreadable, beyond_limit } = project.skipped;
    let reasons = [
        (directories, "repository, build or dependency directories"),
        (links, "links"),
        (unreadable, "unreadable or special files"),
    ];
    for (count, what) in reasons.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "  skipped {count} {what}")?;
    }
    if beyond_limit {
        let Limits { files, bytes } = LIMITS;
        writeln!(out, "  stopped copying at the limit of {files} files or {} MiB", bytes >> 20)?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_that_is_none_fails_the_first_step_with_what_came_and_its_stderr() {
        // A test binary that is given the sidecar's arguments refuses them on stderr.
        let program = std::env::current_exe().unwrap();
        let mut out = Vec::new();
        let error = play(program.as_os_str(), &DemoArgs { dir: None }, PATIENCE, &mut out).unwrap_err();

        let text = error.to_string();
        assert!(text.starts_with("step 1, initialize, failed"), "{text}");
        assert!(text.contains("expected: ") && text.contains("the sidecar ended"), "{text}");
        assert!(text.contains("log-dir"), "{text}");
    }

    #[test]
    fn a_program_that_cannot_be_started_is_an_error() {
        let error = play(OsStr::new("/no/such/program"), &DemoArgs { dir: None }, PATIENCE, &mut Vec::new());
        assert!(matches!(error, Err(DemoError::Start(ClientError::Io(_)))), "{error:?}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let args = DemoArgs { dir: Some("/no/such/directory".into()) };
        let error = play(OsStr::new("/no/such/program"), &args, PATIENCE, &mut Vec::new());
        assert!(matches!(error, Err(DemoError::Project(_))), "{error:?}");
    }
}
