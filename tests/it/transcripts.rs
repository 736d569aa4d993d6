//! Replays every file of `transcripts/` against the server.
//!
//! `UPDATE_TRANSCRIPTS=1` rewrites the `<` and `disk` blocks that do not hold: read the difference before you keep it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::support::{
    connection::Connection,
    parse::{Mark, Transcript},
    session::run,
    update::rewritten,
};

/// They wait for messages and disks most of the time.
const THREADS: usize = 8;

#[test]
fn all_transcripts_hold() {
    let files = transcript_files();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = replay(file) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let (failed, all) = (failures.len(), files.len());
    assert!(failures.is_empty(), "{failed} of {all} transcripts do not hold\n\n{}", failures.join("\n\n"));
}

fn transcript_files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/transcripts");
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files
}

fn replay(file: &Path) -> Result<(), String> {
    let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let transcript = Transcript::parse(&name, &text)?;
    if let Some(reason) = reason_to_skip(&transcript) {
        eprintln!("SKIPPED {name}: {reason}");
        return Ok(());
    }
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some_and(|value| value == "1");
    let rewrites = run(&transcript, update, Connection::in_process)?;
    if !rewrites.is_empty() {
        return fs::write(file, rewritten(&text, &rewrites)).map_err(|error| format!("{name}: {error}"));
    }
    if transcript.marks.contains(&Mark::Binary) {
        run(&transcript, false, Connection::binary).map_err(|failure| format!("{failure}\n(with the built binary)"))?;
    }
    Ok(())
}

fn reason_to_skip(transcript: &Transcript) -> Option<&'static str> {
    let has = |mark| transcript.marks.contains(&mark);
    if has(Mark::Unix) && !cfg!(unix) {
        Some("it needs symbolic links and file modes")
    } else if has(Mark::NotRoot) && user_is_root() {
        Some("file modes do not bind the user who runs the tests (root)")
    } else {
        None
    }
}

fn user_is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    return false;
}
