mod encoding;
mod recovery;

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Action, Before, BeginError, Locking, OldFile, Record, RecordedPath, RecordedRoot, RecoveryReport, StateDir, Step,
    UndoEntry, UndoLimits, UndoStep,
};
use crate::{
    disk::{
        Dir, DirId, Metadata, OsDisk,
        faulty::{Fault, FaultyDisk},
        metadata_of,
    },
    encoding::{DecodeError, Decoder, Encoder, Kind},
    engine::{LockingPolicy, locks::FileLocks, os_locks::OsLocks},
    hash::ContentHash,
    roots::Place,
    temp_name::TempNames,
};

const LIMITS: UndoLimits = UndoLimits { keep_bytes: 1000, keep_days: 1 };

fn open(path: &Path) -> (StateDir, Arc<TempNames>) {
    let names = Arc::new(TempNames::new());
    (StateDir::open(path, Arc::new(OsDisk), LIMITS, names.clone()).unwrap(), names)
}

fn no_locks() -> OsLocks {
    OsLocks::new(LockingPolicy::None)
}

fn recover(scene: &Scene) -> RecoveryReport {
    recover_with(&open(&scene.state()).0, &no_locks())
}

fn recover_with(state: &StateDir, across: &OsLocks) -> RecoveryReport {
    state.recover(Locking { here: &FileLocks::default(), across })
}

fn at(relative: impl AsRef<OsStr>) -> RecordedPath {
    RecordedPath { root: "/r".into(), relative: PathBuf::from(relative.as_ref()) }
}

fn old_file(seconds: i64) -> OldFile {
    let modified = match seconds {
        0.. => SystemTime::UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), 7),
        _ => SystemTime::UNIX_EPOCH - Duration::new(seconds.unsigned_abs(), 7),
    };
    OldFile { inode: u64::MAX, size: 3, modified, mode: 0o100_640, hash: ContentHash::of(b"old") }
}

fn every_action() -> Record {
    let steps = [
        Action::Write { old: None, new: b"new".to_vec(), temp: ".t".into(), metadata: metadata() },
        Action::Write {
            old: Some(old_file(-5)),
            new: Vec::new(),
            temp: OsStr::from_bytes(b"\xff").into(),
            metadata: Metadata { attributes: Vec::new(), ..metadata() },
        },
        Action::WriteInPlace { old: old_file(0), old_content: b"old".to_vec(), new: b"newer".to_vec() },
        Action::Delete { old: old_file(1 << 40), aside: ".a".into() },
        Action::MoveFrom { from: at("b/c"), file: old_file(1), overwritten: None, aside: ".a".into() },
        Action::MoveFrom {
            from: at(OsStr::from_bytes(b"\xfe/x")),
            file: old_file(1),
            overwritten: Some(old_file(2)),
            aside: ".b".into(),
        },
    ];
    let steps = steps.into_iter().map(|action| Step { at: at("a/b"), action }).collect();
    Record { origin: Uuid::from_u128(5), roots: vec![RecordedRoot { path: "/r".into(), inode: 3 }], steps }
}

fn metadata() -> Metadata {
    let attributes = vec![(c"user.note".into(), Some(b"kept".to_vec())), (c"user.unreadable".into(), None)];
    Metadata { mode: 0o4755, owner: 1, group: u32::MAX, attributes }
}

fn every_undo_step() -> UndoEntry {
    let before = || Some(Before { bytes: b"before".to_vec(), metadata: Some(metadata()) });
    UndoEntry {
        origin: Uuid::from_u128(6),
        steps: vec![
            UndoStep::Restore { at: at("a"), left: None, before: before() },
            UndoStep::Restore { at: at("b"), left: Some(ContentHash::of(b"left")), before: None },
            UndoStep::MoveBack { now_at: at("c"), was_at: at("d"), left: ContentHash::of(b"c"), overwritten: before() },
        ],
    }
}

/// A root with the file `a`, and a state directory beside it.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::write(dir.path().join("root/a"), "old").unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("root")
    }

    fn root_id(&self) -> DirId {
        Dir::open_absolute(&self.root()).unwrap().id()
    }

    fn open_faulty(&self, fault: Option<(usize, Fault)>) -> (StateDir, Arc<FaultyDisk>) {
        self.open_on(FaultyDisk::new(fault))
    }

    fn open_on(&self, disk: FaultyDisk) -> (StateDir, Arc<FaultyDisk>) {
        let disk = Arc::new(disk);
        let state = StateDir::open(&self.state(), disk.clone(), LIMITS, Arc::new(TempNames::new()));
        (state.unwrap(), disk)
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Those of `a` with another mode.
    fn metadata(&self, mode: u32) -> Metadata {
        Metadata { mode, ..metadata_of(&fs::File::open(self.root().join("a")).unwrap()).unwrap() }
    }

    /// The record of a transaction that writes `new` to `a`.
    fn record(&self) -> Record {
        let stat = Dir::open_absolute(&self.root()).unwrap().stat("a".as_ref()).unwrap();
        let old = Some(OldFile::new(&stat, ContentHash::of(b"old")));
        let action = Action::Write { old, new: b"new".to_vec(), temp: ".none".into(), metadata: self.metadata(0o644) };
        let at = RecordedPath { root: self.root(), relative: "a".into() };
        let roots = vec![RecordedRoot { path: self.root(), inode: self.root_id().inode }];
        Record { origin: Uuid::from_u128(7), roots, steps: vec![Step { at, action }] }
    }

    fn abandon(&self, content: &[u8]) {
        open(&self.state());
        fs::write(self.state().join("transactions/1.record"), content).unwrap();
    }

    fn content(&self) -> String {
        fs::read_to_string(self.root().join("a")).unwrap()
    }

    fn records(&self) -> Vec<OsString> {
        fs::read_dir(self.state().join("transactions")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }
}

#[test]
fn a_committed_transaction_is_finished_by_the_next_start() {
    let scene = Scene::new();
    drop(open(&scene.state()).0.begin(&scene.record(), true).unwrap());
    let report = recover(&scene);
    let finished = vec![(Uuid::from_u128(7), vec![scene.root().join("a")])];
    assert_eq!(report, RecoveryReport { finished, ..RecoveryReport::default() });
    assert_eq!((scene.content().as_str(), scene.records().len()), ("new", 0));
}

#[test]
fn a_record_whose_removal_a_power_cut_takes_back_is_not_carried_out_again() {
    for crashes in [false, true] {
        let scene = Scene::new();
        let (state, disk) = scene.open_faulty(None);
        let record = state.begin(&scene.record(), true).unwrap();
        let name = scene.state().join("transactions").join(&scene.records()[0]);
        let on_the_disk = scene.dir.path().join("on the disk");
        fs::hard_link(&name, &on_the_disk).unwrap();
        let names = if crashes {
            drop((state, record));
            let (state, disk) = scene.open_faulty(None);
            assert_eq!(recover_with(&state, &no_locks()).finished.len(), 1);
            disk.names()
        } else {
            record.finish().unwrap();
            disk.names()
        };
        assert!(names.ends_with(&["set_len", "sync_file", "remove"]), "{names:?}");
        fs::write(scene.root().join("a"), "old").unwrap();
        fs::rename(&on_the_disk, &name).unwrap();
        assert_eq!(recover(&scene), RecoveryReport::default());
        assert_eq!(scene.content(), "old");
    }
}

#[test]
fn the_transaction_of_a_process_that_lives_is_left_to_it() {
    let scene = Scene::new();
    let (state, _) = open(&scene.state());
    let record = state.begin(&scene.record(), false).unwrap();
    assert_eq!(recover(&scene), RecoveryReport::default());
    assert_eq!(scene.content(), "old");
    record.finish().unwrap();
    assert_eq!(scene.records(), Vec::<OsString>::new());
}

#[test]
fn a_file_that_another_process_is_editing_is_waited_for() {
    let scene = Scene::new();
    drop(open(&scene.state()).0.begin(&scene.record(), false).unwrap());
    let advisory = || OsLocks::new(LockingPolicy::Advisory { directory: scene.dir.path().join("locks") });
    let place = Place::in_directory(Dir::open_absolute(&scene.root()).unwrap().id(), "a".as_ref());
    std::thread::scope(|scope| {
        let editing = advisory().lock(&[place]).unwrap();
        let start = scope.spawn(|| recover_with(&open(&scene.state()).0, &advisory()));
        assert_eq!(scene.content(), "old");
        fs::write(scene.root().join("a"), "edited").unwrap();
        drop(editing);
        assert_eq!(start.join().unwrap().left_alone.len(), 1);
    });
    assert_eq!(scene.content(), "edited");
}

#[test]
fn of_several_that_start_at_once_one_finishes_a_transaction() {
    for _ in 0..50 {
        let scene = Scene::new();
        drop(open(&scene.state()).0.begin(&scene.record(), false).unwrap());
        let reports: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| recover(&scene))).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(reports.iter().map(|report| report.finished.len()).sum::<usize>(), 1, "{reports:?}");
        assert!(reports.iter().all(|report| report.problems.is_empty() && report.left_alone.is_empty()), "{reports:?}");
        assert_eq!(scene.content(), "new");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_moved_aside_and_said_so() {
    let newer = {
        let mut bytes = Scene::new().record().encode();
        bytes.truncate(bytes.len() - 32);
        bytes[9..13].copy_from_slice(&2_u32.to_le_bytes());
        let checksum = *blake3::hash(&bytes).as_bytes();
        bytes.extend(checksum);
        bytes
    };
    for (content, reason) in
        [(&b"ploke-ioT torn"[..], "it is torn or damaged"), (&newer, "it was written by a newer version, in format 2")]
    {
        let scene = Scene::new();
        scene.abandon(content);
        let report = recover(&scene);
        let aside = scene.state().join("transactions/1.record.set-aside");
        assert_eq!(report.set_aside, [(aside.clone(), reason.to_owned())]);
        assert_eq!(fs::read(aside).unwrap(), content);
        assert_eq!(scene.content(), "old");
        assert_eq!(recover(&scene), RecoveryReport::default(), "it is told once");
    }
}

#[test]
fn a_record_that_can_neither_be_synced_nor_removed_is_carried_out_by_the_next_start() {
    let scene = Scene::new();
    open(&scene.state());
    // Made, written, synced.
    let (state, disk) = scene.open_faulty(Some((3, Fault::Death)));
    let begun = state.begin(&scene.record(), true);
    assert!(matches!(begun, Err(BeginError::Recorded { .. })), "{:?}", disk.names());
    assert_eq!(recover(&scene).finished.len(), 1);
    assert_eq!(scene.content(), "new");
}

#[test]
fn what_is_made_in_the_state_directory_survives_a_power_cut() {
    let scene = Scene::new();
    let (state, disk) = scene.open_faulty(None);
    // The directory itself and its three parts.
    assert_eq!(disk.names(), ["sync_dir"; 4]);
    for sync in [false, true, true] {
        state.note_temporaries(&scene.root(), scene.root_id(), sync).unwrap();
    }
    assert_eq!(disk.names()[4..], ["create", "write", "write", "sync_file", "sync_dir"]);
}

#[test]
fn a_record_that_was_never_written_is_removed() {
    let scene = Scene::new();
    scene.abandon(b"");
    assert_eq!(recover(&scene), RecoveryReport::default());
    assert_eq!(scene.records(), Vec::<OsString>::new());
}

#[test]
fn a_target_that_is_neither_old_nor_new_is_left_alone() {
    let scene = Scene::new();
    let record = scene.record();
    let mine = |scene: &Scene| fs::write(scene.root().join("a"), "mine").unwrap();
    let replaced = |scene: &Scene| {
        fs::remove_file(scene.root().join("a")).unwrap();
        fs::write(scene.root().join("a"), "mine").unwrap();
    };
    drop(record);
    for (how, content) in [(&mine as &dyn Fn(&Scene), "mine"), (&replaced, "mine")] {
        let scene = Scene::new();
        drop(open(&scene.state()).0.begin(&scene.record(), false).unwrap());
        how(&scene);
        let report = recover(&scene);
        assert_eq!(report.left_alone.len(), 1, "{report:?}");
        assert_eq!((scene.content().as_str(), scene.records().len()), (content, 0));
    }
}

#[test]
fn a_root_that_became_a_link_is_not_followed() {
    let scene = Scene::new();
    drop(open(&scene.state()).0.begin(&scene.record(), false).unwrap());
    let elsewhere = scene.dir.path().join("elsewhere");
    fs::rename(scene.root(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, scene.dir.path().join("root")).unwrap();
    let report = recover(&scene);
    assert_eq!(report.left_alone.len(), 1, "{report:?}");
    assert_eq!(fs::read_to_string(elsewhere.join("a")).unwrap(), "old");
}

#[test]
fn a_root_that_is_not_there_may_come_back_and_the_record_waits_for_it() {
    let scene = Scene::new();
    drop(open(&scene.state()).0.begin(&scene.record(), false).unwrap());
    let away = scene.dir.path().join("away");
    fs::rename(scene.root(), &away).unwrap();
    assert_eq!(recover(&scene).problems.len(), 1);
    fs::rename(&away, scene.dir.path().join("root")).unwrap();
    assert_eq!(recover(&scene).finished.len(), 1);
    assert_eq!(scene.content(), "new");
}

#[test]
fn temporary_files_of_the_dead_go_and_those_of_the_living_stay() {
    let scene = Scene::new();
    let (dead, dead_names) = open(&scene.state());
    let (living, living_names) = open(&scene.state());
    let [of_the_dead, of_the_living] = [(&dead, &dead_names), (&living, &living_names)].map(|(state, names)| {
        state.note_temporaries(&scene.root(), scene.root_id(), false).unwrap();
        let path = scene.root().join(names.next(None));
        fs::write(&path, "").unwrap();
        path
    });
    dead.left_behind();
    drop(dead);
    assert_eq!(recover(&scene), RecoveryReport::default());
    assert!(!of_the_dead.exists() && of_the_living.exists());
    drop(living);
    assert_eq!(
        fs::read_dir(scene.state().join("temporary")).unwrap().count(),
        0,
        "who ends in order takes its note along"
    );
}

#[test]
fn what_somebody_wrote_to_while_it_was_swapped_is_kept() {
    let scene = Scene::new();
    let (dead, names) = open(&scene.state());
    dead.note_temporaries(&scene.root(), scene.root_id(), false).unwrap();
    let stat = Dir::open_absolute(&scene.root()).unwrap().stat("a".as_ref()).unwrap();
    let temp = scene.root().join(names.next(Some(&stat)));
    fs::rename(scene.root().join("a"), &temp).unwrap();
    fs::write(&temp, "old and more").unwrap();
    dead.left_behind();
    drop(dead);
    let report = recover(&scene);
    assert_eq!(report.kept.len(), 1, "{report:?}");
    assert_eq!(fs::read_to_string(&report.kept[0]).unwrap(), "old and more");
    assert!(!temp.exists());
}

#[test]
fn what_is_in_the_directory_is_open_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::new();
    open(&scene.state());
    let parts = fs::read_dir(scene.state()).unwrap().map(|part| part.unwrap().path());
    for directory in parts.chain([scene.state()]) {
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", directory.display());
    }
}
