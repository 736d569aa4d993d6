//! Many hands at once.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use ploke_io::{hash::ContentHash, protocol::FileUri};
use serde_json::{Value, json};

use super::{Random, Watched};

/// How long it goes on, in seconds; the tree then has ten times as many files as in the short form.
const SECONDS: &str = "PLOKE_IO_TEST_SOAK_SECONDS";

#[test]
fn four_writers_and_a_client_leave_a_true_picture() {
    soak(json!({}), 4);
}

#[test]
fn four_writers_leave_a_true_picture_when_everything_is_polled() {
    soak(json!({ "backend": "poll", "pollIntervalMs": 200 }), 2);
}

/// The system's queue holds 16 events, so that most are lost.
#[test]
fn ten_thousand_changes_that_overflow_the_queue_leave_a_true_picture_without_a_rescan() {
    let Some(short) = ShortQueue::set() else {
        println!("SKIPPED a queue that overflows: {} can be set by root alone", ShortQueue::LENGTH);
        return;
    };
    // Read when the sidecar starts.
    let mut watched = Watched::new(json!({ "debounceMs": 10 }), |root| make_tree(root, 200));
    drop(short);
    let mut random = Random(0x0f10);
    for step in 0..10_000 {
        change(&watched.root, &mut random, step);
    }
    watched.assert_true();
    let overflows = watched.request("ploke/status", json!({}))["watch"]["overflows"].as_u64().unwrap();
    assert!(overflows > 0, "nothing was lost");
}

/// The length of all queues of events that are made while it lives.
struct ShortQueue {
    usual: String,
}

impl ShortQueue {
    const LENGTH: &str = "/proc/sys/fs/inotify/max_queued_events";

    fn set() -> Option<Self> {
        let usual = fs::read_to_string(Self::LENGTH).ok()?;
        fs::write(Self::LENGTH, "16").ok()?;
        Some(Self { usual })
    }
}

impl Drop for ShortQueue {
    fn drop(&mut self) {
        fs::write(Self::LENGTH, &self.usual).unwrap();
    }
}

fn soak(settings: Value, seconds: u64) {
    let asked = std::env::var(SECONDS).ok().map(|text| text.parse::<u64>().unwrap());
    let files = if asked.is_some() { 20_000 } else { 2_000 };
    let mut watched = Watched::new(settings, |root| {
        make_tree(root, files);
        fs::create_dir(root.join("own")).unwrap();
    });
    let (root, stop) = (watched.root.clone(), AtomicBool::new(false));
    let end = Instant::now() + Duration::from_secs(asked.unwrap_or(seconds));
    thread::scope(|scope| {
        for writer in 1..=4 {
            let (root, stop) = (&root, &stop);
            scope.spawn(move || {
                let mut random = Random(0x50a4 * writer);
                let mut step = 0;
                while !stop.load(Relaxed) {
                    change(root, &mut random, step);
                    step += 1;
                    thread::sleep(Duration::from_micros(200 + random.below(2_000)));
                }
            });
        }
        // Also when something below fails.
        let _stop = Stop(&stop);
        // The others leave this directory alone, so every edit succeeds.
        let (mut edit, mut content) = (0, String::new());
        while Instant::now() < end {
            let name = root.join(format!("own/f{}", edit % 5));
            let before = fs::read_to_string(&name).ok();
            content = format!("{edit} {}", content.len());
            let change = match before {
                None => json!({ "kind": "create", "uri": FileUri::from_path(&name), "text": content }),
                Some(before) => json!({
                    "textDocument": { "uri": FileUri::from_path(&name) },
                    "expected": { "contentHash": ContentHash::of(before.as_bytes()) },
                    "edits": [{ "range": { "startByte": 0, "endByte": before.len() }, "newText": content }],
                }),
            };
            let result = watched.request("ploke/applyEdits", json!({ "documentChanges": [change] }));
            assert_eq!(result["applied"], true, "{result}");
            edit += 1;
            if edit % 20 == 0 {
                watched.sync();
            }
        }
    });
    watched.assert_true();
}

struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn make_tree(root: &Path, files: u64) {
    for number in 0..files {
        let directory = root.join(format!("d{}/e{}", number % 5, number % 7));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("f{}", number / 35)), format!("{number}")).unwrap();
    }
}

/// One of few changes; most of those of directories fail, because what they need is not there.
fn change(root: &Path, random: &mut Random, step: u64) {
    let (file, other) = (path(root, random), path(root, random));
    let _ = match random.below(40) {
        0..=11 => fs::write(&file, format!("{step}")),
        12..=19 => OpenOptions::new().append(true).open(&file).and_then(|mut file| file.write_all(b"more")),
        20..=25 => fs::remove_file(&file),
        26..=33 => fs::rename(&file, &other),
        34 => fs::create_dir_all(root.join(format!("d{}/e{}/g{}", random.below(5), random.below(7), random.below(3)))),
        35 => fs::rename(directory(root, random), directory(root, random)),
        36 => fs::remove_dir_all(root.join(format!("d{}/e{}", random.below(5), random.below(7)))),
        37 => std::os::unix::fs::symlink("nowhere", &file),
        _ => atomic_save(&file, step),
    };
}

fn atomic_save(file: &Path, step: u64) -> std::io::Result<()> {
    let new = file.with_extension(format!("new{step}"));
    fs::write(&new, format!("saved {step}"))?;
    fs::rename(&new, file).or_else(|_| fs::remove_file(&new))
}

fn path(root: &Path, random: &mut Random) -> PathBuf {
    directory(root, random).join(format!("f{}", random.below(60)))
}

fn directory(root: &Path, random: &mut Random) -> PathBuf {
    let directory = root.join(format!("d{}/e{}", random.below(5), random.below(7)));
    if random.below(4) == 0 { directory.join(format!("g{}", random.below(3))) } else { directory }
}
