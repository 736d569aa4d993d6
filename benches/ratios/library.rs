//! The library, called on this thread.

use ploke_io::{
    CancelToken,
    engine::{EmbeddingData, FileData, Guard, ScanStatus, TextRange},
    error::IoErrorKind,
    manager::{IoManagerBuilder, IoManagerHandle},
};

#[cfg(target_os = "linux")]
use crate::opens::OpenCounter;
use crate::{
    Result,
    corpus::{Corpus, SourceFile},
    floor,
    table::Line,
    timing::{Rounds, time},
};

/// Ten pieces of each of 500 files, beside reading and hashing these files.
pub fn snippets(corpus: &Corpus) -> Result<Vec<Line>> {
    let files = corpus.sample(500);
    let paths: Vec<_> = files.iter().map(|file| file.path.as_path()).collect();
    let requests: Vec<_> = files.iter().flat_map(|file| file.pieces().map(|range| snippet(file, range))).collect();
    let manager = manager(corpus)?;
    let rounds = Rounds::side_by_side(
        || {
            let (time, read) = time(|| manager.snippets(&requests, &CancelToken::new()));
            read?.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(time)
        },
        || read_and_hash(&paths),
    )?;
    Ok(vec![Line::times_floor(", 10 of each of 500 files", &rounds, 1.5)])
}

/// Scans with content hashes: cold beside reading and hashing everything, repeated beside looking at every file.
pub fn content_scans(corpus: &Corpus) -> Result<Vec<Line>> {
    let requests: Vec<_> = corpus.files.iter().map(|file| expecting_content(file, false)).collect();
    let paths = corpus.paths();
    let cold = Rounds::side_by_side(|| scan(&manager(corpus)?, &requests), || read_and_hash(&paths))?;
    let mut lines = vec![Line::times_floor(", cold", &cold, 1.5)];
    lines.extend(repeated_scans(corpus, &requests)?);
    Ok(lines)
}

/// Scans with tracking hashes: cold beside making the token string of every file, repeated beside looking at every file.
pub fn tracking_scans(corpus: &Corpus) -> Result<Vec<Line>> {
    let unknown: Vec<_> = corpus.files.iter().map(|file| expecting_content(file, true)).collect();
    let known = manager(corpus)?.scan(&unknown, &CancelToken::new())?;
    let requests: Vec<_> = unknown
        .into_iter()
        .zip(known)
        .map(|(request, known)| match known {
            Ok(known) => {
                FileData { expected: Guard { tracking_hash: known.tracking_hash, ..Guard::default() }, ..request }
            }
            Err(_) => request,
        })
        .collect();
    let paths = corpus.paths();
    let cold = Rounds::side_by_side(
        || scan(&manager(corpus)?, &requests),
        || {
            let (time, strings) = time(|| floor::token_strings(&paths));
            strings?;
            Ok(time)
        },
    )?;
    let mut lines = vec![Line::times_floor(", cold", &cold, 1.2)];
    lines.extend(repeated_scans(corpus, &requests)?);
    Ok(lines)
}

fn repeated_scans(corpus: &Corpus, requests: &[FileData]) -> Result<Vec<Line>> {
    let manager = manager(corpus)?;
    let paths = corpus.paths();
    let repeated = Rounds::side_by_side(
        || scan(&manager, requests),
        || {
            let (time, stats) = time(|| floor::stat(&paths));
            stats?;
            Ok(time)
        },
    )?;
    let times = Line::times_floor(", repeated", &repeated, 4.0);
    #[cfg(target_os = "linux")]
    {
        let mut opens = OpenCounter::on(&corpus.root)?;
        scan(&self::manager(corpus)?, requests)?;
        let cold = opens.count()?;
        if cold < paths.len() {
            return Err(format!("{cold} opened files were seen where {} were read", paths.len()).into());
        }
        scan(&manager, requests)?;
        Ok(vec![times, Line::none(", repeated: files opened", opens.count()?)])
    }
    #[cfg(not(target_os = "linux"))]
    Ok(vec![times])
}

fn manager(corpus: &Corpus) -> Result<IoManagerHandle> {
    Ok(IoManagerBuilder::new().with_roots([&corpus.root]).build()?)
}

fn snippet(file: &SourceFile, range: std::ops::Range<usize>) -> EmbeddingData {
    EmbeddingData {
        path: file.path.clone(),
        range: Some(TextRange::Bytes { start: range.start as u64, end: range.end as u64 }),
        expected: Guard { content_hash: Some(file.hash), ..Guard::default() },
        ..EmbeddingData::default()
    }
}

fn expecting_content(file: &SourceFile, want_tracking: bool) -> FileData {
    let expected = Guard { content_hash: Some(file.hash), ..Guard::default() };
    FileData { path: file.path.clone(), expected, want_tracking }
}

/// The time of a scan that must find everything unchanged, or not to be Rust.
fn scan(manager: &IoManagerHandle, requests: &[FileData]) -> Result<std::time::Duration> {
    let (time, found) = time(|| manager.scan(requests, &CancelToken::new()));
    for found in found? {
        match found {
            Ok(found) if found.status == ScanStatus::Unchanged => {}
            Ok(found) => return Err(format!("a file was found to be {:?}", found.status).into()),
            Err(error) if matches!(error.kind, IoErrorKind::Parse(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(time)
}

fn read_and_hash(paths: &[&std::path::Path]) -> Result<std::time::Duration> {
    let (time, hashes) = time(|| floor::read_and_hash(paths));
    hashes?;
    Ok(time)
}
