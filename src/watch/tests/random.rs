//! A real disk on which anything may happen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    LIMIT, Picture,
    field::{Field, exchange},
};
use crate::{hash::ContentHash, watch::WatchConfig};

#[test]
fn the_reports_of_a_thousand_random_operations_add_up_to_the_disk() {
    let field = Field::new();
    let mut random = Random(0x5eed);
    for step in 0..1000 {
        // Most fail, because what they need is not there; that is as good as any other.
        let _ = random_operation(&field, &mut random, step);
        if step % 100 == 0 {
            // Lets some of it be told before more comes; how much does not matter.
            thread::sleep(Duration::from_millis(30));
        }
    }
    follow(&field, BTreeMap::new());
}

#[test]
fn two_directories_that_change_places_are_told_with_all_their_files() {
    let field = Field::with(WatchConfig::default(), |dir| {
        for file in ["d1/x/only-x", "d1/x/both", "d2/y/only-y", "d2/y/both", "d2/y/deep/z"] {
            fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            fs::write(dir.join(file), file).unwrap();
        }
    });
    let before = files(&field);
    exchange(&field.path("d1/x"), &field.path("d2/y"));
    follow(&field, before);
    field.write("d1/x/deep/new", "");
    assert_eq!(field.reports(), ["created d1/x/deep/new"], "what has moved is watched where it is now");
}

/// Reads the reports until what was known before and they add up to the disk.
fn follow(field: &Field, known: BTreeMap<PathBuf, ContentHash>) {
    let disk = files(field);
    let mut picture = Picture { files: known };
    let (mut log, deadline) = (Vec::new(), Instant::now() + LIMIT);
    while picture.files != disk {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(batch) = field.reports.recv_timeout(left) else { panic!("{}", difference(&picture.files, &disk, &log)) };
        for change in batch.changes {
            log.push(field.line(&change));
            // A rename keeps the hash of a directory's files; everything else tells its own.
            picture.apply(&change, || change.content_hash.unwrap_or(ContentHash::of(b"unread"))).unwrap();
        }
    }
}

fn files(field: &Field) -> BTreeMap<PathBuf, ContentHash> {
    let all = ignore::WalkBuilder::new(field.dir.path()).standard_filters(false).build();
    let files = all.map(|entry| entry.unwrap().into_path()).filter(|path| path.is_file());
    files.map(|path| (path.clone(), ContentHash::of(&fs::read(&path).unwrap()))).collect()
}

fn random_operation(field: &Field, random: &mut Random, step: usize) -> std::io::Result<()> {
    let (a, b) = (random.path(field), random.path(field));
    match random.below(11) {
        0..=2 => fs::write(&a, format!("{step}")),
        3 => OpenOptions::new().append(true).open(&a)?.write_all(b"more"),
        4 => fs::remove_file(&a),
        5 => fs::create_dir(&a),
        6 | 7 => fs::rename(&a, &b),
        8 => fs::remove_dir_all(&a),
        _ => Ok(renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE)?),
    }
}

fn difference(told: &BTreeMap<PathBuf, ContentHash>, disk: &BTreeMap<PathBuf, ContentHash>, log: &[String]) -> String {
    let all = told.keys().chain(disk.keys()).collect::<BTreeSet<_>>();
    let different = all.into_iter().filter(|path| told.get(*path) != disk.get(*path));
    let lines = different.map(|path| format!("{path:?}: told {:?}, on disk {:?}", told.get(path), disk.get(path)));
    format!("{}\nafter {}", lines.collect::<Vec<_>>().join("\n"), log.join("; "))
}

/// Small, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// One of few paths, up to three levels deep.
    fn path(&mut self, field: &Field) -> PathBuf {
        let depth = 1 + self.below(3);
        (0..depth).fold(field.path(""), |path, _| path.join(["a", "b", "c", "d"][self.below(4) as usize]))
    }
}
