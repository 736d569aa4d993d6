//! Edits, beside the system calls that a careful program makes for the same.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ploke_io::{
    CancelToken,
    engine::{Change, Durability, EditRequest, Guard, TextChange, TextRange, WriteSnippetData},
    hash::ContentHash,
    manager::{IoManagerBuilder, IoManagerHandle},
    protocol::FileUri,
};
use serde_json::json;

use crate::{
    Result,
    corpus::Corpus,
    peer::{Peer, frame, request},
    table::Line,
    timing::{Rounds, median, time},
};

/// A directory on the disk that the build is on, with a state directory beside it.
struct Place {
    root: PathBuf,
    state: PathBuf,
}

impl Place {
    fn new(name: &str) -> Result<Self> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-writes").join(name);
        if base.exists() {
            fs::remove_dir_all(&base)?;
        }
        let place = Self { root: base.join("root"), state: base.join("state") };
        fs::create_dir_all(&place.root)?;
        fs::create_dir_all(&place.state)?;
        Ok(place)
    }

    fn manager(&self) -> Result<IoManagerHandle> {
        Ok(IoManagerBuilder::new().with_roots([&self.root]).with_state_dir(&self.state).build()?)
    }
}

/// A file whose first byte is changed again and again.
struct Target {
    path: PathBuf,
    content: Vec<u8>,
}

impl Target {
    fn new(path: PathBuf, bytes: usize) -> Result<Self> {
        let content = b"0123456789abcde\n".iter().copied().cycle().take(bytes).collect();
        fs::create_dir_all(path.parent().ok_or("no directory")?)?;
        fs::write(&path, &content)?;
        Ok(Self { path, content })
    }

    fn next_byte(&self) -> u8 {
        if self.content[0] == b'A' { b'B' } else { b'A' }
    }

    fn change(&self) -> Change {
        let edit = TextChange {
            range: Some(TextRange::Bytes { start: 0, end: 1 }),
            new_text: char::from(self.next_byte()).into(),
            expected_text: None,
        };
        let expected = Guard { content_hash: Some(ContentHash::of(&self.content)), ..Guard::default() };
        Change::Edit(WriteSnippetData { path: self.path.clone(), expected, edits: vec![edit] })
    }

    fn changed(&mut self) {
        self.content[0] = self.next_byte();
    }
}

fn apply(manager: &IoManagerHandle, targets: &mut [Target], durability: Durability) -> Result<Duration> {
    let changes = targets.iter().map(Target::change).collect();
    let request = EditRequest { changes, durability, ..EditRequest::default() };
    let (time, outcome) = time(|| manager.apply(&request, &CancelToken::new()));
    let outcome = outcome?;
    if !outcome.applied || outcome.durability != durability {
        return Err(format!("{outcome:?}").into());
    }
    targets.iter_mut().for_each(Target::changed);
    Ok(time)
}

const FILES: usize = 200;
const THREADS: usize = 32;

/// One transaction over many files, beside writing and syncing them with many threads and one record of all of it; and
/// beside the same edits one after the other.
pub fn transaction(_: &Corpus) -> Result<Vec<Line>> {
    let place = Place::new("transaction")?;
    let manager = place.manager()?;
    let files = |kind: &str| -> Result<Vec<Target>> {
        (0..FILES).map(|n| Target::new(place.root.join(format!("{kind}{}/{n}", n % 8)), 4096)).collect()
    };
    let (mut ours, mut plain, mut single) = (files("ours")?, files("plain")?, files("single")?);
    let beside_floor = Rounds::side_by_side(
        || apply(&manager, &mut ours, Durability::Full),
        || replace_all(&mut plain, &place.state),
    )?;
    let beside_single = Rounds::side_by_side(
        || apply(&manager, &mut ours, Durability::Full),
        || single.chunks_mut(1).map(|file| apply(&manager, file, Durability::Full)).sum(),
    )?;
    Ok(vec![
        Line::times_floor(", 200 files", &beside_floor, 2.0),
        Line::times_floor(", 200 files, beside one after the other", &beside_single, 1.0),
    ])
}

/// Writes all files and syncs them and their directories, after one record of all contents.
fn replace_all(files: &mut [Target], state: &Path) -> Result<Duration> {
    files.iter_mut().for_each(Target::changed);
    let next = AtomicUsize::new(0);
    let (time, done) = time(|| -> io::Result<()> {
        thread::scope(|scope| {
            let work = || -> io::Result<()> {
                while let Some(file) = files.get(next.fetch_add(1, Relaxed)) {
                    write_beside(&file.path, &file.content, true)?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("panicked"))?)
        })?;
        let record = state.join("record");
        let all: Vec<u8> = files.iter().flat_map(|file| &file.content).copied().collect();
        let mut file = File::create(&record)?;
        file.write_all(&all)?;
        file.sync_all()?;
        File::open(state)?.sync_all()?;
        files.iter().try_for_each(|file| fs::rename(temporary(&file.path), &file.path))?;
        let mut directories: Vec<_> = files.iter().filter_map(|file| file.path.parent()).collect();
        directories.sort_unstable();
        directories.dedup();
        directories.into_iter().try_for_each(|directory| File::open(directory)?.sync_all())?;
        fs::remove_file(record)
    });
    done?;
    Ok(time)
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("temporary")
}

/// Writes a content with the metadata of the file that it is to replace.
fn write_beside(path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let mut file = File::create_new(temporary(path))?;
    file.write_all(content)?;
    file.set_permissions(fs::metadata(path)?.permissions())?;
    if sync { file.sync_all() } else { Ok(()) }
}

/// Reads, changes and replaces one file.
fn replace(file: &mut Target, sync: bool) -> io::Result<()> {
    let mut read = Vec::new();
    File::open(&file.path)?.read_to_end(&mut read)?;
    if ContentHash::of(&read) != ContentHash::of(&file.content) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.changed();
    write_beside(&file.path, &file.content, sync)?;
    fs::rename(temporary(&file.path), &file.path)?;
    match file.path.parent() {
        Some(directory) if sync => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// One small edit again and again over stdio, beside its own system calls and a round trip of the echo.
pub fn over_stdio(_: &Corpus) -> Result<Vec<Line>> {
    let place = Place::new("stdio")?;
    let mut sidecar = Peer::sidecar(&place.root)?;
    let mut echo = Peer::echo()?;
    let mut lines = Vec::new();
    for (what, durability, bound) in [(", full", "full", 1.3), (", bestEffort", "bestEffort", 2.0)] {
        let mut ours = Target::new(place.root.join(format!("ours-{durability}/file")), 1000)?;
        let mut plain = Target::new(place.root.join(format!("plain-{durability}/file")), 1000)?;
        let rounds = Rounds::side_by_side(
            || median_of(20, || edit_over_stdio(&mut sidecar, &mut ours, durability)),
            || {
                let message = frame(&request(1, "ploke/applyEdits", &params(&plain, durability)));
                median_of(20, || {
                    let (time, done) = time(|| -> Result<()> {
                        echo.send(&message)?;
                        echo.receive()?;
                        Ok(replace(&mut plain, durability == "full")?)
                    });
                    done?;
                    Ok(time)
                })
            },
        )?;
        lines.push(Line::times_floor(what, &rounds, bound));
    }
    Ok(lines)
}

fn median_of(times: usize, mut work: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    Ok(median((0..times).map(|_| work()).collect::<Result<Vec<_>>>()?))
}

fn params(file: &Target, durability: &str) -> serde_json::Value {
    let edit = json!({
        "range": { "startByte": 0, "endByte": 1 },
        "newText": char::from(file.next_byte()).to_string(),
    });
    let document = json!({ "uri": FileUri::from_path(&file.path) });
    let expected = json!({ "contentHash": ContentHash::of(&file.content) });
    let change = json!({ "textDocument": document, "expected": expected, "edits": [edit] });
    json!({ "durability": durability, "documentChanges": [change] })
}

/// The time from the request to its answer; writing the one and reading the other is the work of the client.
fn edit_over_stdio(sidecar: &mut Peer, file: &mut Target, durability: &str) -> Result<Duration> {
    let message = frame(&request(1, "ploke/applyEdits", &params(file, durability)));
    let (time, answer) = time(|| {
        sidecar.send(&message)?;
        sidecar.receive_answer(1)
    });
    let answer: serde_json::Value = serde_json::from_slice(answer?)?;
    if answer["result"]["applied"] != true {
        return Err(answer.to_string().into());
    }
    file.changed();
    Ok(time)
}

/// Many edits of one large file, one after the other.
pub fn one_file(_: &Corpus) -> Result<Vec<Line>> {
    const EDITS: usize = 200;
    let place = Place::new("one-file")?;
    let manager = place.manager()?;
    let mut ours = Target::new(place.root.join("ours/file"), 100_000)?;
    let mut plain = Target::new(place.root.join("plain/file"), 100_000)?;
    let mut halves = Vec::new();
    let rounds = Rounds::side_by_side(
        || {
            let edit = |_| apply(&manager, std::slice::from_mut(&mut ours), Durability::Full);
            let times = (0..EDITS).map(edit).collect::<Result<Vec<_>>>()?;
            let (first, second) = times.split_at(EDITS / 2);
            halves.push((first.iter().sum::<Duration>(), second.iter().sum::<Duration>()));
            Ok(times.iter().sum())
        },
        || {
            let (time, done) = time(|| (0..EDITS).try_for_each(|_| replace(&mut plain, true)));
            done?;
            Ok(time)
        },
    )?;
    let linear = Rounds::of(halves.into_iter().map(|(first, second)| (second, first)).collect());
    Ok(vec![
        Line::times_floor(", 200 edits of 100 kB", &rounds, 1.5),
        Line::times_floor(", their second half beside the first", &linear, 1.2),
    ])
}
