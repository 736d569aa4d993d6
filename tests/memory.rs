//! What stays in memory after work is done; alone in its process, so that nothing else counts.
#![cfg(target_os = "linux")]

use std::{fs, path::Path};

use ploke_io::{
    CancelToken,
    engine::{FileData, Guard},
    hash::{ContentHash, TrackingHash},
    manager::IoManagerBuilder,
};
use uuid::Uuid;

fn resident_bytes() -> usize {
    status_bytes("VmRSS:")
}

/// The most that was resident at any time.
fn peak_bytes() -> usize {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// One test, as two would run side by side and count each other's memory.
#[test]
fn memory_does_not_grow_with_the_work_that_was_done() {
    parses_keep_nothing();
    scans_keep_nothing_but_the_cache();
    a_large_file_is_hashed_in_little_memory();
}

fn parses_keep_nothing() {
    let text = format!("//{}\nfn main() {{}}", "-".repeat(1_000_000));
    let broken = format!("{text} )");
    let path = Path::new("/p/src/lib.rs");
    let parse_both = || {
        TrackingHash::of_text(Uuid::nil(), path, &text).unwrap();
        TrackingHash::of_text(Uuid::nil(), path, &broken).unwrap_err();
    };
    parse_both();
    let before = resident_bytes();
    (0..50).for_each(|_| parse_both());
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "grown by {grown} bytes after 100 parses of 1 MB");
}

fn scans_keep_nothing_but_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let manager = IoManagerBuilder::new().with_roots([dir.path()]).build().unwrap();
    let source = "/// Adds.\nfn add(a: u32, b: u32) -> u32 {\n    a + b\n}\n".repeat(500);
    let files: Vec<_> = (0..20)
        .map(|index| {
            let path = dir.path().join(format!("{index}.rs"));
            fs::write(&path, &source).unwrap();
            let expected = Guard { content_hash: Some(ContentHash::of(source.as_bytes())), ..Guard::default() };
            FileData { path, expected, want_tracking: true }
        })
        .collect();
    // The files are younger than the cache trusts, so that each scan parses all of them.
    let scan = || {
        let results = manager.scan(&files, &CancelToken::new()).unwrap();
        assert!(results.iter().all(|result| result.as_ref().is_ok_and(|found| found.tracking_hash.is_some())));
    };
    (0..3).for_each(|_| scan());
    // A thread may get a heap of its own once, which then stays; what is kept of each scan would show every time.
    let grown: Vec<_> = (0..4)
        .map(|_| {
            let before = resident_bytes();
            (0..4).for_each(|_| scan());
            resident_bytes().saturating_sub(before)
        })
        .collect();
    assert!(grown.iter().any(|grown| *grown < 1 << 20), "grown each time by {grown:?} bytes in 4 scans of 20 files");
}

fn a_large_file_is_hashed_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    fs::File::create(&path).unwrap().set_len(256 << 20).unwrap();
    let manager = IoManagerBuilder::new().with_roots([dir.path()]).build().unwrap();
    let expected = Guard { content_hash: Some(ContentHash::of(b"other")), ..Guard::default() };
    let before = peak_bytes();
    let scanned = manager.scan(&[FileData { path, expected, want_tracking: false }], &CancelToken::new()).unwrap();
    assert!(scanned[0].as_ref().unwrap().content_hash.is_some());
    let grown = peak_bytes() - before;
    assert!(grown < 8 << 20, "grown by {grown} bytes to hash 256 MiB");
}
