use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::{
    disk::{
        OsDisk,
        faulty::{Fault, FaultyDisk},
    },
    engine::state::{Before, RecordedPath, UndoStep},
};

const LIMITS: UndoLimits = UndoLimits { keep_bytes: 64_000, keep_days: 1 };
const HOUR: Duration = Duration::from_secs(60 * 60);

struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// As another process would have it.
    fn store(&self) -> UndoStore {
        self.store_with(Arc::new(OsDisk), LIMITS)
    }

    fn store_with(&self, disk: Arc<dyn Disk>, limits: UndoLimits) -> UndoStore {
        UndoStore::new(disk, Arc::new(Dir::open_absolute(self.0.path()).unwrap()), limits)
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn only_file(&self) -> PathBuf {
        let [file] = &self.files()[..] else { panic!("{:?}", self.files()) };
        file.clone()
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }
}

fn entry(origin: u128, bytes: usize) -> UndoEntry {
    let before = Some(Before { bytes: vec![b'x'; bytes], metadata: None });
    let at = RecordedPath { root: "/r".into(), relative: "a".into() };
    UndoEntry { origin: Uuid::from_u128(origin), steps: vec![UndoStep::Restore { at, left: None, before }] }
}

fn find(store: &UndoStore, origin: u128) -> Option<UndoEntry> {
    find_at(store, origin, SystemTime::now()).map(|(entry, _)| entry)
}

fn find_at(store: &UndoStore, origin: u128, now: SystemTime) -> Option<(UndoEntry, KeptAt)> {
    store.find(Uuid::from_u128(origin), now).unwrap()
}

fn keep(store: &UndoStore, origin: u128, bytes: usize) -> KeptAt {
    store.keep(&entry(origin, bytes), SystemTime::now()).unwrap()
}

#[test]
fn all_entries_of_a_process_are_in_one_file_of_its_user_alone() {
    let scene = Scene::new();
    let (store, another) = (scene.store(), scene.store());
    (1..4).for_each(|origin| drop(keep(&store, origin, 10)));
    assert_eq!(scene.only_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    keep(&another, 4, 10);
    assert_eq!(scene.files().len(), 2);
    for origin in 1..5 {
        assert_eq!(find(&another, origin), Some(entry(origin, 10)), "{origin}");
    }
    assert_eq!(find(&another, 5), None);
}

#[test]
fn of_several_entries_with_one_origin_the_newest_is_found_that_is_not_forgotten() {
    let scene = Scene::new();
    let (store, another) = (scene.store(), scene.store());
    for (store, bytes) in [(&store, 1), (&another, 2), (&store, 3)] {
        keep(store, 7, bytes);
    }
    for bytes in [3, 2, 1] {
        let (found, at) = find_at(&another, 7, SystemTime::now()).unwrap();
        assert_eq!(found, entry(7, bytes));
        another.forget(&at);
    }
    assert_eq!(find(&another, 7), None);
}

#[test]
fn the_oldest_files_go_to_make_room_for_several_entries() {
    let scene = Scene::new();
    let store = scene.store();
    let mut before = 0;
    let last = (0..1000).find(|origin| {
        keep(&store, *origin, 400);
        assert!(scene.bytes() <= LIMITS.keep_bytes);
        std::mem::replace(&mut before, scene.bytes()) > scene.bytes()
    });
    let last = last.expect("room was made");
    assert!(scene.bytes() <= LIMITS.keep_bytes - LIMITS.keep_bytes / 8, "{}", scene.bytes());
    assert_eq!((find(&store, 0), find(&store, last)), (None, Some(entry(last, 400))));
}

#[test]
fn what_a_living_process_writes_to_is_not_removed() {
    let scene = Scene::new();
    let (store, another) = (scene.store(), scene.store());
    keep(&store, 1, 100);
    let its_own = scene.only_file();
    File::open(&its_own).unwrap().set_modified(SystemTime::now() - 30 * HOUR).unwrap();
    keep(&another, 2, 60_000);
    keep(&another, 3, 60_000);
    assert_eq!((find(&another, 1), find(&another, 2)), (Some(entry(1, 100)), None));

    drop(store);
    File::open(&its_own).unwrap().set_modified(SystemTime::now() - 30 * HOUR).unwrap();
    keep(&another, 4, 1000);
    assert_eq!(find(&another, 1), None);
}

#[test]
fn what_others_append_to_takes_no_room_of_ones_own() {
    let scene = Scene::new();
    let large = UndoLimits { keep_bytes: 1 << 30, ..LIMITS };
    let (another, store) = (scene.store_with(Arc::new(OsDisk), large), scene.store());
    (0..100).for_each(|origin| drop(keep(&another, origin, 1000)));
    assert!(scene.bytes() > LIMITS.keep_bytes);
    (100..110).for_each(|origin| drop(keep(&store, origin, 1000)));
    assert!((0..110).all(|origin| find(&store, origin).is_some()));
}

#[test]
fn an_entry_that_takes_all_room_is_kept_and_a_larger_one_refused() {
    let scene = Scene::new();
    let store = scene.store();
    keep(&store, 1, 1000);
    let size = scene.bytes() as usize - 1000;
    let too_large = store.keep(&entry(2, 64_001 - size), SystemTime::now()).unwrap_err();
    assert!(too_large.to_string().contains("undo.keepBytes is 64000"), "{too_large}");
    assert_eq!(find(&store, 1), Some(entry(1, 1000)), "nothing goes for what cannot be kept");
    keep(&store, 2, 64_000 - size);
    assert_eq!((find(&store, 1), scene.bytes()), (None, 64_000));
}

#[test]
fn an_entry_is_found_until_its_time_is_up_and_is_gone_soon_after() {
    let scene = Scene::new();
    let store = scene.store();
    let start = SystemTime::now();
    store.keep(&entry(1, 10), start).unwrap();
    store.keep(&entry(2, 10), start + HOUR).unwrap();
    assert_eq!(scene.files().len(), 2, "after a part of the time a new file is begun");
    let later = start + 24 * HOUR + HOUR / 2;
    assert!(find_at(&store, 1, later).is_none());
    assert!(find_at(&store, 2, later).is_some());
    store.keep(&entry(3, 10), later + HOUR).unwrap();
    assert_eq!(scene.files().len(), 1);
}

#[test]
fn what_is_torn_hides_nothing_that_stands_before_it() {
    let scene = Scene::new();
    let ends: Vec<_> = {
        let store = scene.store();
        (1..4).map(|origin| (keep(&store, origin, 100), scene.bytes()).1).collect()
    };
    let whole = fs::read(scene.only_file()).unwrap();
    for length in 0..whole.len() {
        fs::write(scene.only_file(), &whole[..length]).unwrap();
        let store = scene.store();
        for (origin, end) in (1..).zip(&ends) {
            assert_eq!(find(&store, origin).is_some(), length as u64 >= *end, "{origin} in {length}");
        }
    }
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0xff;
        fs::write(scene.only_file(), damaged).unwrap();
        let store = scene.store();
        for (origin, end) in (1..).zip(&ends) {
            let found = find(&store, origin);
            assert!(found == Some(entry(origin, 100)) || *end > byte as u64 && found.is_none(), "{origin}, {byte}");
        }
    }
}

#[test]
fn what_was_written_in_part_is_cut_off_or_the_file_left() {
    // An entry is written in one operation, after its file was made in one.
    const SECOND_ENTRY: usize = 3;
    for (broken, files) in [(&[][..], 1), (&["set_len"], 2)] {
        let scene = Scene::new();
        let disk = Arc::new(FaultyDisk::new(Some((SECOND_ENTRY, Fault::FullDisk))));
        let store = scene.store_with(disk.clone(), LIMITS);
        keep(&store, 1, 100);
        let whole = scene.bytes();
        disk.break_down(broken);
        let error = store.keep(&entry(2, 100), SystemTime::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(scene.bytes() == whole, broken.is_empty(), "{broken:?}");
        disk.recover();
        keep(&store, 3, 100);
        for (origin, is_kept) in [(1, true), (2, false), (3, true)] {
            assert_eq!(find(&store, origin).is_some(), is_kept, "{broken:?}: {origin}");
        }
        assert_eq!(scene.files().len(), files, "{broken:?}");
    }
}

#[test]
fn when_the_clock_is_set_back_the_entry_that_was_kept_later_is_the_newer_one() {
    let scene = Scene::new();
    let (store, now) = (scene.store(), SystemTime::now());
    store.keep(&entry(7, 1), now).unwrap();
    store.keep(&entry(7, 2), now - HOUR).unwrap();
    assert_eq!(find(&store, 7), Some(entry(7, 2)));
}

#[test]
fn a_damaged_entry_does_not_hide_an_older_one_of_its_origin() {
    let scene = Scene::new();
    let (store, another) = (scene.store(), scene.store());
    for (older, newer) in [(&store, &store), (&store, &another)] {
        keep(older, 7, 1);
        let at = keep(newer, 7, 2);
        let file = scene.0.path().join(&at.file);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at.offset as usize + HEAD_BYTES + 10] ^= 0xff;
        fs::write(&file, bytes).unwrap();
        assert_eq!(find(&store, 7), Some(entry(7, 1)));
    }
}

#[test]
fn who_empties_the_directory_ends_no_undo_that_comes_after() {
    let scene = Scene::new();
    let store = scene.store();
    let at = keep(&store, 1, 10);
    fs::remove_file(scene.only_file()).unwrap();
    store.forget(&at);
    keep(&store, 2, 10);
    assert_eq!((find(&store, 1), find(&store, 2)), (None, Some(entry(2, 10))));
    let file = scene.only_file();
    fs::remove_file(&file).unwrap();
    fs::write(&file, "of somebody else").unwrap();
    keep(&store, 3, 10);
    assert_eq!(find(&store, 3), Some(entry(3, 10)));
    scene.files().iter().for_each(|file| fs::write(file, "").unwrap());
    keep(&store, 4, 10);
    assert_eq!(find(&store, 4), Some(entry(4, 10)));
}

#[test]
fn what_is_no_file_of_entries_is_left_alone_and_ends_no_undo() {
    let scene = Scene::new();
    let odd = ["directory.undo", "link.undo", "other", "dangling.undo"].map(|name| scene.0.path().join(name));
    fs::create_dir(&odd[0]).unwrap();
    std::os::unix::fs::symlink("other", &odd[1]).unwrap();
    fs::write(&odd[2], vec![0; 100_000]).unwrap();
    std::os::unix::fs::symlink("nowhere", &odd[3]).unwrap();
    let store = scene.store();
    for origin in 0..300 {
        keep(&store, origin, 400);
        assert_eq!(find(&store, origin), Some(entry(origin, 400)));
    }
    assert!(odd.iter().all(|path| path.symlink_metadata().is_ok()));
}

#[test]
fn what_is_taken_back_does_not_make_its_file_younger() {
    let scene = Scene::new();
    let store = scene.store();
    let at = keep(&store, 1, 10);
    let then = SystemTime::now() - 20 * HOUR;
    File::open(scene.only_file()).unwrap().set_modified(then).unwrap();
    store.forget(&at);
    assert_eq!(scene.only_file().metadata().unwrap().modified().unwrap(), then);
}
