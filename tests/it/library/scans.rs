//! Change scans and the cache behind them.

use std::{fs, path::Path};

use ploke_io::{
    CancelToken,
    engine::{CacheLimits, FileData, Guard, ScanStatus},
    error::IoErrorKind,
    hash::{ContentHash, TrackingHash},
};
use uuid::Uuid;

use super::{Fixture, guard};

fn tracking(path: &Path, text: &str) -> Option<TrackingHash> {
    Some(TrackingHash::of_text(Uuid::nil(), &fs::canonicalize(path).unwrap(), text).unwrap())
}

#[test]
fn each_status_tells_what_has_become_of_the_file() {
    let fixture = Fixture::new();
    let old = "fn a() {}\n";
    let path = fixture.write("f.rs", old);
    let hashes = Guard { tracking_hash: tracking(&path, old), ..guard(old) };
    let only_tracking = Guard { content_hash: None, ..hashes };
    for (new, expected, status) in [
        (Some("fn a() {}\n"), hashes, ScanStatus::Unchanged),
        (Some("fn a() {}\n"), guard(old), ScanStatus::Unchanged),
        (Some("fn a() {}\n"), only_tracking, ScanStatus::Unchanged),
        (Some("fn a() { }\n"), hashes, ScanStatus::Formatted),
        (Some("fn a() { }\n"), guard(old), ScanStatus::Changed),
        (Some("fn a() { }\n"), only_tracking, ScanStatus::Unchanged),
        (Some("fn b() {}\n"), hashes, ScanStatus::Changed),
        (Some("fn b() {}\n"), only_tracking, ScanStatus::Changed),
        (None, hashes, ScanStatus::Missing),
        (None, guard(old), ScanStatus::Missing),
    ] {
        match new {
            Some(new) => fs::write(&path, new).unwrap(),
            None => drop(fs::remove_file(&path)),
        }
        let found = fixture.scan(FileData { path: path.clone(), expected, want_tracking: false }).unwrap();
        assert_eq!(found.status, status, "{new:?} {expected:?}");
        assert_eq!(found.content_hash, new.map(|new| ContentHash::of(new.as_bytes())));
        assert_eq!(found.tracking_hash.is_some(), new.is_some() && expected.tracking_hash.is_some());
    }
}

#[test]
fn one_bad_file_never_fails_the_others() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_max_file_bytes(1_000));
    let mut requests = Vec::new();
    for index in 0..50 {
        let text = format!("fn f{index}() {{}}");
        let path = fixture.write(&format!("{index}.rs"), &text);
        requests.push(FileData { path, expected: guard(&text), want_tracking: true });
    }
    fs::write(&requests[3].path, "fn broken( {").unwrap();
    fs::remove_file(&requests[4].path).unwrap();
    fs::remove_file(&requests[5].path).unwrap();
    fs::create_dir(&requests[5].path).unwrap();
    fs::write(&requests[6].path, b"\xff").unwrap();
    fs::write(&requests[7].path, "x".repeat(1_001)).unwrap();
    requests[8].path = "/outside".into();
    let results = fixture.manager.scan(&requests, &CancelToken::new()).unwrap();
    assert_eq!(results.len(), 50);
    for (index, result) in results.iter().enumerate() {
        match (index, result) {
            (3, Err(error)) => assert!(matches!(error.kind, IoErrorKind::Parse(_))),
            (4, Ok(found)) => assert_eq!(found.status, ScanStatus::Missing),
            (5, Err(error)) => assert!(matches!(error.kind, IoErrorKind::NotAFile { found: "directory" })),
            (6, Err(error)) => assert!(matches!(error.kind, IoErrorKind::NotUtf8 { valid_up_to: 0 })),
            (7, Err(error)) => assert!(matches!(error.kind, IoErrorKind::TooLarge { bytes: 1_001, limit: 1_000 })),
            (8, Err(error)) => assert!(matches!(error.kind, IoErrorKind::OutsideRoots { .. })),
            (_, Ok(found)) => assert_eq!(found.status, ScanStatus::Unchanged, "{index}"),
            (_, Err(error)) => panic!("{index}: {error}"),
        }
    }
}

#[test]
fn content_hashes_need_no_text_and_no_size_limit() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_max_file_bytes(10));
    let content = vec![0xff; 3_000_000];
    let path = fixture.write("big.bin", &content);
    let found = fixture.scan(FileData { path, expected: guard(&content), want_tracking: false }).unwrap();
    assert_eq!(found.status, ScanStatus::Unchanged);
}

#[test]
fn a_file_rewritten_with_the_same_size_within_one_tick_of_the_clock_is_seen() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "0000");
    for round in 1..2_000 {
        let (old, new) = (format!("{:04}", round - 1), format!("{round:04}"));
        let scan = |text: &String| {
            fixture.scan(FileData { path: path.clone(), expected: guard(text), want_tracking: false }).unwrap().status
        };
        assert_eq!(scan(&old), ScanStatus::Unchanged, "{round}");
        fs::write(&path, &new).unwrap();
        assert_eq!(scan(&old), ScanStatus::Changed, "{round}");
    }
}

/// Makes a file look as if it had been at rest for long, as far as a program can.
fn age(path: &Path) {
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

#[test]
fn a_file_whose_modification_time_was_set_back_is_not_taken_from_the_cache() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "one");
    age(&path);
    let scan = |text: &str| {
        fixture.scan(FileData { path: path.clone(), expected: guard(text), want_tracking: false }).unwrap().status
    };
    assert_eq!(scan("one"), ScanStatus::Unchanged);
    let times = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
    assert_eq!(scan("one"), ScanStatus::Changed);
}

#[test]
fn a_cache_without_room_is_no_cache_and_answers_the_same() {
    let limits = CacheLimits { bytes: 0, entries: 0 };
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_cache_limits(limits));
    let path = fixture.write("f.txt", "one");
    for _ in 0..2 {
        let request = FileData { path: path.clone(), expected: guard("one"), want_tracking: false };
        assert_eq!(fixture.scan(request).unwrap().status, ScanStatus::Unchanged);
    }
    assert_eq!(fixture.manager.status().cache, Default::default());
}
