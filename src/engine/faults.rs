//! Every operation of the write path fails in turn, or is the last one before a crash.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use super::{
    Atomicity, CacheLimits, Change, CreateFileData, CreateOptions, Durability, EditOutcome, EditRequest, Engine,
    EngineConfig, FileOutcome, FileStatus, Guard, HashCache, LockingPolicy, Observer, TextChange, TextRange,
    UndoLimits, WriteSnippetData,
};
use crate::{
    CancelToken,
    disk::faulty::{FAULTS, Fault, FaultyDisk},
    error::Warning,
    hash::ContentHash,
    roots::SymlinkPolicy,
    temp_name::is_temp_name,
};

struct NobodyWatches;

impl Observer for NobodyWatches {
    fn root_replaced(&self, _: &Path) {}
    fn will_write(&self, _: &Path, _: Option<ContentHash>) {}
    fn did_not_write(&self, _: &Path, _: Option<ContentHash>) {}
}

/// A tree with the files `0` to `3`, and an engine on it.
struct Scene {
    dir: tempfile::TempDir,
    disk: Arc<FaultyDisk>,
    engine: Engine,
}

fn old(name: &str) -> String {
    format!("old content of {name}")
}

fn new(name: &str) -> String {
    format!("new content of {name}")
}

impl Scene {
    fn new(fault: Option<(usize, Fault)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0", "1", "2", "3"] {
            fs::write(dir.path().join(name), old(name)).unwrap();
        }
        let disk = Arc::new(FaultyDisk::new(fault));
        let engine = Engine::new(EngineConfig {
            symlink_policy: SymlinkPolicy::default(),
            // One thread, so that the operations come in the same order each time.
            permits: 1,
            open_dirs: 4,
            max_file_bytes: 1 << 20,
            cache: Arc::new(HashCache::new(CacheLimits::default())),
            locking: LockingPolicy::None,
            state_dir: None,
            undo: UndoLimits::default(),
            disk: disk.clone(),
            observer: Arc::new(NobodyWatches),
        });
        engine.add_root(dir.path()).unwrap();
        Self { dir, disk, engine }
    }

    fn edit(&self, name: &str) -> Change {
        let edit = TextChange {
            range: Some(TextRange::Bytes { start: 0, end: 3 }),
            new_text: "new".into(),
            expected_text: None,
        };
        let content_hash = Some(ContentHash::of(old(name).as_bytes()));
        let expected = Guard { content_hash, ..Guard::default() };
        Change::Edit(WriteSnippetData { path: self.dir.path().join(name), expected, edits: vec![edit] })
    }

    fn create(&self, name: &str) -> Change {
        Change::Create(CreateFileData {
            path: self.dir.path().join(name),
            text: new(name),
            options: CreateOptions { create_parents: true, ..CreateOptions::default() },
            expected: Guard::default(),
        })
    }

    fn apply(&self, scenario: Scenario, atomicity: Atomicity) -> EditOutcome {
        let request = EditRequest { changes: scenario(self), atomicity, ..EditRequest::default() };
        self.engine.apply(&request, &CancelToken::new())
    }

    fn content(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(name)).ok()
    }

    /// Names in the tree that no request has asked for.
    fn debris(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| is_temp_name(name) || name == "made").map(|name| name.to_string_lossy().into()).collect()
    }
}

type Scenario = fn(&Scene) -> Vec<Change>;

const SCENARIOS: [(&str, Scenario); 5] = [
    ("edit", |scene| vec![scene.edit("0")]),
    ("create", |scene| vec![scene.create("new")]),
    ("create with parents", |scene| vec![scene.create("made/deep/new")]),
    ("a new directory for two", |scene| vec![scene.create("made/deep/new"), scene.create("made/new"), scene.edit("0")]),
    ("five files", |scene| {
        vec![scene.edit("0"), scene.edit("1"), scene.create("new"), scene.edit("2"), scene.edit("3")]
    }),
];

#[test]
fn whatever_fails_every_file_is_wholly_old_or_new_and_the_answer_is_true() {
    for (scenario_name, scenario) in SCENARIOS {
        for atomicity in [Atomicity::Transaction, Atomicity::PerFile] {
            let clean = Scene::new(None);
            assert!(clean.apply(scenario, atomicity).applied, "{scenario_name}");
            let operations = clean.disk.done.load(SeqCst);
            assert!(operations >= 5, "{scenario_name}: only {operations} operations");
            for at in 1..=operations {
                for fault in FAULTS {
                    let scene = Scene::new(Some((at, fault)));
                    let outcome = scene.apply(scenario, atomicity);
                    check(&scene, &outcome, &format!("{scenario_name}, {atomicity:?}, operation {at}: {fault:?}"));
                }
            }
        }
    }
}

fn check(scene: &Scene, outcome: &EditOutcome, case: &str) {
    let mut all_applied = true;
    for file in &outcome.files {
        let name = file.path.strip_prefix(scene.dir.path()).unwrap().to_str().unwrap();
        let existed = name.len() == 1;
        let applied = file.status == FileStatus::Applied;
        let expected = if applied { Some(new(name)) } else { existed.then(|| old(name)) };
        assert_eq!(scene.content(name), expected, "{case}: {name} is {:?}", file.status);
        assert_eq!(applied, file.error.is_none() && file.status != FileStatus::NotApplied, "{case}: {name}");
        all_applied &= applied;
    }
    assert_eq!(outcome.applied, all_applied, "{case}");
    assert_eq!(outcome.failed_change.is_none(), all_applied, "{case}");
    let warned =
        outcome.files.iter().flat_map(|file| &file.warnings).any(|w| matches!(w, Warning::DurabilityUnknown(_)));
    assert_eq!(outcome.durability == Durability::Unknown, warned, "{case}");
    let fault = scene.disk.fault.map(|(_, fault)| fault);
    if matches!(fault, Some(Fault::Error(_) | Fault::ShortWrite)) {
        let in_made =
            |file: &FileOutcome| file.status == FileStatus::Applied && file.path.iter().any(|at| at == "made");
        let made = outcome.files.iter().any(in_made).then_some("made".to_owned());
        let debris: Vec<_> = scene.debris().into_iter().filter(|name| Some(name) != made.as_ref()).collect();
        assert_eq!(debris, Vec::<String>::new(), "{case}");
    }
    if fault == Some(Fault::ShortWrite) {
        assert!(all_applied, "{case}: a short write is carried on");
    }
}

#[test]
fn a_failed_sync_of_the_file_leaves_the_target_untouched() {
    let scene = Scene::new(Some((4, Fault::Error(io::ErrorKind::StorageFull))));
    let outcome = scene.apply(|scene| vec![scene.edit("0")], Atomicity::Transaction);
    assert!(outcome.files[0].error.as_ref().unwrap().to_string().contains("sync"), "{outcome:?}");
    assert_eq!(scene.content("0"), Some(old("0")));
}

#[test]
fn a_directory_that_can_not_be_synced_is_a_warning_not_a_failure() {
    let scene = Scene::new(Some((8, Fault::Error(io::ErrorKind::Other))));
    let outcome = scene.apply(|scene| vec![scene.edit("0")], Atomicity::Transaction);
    assert_eq!((outcome.applied, outcome.durability), (true, Durability::Unknown));
    assert!(matches!(outcome.files[0].warnings[..], [Warning::DurabilityUnknown(_)]));
    assert_eq!(scene.content("0"), Some(new("0")));
}

#[test]
fn best_effort_syncs_nothing() {
    let scene = Scene::new(None);
    let changes = vec![scene.edit("0")];
    let request = EditRequest { changes, durability: Durability::BestEffort, ..EditRequest::default() };
    let outcome = scene.engine.apply(&request, &CancelToken::new());
    assert_eq!((outcome.applied, outcome.durability), (true, Durability::BestEffort));
    let create_write_metadata_name_exchange_remove = 6;
    assert_eq!(scene.disk.done.load(SeqCst), create_write_metadata_name_exchange_remove);
}

#[cfg(unix)]
#[test]
fn no_edit_is_lost_through_a_link_that_is_swapped_while_its_lock_is_waited_for() {
    use std::os::unix::fs::symlink;

    use crate::roots::Resolver;

    let scene = Scene::new(None);
    let link = scene.dir.path().join("link");
    symlink("0", &link).unwrap();
    let at_the_end = TextChange {
        range: Some(TextRange::Bytes { start: 16, end: 16 }),
        new_text: " and more".into(),
        expected_text: None,
    };
    let through_link = WriteSnippetData { path: link.clone(), expected: Guard::default(), edits: vec![at_the_end] };
    let changes = vec![scene.edit("1"), Change::Edit(through_link), scene.edit("3")];
    let request = EditRequest { changes, unguarded: true, ..EditRequest::default() };

    let roots = scene.engine.roots();
    let last = Resolver::new(&roots, &scene.engine.dir_budget).resolve(&scene.dir.path().join("3")).unwrap();
    std::thread::scope(|scope| {
        let held = scene.engine.locks.lock([last.place().unwrap()]);
        let edit = scope.spawn(|| scene.engine.apply(&request, &CancelToken::new()));
        while scene.engine.locks() < 3 {
            std::thread::yield_now();
        }
        fs::remove_file(&link).unwrap();
        symlink("1", &link).unwrap();
        drop(held);
        let outcome = edit.join().unwrap();
        assert!(outcome.applied, "{outcome:?}");
    });
    assert_eq!(scene.content("0"), Some(old("0")));
    assert_eq!(scene.content("1"), Some(new("1") + " and more"));
}
