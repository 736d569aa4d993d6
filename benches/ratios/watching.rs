//! Watching a tree of 100,000 files, beside looking at each of them once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use ignore::{WalkBuilder, WalkState};
use serde_json::{Value, json};

use crate::{
    Result,
    corpus::Corpus,
    floor,
    peer::{Peer, body},
    table::Line,
    timing::{Rounds, median, time},
};

const DIRECTORIES: usize = 1_000;
const FILES_EACH: usize = 100;
const MB: i64 = 1_000_000;

/// Starting to watch, memory, and what has changed since a sidecar was here before.
pub fn large_tree(_: &Corpus) -> Result<Vec<Line>> {
    let root = tree()?;
    let start = Rounds::side_by_side(
        || {
            let (time, started) = time(|| -> Result<Peer> {
                let mut sidecar = Peer::sidecar(&root)?;
                sidecar.request("ploke/sync", &json!({}))?;
                Ok(sidecar)
            });
            started?.end()?;
            Ok(time)
        },
        || walk(&root),
    )?;
    let mut sidecar = Peer::sidecar(&root)?;
    sidecar.request("ploke/sync", &json!({}))?;
    let memory = sidecar.resident_bytes()?;
    let mut clock = clock(&mut sidecar)?;
    sidecar.end()?;
    let restart = Rounds::side_by_side(
        || {
            let (time, answered) = time(|| -> Result<(Peer, Value)> {
                let mut sidecar = Peer::sidecar(&root)?;
                let answer = sidecar.request("ploke/changes", &json!({ "since": clock }))?;
                Ok((sidecar, answer))
            });
            let (sidecar, answer) = answered?;
            if answer["freshInstance"] != false || answer["changes"] != json!([]) {
                return Err(format!("nothing has changed: {answer:.200}").into());
            }
            clock = answer["clock"].clone();
            sidecar.end()?;
            Ok(time)
        },
        || walk(&root),
    )?;
    let git = Rounds::side_by_side(|| git_status(&root), || walk(&root))?;
    let mut lines = vec![Line::times_floor(", start", &start, 1.5)];
    lines.extend(memory.map(|memory| Line::memory(", memory", memory, 60 * MB)));
    lines.push(Line::times_floor(", changes after a restart", &restart, 1.5));
    lines.push(Line::peer(", git status", &git));
    Ok(lines)
}

/// A quiet tree: how long a barrier takes, and how long after a write by others it is told.
pub fn quiet_tree(_: &Corpus) -> Result<Vec<Line>> {
    const DEBOUNCE: Duration = Duration::from_millis(50);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-quiet");
    fs::create_dir_all(&dir)?;
    let mut sidecar = Peer::sidecar(&dir)?;
    sidecar.request("ploke/sync", &json!({}))?;
    let mut barriers = Vec::new();
    for _ in 0..200 {
        let (time, answered) = time(|| sidecar.request("ploke/sync", &json!({})));
        answered?;
        barriers.push(time);
    }
    let mut told = Vec::new();
    for number in 0..40 {
        let begin = Instant::now();
        fs::write(dir.join("file"), format!("{number} {begin:?}"))?;
        while serde_json::from_slice::<Value>(body(sidecar.receive()?))?["method"] != "ploke/fileChanged" {}
        told.push(begin.elapsed());
    }
    Ok(vec![
        Line::time(", barrier", median(barriers), Duration::from_millis(2)),
        Line::time(", write to notification", median(told), DEBOUNCE + Duration::from_millis(10)),
    ])
}

fn clock(sidecar: &mut Peer) -> Result<Value> {
    Ok(sidecar.request("ploke/changes", &json!({}))?["clock"].take())
}

/// Looks at each file once, in parallel, as `ignore` does it.
fn walk(root: &Path) -> Result<Duration> {
    let files = AtomicUsize::new(0);
    let (time, ()) = time(|| {
        WalkBuilder::new(root).hidden(false).threads(floor::threads()).build_parallel().run(|| {
            Box::new(|entry| {
                if entry.is_ok_and(|entry| entry.metadata().is_ok_and(|found| found.is_file())) {
                    files.fetch_add(1, Relaxed);
                }
                WalkState::Continue
            })
        });
    });
    match files.into_inner() {
        found if found >= DIRECTORIES * FILES_EACH => Ok(time),
        found => Err(format!("only {found} files").into()),
    }
}

fn git_status(root: &Path) -> Result<Duration> {
    let (time, status) = time(|| git(root, &["-c", "core.untrackedCache=false", "status", "--porcelain"]));
    status?;
    Ok(time)
}

fn git(root: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new("git").arg("-C").arg(root).args(arguments).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("git {arguments:?}: {status}").into()) }
}

/// The tree, made once.
fn tree() -> Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-tree");
    let done = root.with_extension("done");
    if done.exists() {
        return Ok(root);
    }
    for number in 0..DIRECTORIES {
        let directory = root.join(format!("part{:02}/module{number:03}", number % 50));
        fs::create_dir_all(&directory)?;
        for file in 0..FILES_EACH {
            fs::write(directory.join(format!("file{file:02}.rs")), format!("fn f{number}_{file}() {{}}\n"))?;
        }
    }
    git(&root, &["init", "--quiet"])?;
    git(&root, &["add", "."])?;
    git(&root, &["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "all"])?;
    fs::write(done, "")?;
    Ok(root)
}
