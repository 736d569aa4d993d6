//! Every operation of the write path fails in turn, or is the last one before a crash.

mod crashes;
mod directories;
mod outsiders;
mod syncs;
mod undo;

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::Path,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use uuid::Uuid;

use super::{
    Atomicity, CacheLimits, Change, CreateFileData, CreateOptions, Durability, EditOutcome, EditRequest, Engine,
    EngineConfig, FileStatus, Guard, HashCache, LockingPolicy, NoEditor, Observer, RecoveryReport, TextChange,
    TextRange, UndoLimits, WriteSnippetData,
};
use crate::{
    CancelToken,
    disk::faulty::{FAULTS, Fault, FaultyDisk},
    error::{IoErrorKind, Warning},
    hash::ContentHash,
    roots::SymlinkPolicy,
    temp_name::is_temp_name,
};

struct NobodyWatches;

impl Observer for NobodyWatches {
    fn root_replaced(&self, _: &Path) {}
    fn will_write(&self, _: &Path, _: Option<ContentHash>, _: Uuid) {}
    fn did_write(&self, _: &Path, _: Option<ContentHash>) {}
    fn did_not_write(&self, _: &Path, _: Option<ContentHash>) {}
}

/// All files beneath a directory by their paths in it; two names of one file are one entry for each.
type Tree = BTreeMap<String, FileState>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileState {
    content: String,
    /// Permissions; always the same where there are none.
    mode: u32,
}

/// A tree with the files `0` to `3` and `link`, another name of `linked`, and a state directory.
struct Scene {
    dir: tempfile::TempDir,
    state: tempfile::TempDir,
    file_system: FileSystem,
    undo: UndoLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSystem {
    /// As it is.
    Able,
    /// Without exchanges and files that have no name.
    Plain,
    /// Without second names of files too.
    Plainest,
    /// Files that have no name cannot be given one.
    WithoutProc,
}

impl FileSystem {
    const ALL: [Self; 4] = [Self::Able, Self::Plain, Self::Plainest, Self::WithoutProc];

    fn unsupported(self) -> &'static [&'static str] {
        match self {
            Self::Able => &[],
            Self::Plain => &["create_unnamed", "exchange"],
            Self::Plainest => &["create_unnamed", "exchange", "link"],
            Self::WithoutProc => &["name"],
        }
    }
}

fn old(name: &str) -> String {
    format!("old content of {name}")
}

fn new(name: &str) -> String {
    format!("new content of {name}")
}

impl Scene {
    fn new(file_system: FileSystem) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0", "1", "2", "3", "linked"] {
            fs::write(dir.path().join(name), old(name)).unwrap();
        }
        fs::hard_link(dir.path().join("linked"), dir.path().join("link")).unwrap();
        #[cfg(unix)]
        for (name, mode) in [("0", 0o640), ("1", 0o4755), ("2", 0o600), ("linked", 0o6751)] {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(dir.path().join(name), permissions).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        for part in ["transactions", "temporary", "undo"] {
            fs::create_dir(state.path().join(part)).unwrap();
        }
        Self { dir, state, file_system, undo: UndoLimits::default() }
    }

    fn engine(&self, fault: Option<(usize, Fault)>) -> (Engine, Arc<FaultyDisk>) {
        self.engine_seen_by(Arc::new(NobodyWatches), fault)
    }

    fn engine_seen_by(&self, observer: Arc<dyn Observer>, fault: Option<(usize, Fault)>) -> (Engine, Arc<FaultyDisk>) {
        let disk = Arc::new(FaultyDisk::without(self.file_system.unsupported(), fault));
        let engine = Engine::new(EngineConfig {
            symlink_policy: SymlinkPolicy::default(),
            // One thread, so that the operations come in the same order each time.
            permits: 1,
            open_dirs: 4,
            max_commit_dirs: 8,
            max_file_bytes: 1 << 20,
            cache: Arc::new(HashCache::new(CacheLimits::default())),
            locking: LockingPolicy::None,
            state_dir: Some(self.state.path().to_path_buf()),
            undo: self.undo,
            disk: disk.clone(),
            observer,
        });
        engine.add_root(self.dir.path()).unwrap();
        (engine, disk)
    }

    /// Starts anew, as after a crash, with a disk that may fail again.
    fn restart(&self, fault: Option<(usize, Fault)>) -> (RecoveryReport, usize) {
        let (engine, disk) = self.engine(fault);
        (engine.recovered(), disk.done.load(SeqCst))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn guard(&self, name: &str) -> Guard {
        let content_hash = Some(ContentHash::of(old(name).as_bytes()));
        Guard { content_hash, ..Guard::default() }
    }

    fn edit(&self, name: &str) -> Change {
        let edit = TextChange {
            range: Some(TextRange::Bytes { start: 0, end: 3 }),
            new_text: "new".into(),
            expected_text: None,
        };
        Change::Edit(WriteSnippetData { path: self.path(name), expected: self.guard(name), edits: vec![edit] })
    }

    fn create(&self, name: &str) -> Change {
        Change::Create(CreateFileData {
            path: self.path(name),
            text: new(name),
            options: CreateOptions { create_parents: true, ..CreateOptions::default() },
            expected: Guard::default(),
        })
    }

    fn rename(&self, from: &str, to: &str) -> Change {
        Change::Rename {
            old_path: self.path(from),
            new_path: self.path(to),
            overwrite: true,
            ignore_if_exists: false,
            expected: self.guard(from),
            expected_overwritten: self.guard(to),
        }
    }

    fn rename_new(&self, from: &str, to: &str) -> Change {
        Change::Rename {
            old_path: self.path(from),
            new_path: self.path(to),
            overwrite: false,
            ignore_if_exists: false,
            expected: self.guard(from),
            expected_overwritten: Guard::default(),
        }
    }

    fn delete(&self, name: &str) -> Change {
        let expected = self.guard(name);
        Change::Delete { path: self.path(name), ignore_if_not_exists: false, recursive: false, expected }
    }

    fn apply(&self, engine: &Engine, scenario: &Scenario, atomicity: Atomicity) -> EditOutcome {
        let unguarded = scenario.name == "exchange two names";
        let changes = (scenario.changes)(self);
        let request = EditRequest { changes, atomicity, origin: ORIGIN, unguarded, ..EditRequest::default() };
        engine.apply(&request, &NoEditor, &CancelToken::new())
    }

    fn undo(&self, engine: &Engine) -> EditOutcome {
        let undone = engine.undo(ORIGIN, Uuid::from_u128(2), Durability::Full, &NoEditor, &CancelToken::new());
        undone.ok().flatten().unwrap_or_else(|| EditOutcome {
            applied: false,
            failed_change: Some(0),
            durability: Durability::Full,
            files: Vec::new(),
            file_of_change: Vec::new(),
        })
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(self.dir.path(), "", &mut tree);
        tree
    }

    fn content(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// What is in the state directory but should not stay there.
    fn left_in_state(&self) -> Vec<String> {
        let mut left = Tree::new();
        for part in ["transactions", "temporary"] {
            collect(&self.state.path().join(part), part, &mut left);
        }
        left.into_keys().collect()
    }
}

fn collect(dir: &Path, prefix: &str, tree: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &name, tree);
        } else {
            let content = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            #[cfg(unix)]
            let mode = std::os::unix::fs::MetadataExt::mode(&entry.metadata().unwrap());
            #[cfg(not(unix))]
            let mode = 0;
            tree.insert(name, FileState { content, mode });
        }
    }
}

const ORIGIN: Uuid = Uuid::from_u128(1);

struct Scenario {
    name: &'static str,
    changes: fn(&Scene) -> Vec<Change>,
    /// It is the undo that the faults meet.
    undone: bool,
}

const fn scenario(name: &'static str, changes: fn(&Scene) -> Vec<Change>) -> Scenario {
    Scenario { name, changes, undone: false }
}

const SCENARIOS: [Scenario; 14] = [
    scenario("edit", |scene| vec![scene.edit("0")]),
    scenario("create", |scene| vec![scene.create("new")]),
    scenario("create with parents", |scene| vec![scene.create("made/deep/new")]),
    scenario("a new directory for two", |scene| {
        vec![scene.create("made/deep/new"), scene.create("made/new"), scene.edit("0")]
    }),
    scenario("five files", |scene| {
        vec![scene.edit("0"), scene.edit("1"), scene.create("new"), scene.edit("2"), scene.edit("3")]
    }),
    scenario("delete", |scene| vec![scene.delete("0")]),
    scenario("rename", |scene| vec![scene.rename_new("0", "new")]),
    scenario("rename over", |scene| vec![scene.rename("0", "1")]),
    scenario("edit and rename", |scene| vec![scene.edit("0"), scene.rename_new("0", "new")]),
    scenario("exchange two names", |scene| {
        vec![scene.rename_new("0", "new"), scene.rename_new("1", "0"), scene.rename_new("new", "1")]
            .into_iter()
            .map(without_guard)
            .collect()
    }),
    scenario("everything", |scene| {
        vec![scene.edit("0"), scene.create("new"), scene.delete("1"), scene.rename_new("2", "made"), scene.edit("3")]
    }),
    scenario("edit of a hard link", |scene| vec![scene.edit("linked")]),
    scenario("a hard link among others", |scene| vec![scene.edit("0"), scene.edit("linked"), scene.delete("1")]),
    Scenario {
        name: "undo",
        changes: |scene| {
            vec![
                scene.edit("0"),
                scene.create("new"),
                scene.delete("1"),
                scene.rename_new("2", "made"),
                scene.rename("linked", "3"),
            ]
        },
        undone: true,
    },
];

fn without_guard(change: Change) -> Change {
    match change {
        Change::Rename { old_path, new_path, overwrite, ignore_if_exists, .. } => Change::Rename {
            old_path,
            new_path,
            overwrite,
            ignore_if_exists,
            expected: Guard::default(),
            expected_overwritten: Guard::default(),
        },
        other => other,
    }
}

/// A scenario, from its beginning to the end of a request that meets a fault.
struct Run {
    scene: Scene,
    outcome: EditOutcome,
    operations: usize,
    before: Tree,
}

fn run(scenario: &Scenario, atomicity: Atomicity, fault: Option<(usize, Fault)>) -> Run {
    run_on(FileSystem::Able, scenario, atomicity, fault)
}

fn run_on(file_system: FileSystem, scenario: &Scenario, atomicity: Atomicity, fault: Option<(usize, Fault)>) -> Run {
    let scene = Scene::new(file_system);
    if scenario.undone {
        let (engine, _) = scene.engine(None);
        scene.apply(&engine, scenario, atomicity);
    }
    let before = scene.tree();
    let (engine, disk) = scene.engine(fault);
    let outcome = if scenario.undone { scene.undo(&engine) } else { scene.apply(&engine, scenario, atomicity) };
    let operations = disk.done.load(SeqCst);
    drop(engine);
    Run { scene, outcome, operations, before }
}

#[test]
fn whatever_fails_every_file_is_wholly_old_or_new_and_the_answer_is_true() {
    for file_system in FileSystem::ALL {
        for scenario in &SCENARIOS {
            // These two differ from others only in how a file is written.
            let is_special = matches!(file_system, FileSystem::Plainest | FileSystem::WithoutProc);
            if is_special && !["edit", "everything"].contains(&scenario.name) {
                continue;
            }
            let run = |fault| run_on(file_system, scenario, Atomicity::Transaction, fault);
            let name = format!("{} on {file_system:?}", scenario.name);
            let clean = run(None);
            assert!(clean.outcome.applied, "{name}: {:?}", clean.outcome);
            assert_eq!(clean.scene.left_in_state(), Vec::<String>::new(), "{name}");
            let after = clean.scene.tree();
            assert_ne!(after, clean.before, "{name}");
            assert!(clean.operations >= 4, "{name}: only {} operations", clean.operations);
            for at in 1..=clean.operations {
                for fault in FAULTS {
                    check(&run(Some((at, fault))), &after, fault, &format!("{name}, operation {at}: {fault:?}"));
                }
            }
        }
    }
}

/// What must hold after a request that has met a fault, and after the next start.
fn check(run: &Run, after: &Tree, fault: Fault, case: &str) {
    let Run { scene, outcome, before, .. } = run;
    let now = without_temporaries(scene.tree());
    let unfinished = is_finished_later(outcome);
    if outcome.applied {
        assert_eq!(now, *after, "{case}: it was said to be applied");
    } else if !unfinished {
        assert_eq!(now, *before, "{case}: it was said to be refused: {outcome:?}");
    }
    assert_eq!(outcome.failed_change.is_none(), outcome.applied, "{case}");
    let warned =
        outcome.files.iter().flat_map(|file| &file.warnings).any(|w| matches!(w, Warning::DurabilityUnknown(_)));
    assert_eq!(outcome.durability == Durability::Unknown, warned, "{case}");
    if fault == Fault::ShortWrite {
        assert!(outcome.applied || outcome.files.is_empty(), "{case}: a short write is carried on: {outcome:?}");
    }
    if !matches!(fault, Fault::Death) {
        assert_eq!(scene.tree(), now, "{case}: nothing is left behind by what fails only once");
    }
    let (report, _) = scene.restart(None);
    check_recovered(scene, &report, outcome.applied, unfinished, (before, after), case);
}

fn is_finished_later(outcome: &EditOutcome) -> bool {
    let mut errors = outcome.files.iter().filter_map(|file| file.error.as_ref());
    errors.any(|error| matches!(error.kind, IoErrorKind::Unfinished { recorded: true, .. }))
}

fn check_recovered(
    scene: &Scene,
    report: &RecoveryReport,
    applied: bool,
    unfinished: bool,
    (before, after): (&Tree, &Tree),
    case: &str,
) {
    assert_eq!(report.problems, Vec::<String>::new(), "{case}");
    assert_eq!(report.left_alone, Vec::new(), "{case}");
    assert_eq!(scene.left_in_state(), Vec::<String>::new(), "{case}");
    let now = scene.tree();
    let expected = if applied || unfinished { after } else { before };
    assert_eq!(now, *expected, "{case}, after the next start");
    if let (Some(one), Some(other)) = (now.get("/link"), now.get("/linked")) {
        assert_eq!(one, other, "{case}: two names of one file");
    }
}

fn without_temporaries(tree: Tree) -> Tree {
    let is_temporary = |path: &String| path.rsplit('/').next().is_some_and(|name| is_temp_name(name.as_ref()));
    tree.into_iter().filter(|(path, _)| !is_temporary(path)).collect()
}

#[test]
fn what_fails_in_a_recovery_is_done_by_the_next() {
    let some = SCENARIOS.iter().filter(|scenario| scenario.name == "a hard link among others");
    let on_plain = some.map(|scenario| (FileSystem::Plain, scenario));
    for (file_system, scenario) in SCENARIOS.iter().map(|scenario| (FileSystem::Able, scenario)).chain(on_plain) {
        let run = |fault| run_on(file_system, scenario, Atomicity::Transaction, fault);
        let clean = run(None);
        let after = clean.scene.tree();
        let mut met = HashSet::new();
        for at in 1..=clean.operations {
            let crashed = || run(Some((at, Fault::Death)));
            let recovered = crashed();
            let (engine, disk) = recovered.scene.engine(None);
            drop(engine);
            let operations = disk.names();
            // A crash that leaves the same work as the one before is met already.
            if !met.insert(operations.clone()) {
                continue;
            }
            for second in 1..=operations.len() {
                for fault in [Fault::Error(io::ErrorKind::StorageFull), Fault::ShortWrite, Fault::Death] {
                    let case =
                        format!("{} on {file_system:?}, dead at {at}, recovery at {second}: {fault:?}", scenario.name);
                    let run = crashed();
                    let applied = run.outcome.applied;
                    run.scene.restart(Some((second, fault)));
                    let (report, _) = run.scene.restart(None);
                    let whole = (&run.before, &after);
                    let unfinished = is_finished_later(&run.outcome);
                    check_recovered(&run.scene, &report, applied, unfinished, whole, &case);
                }
            }
        }
    }
}

#[test]
fn of_files_that_are_changed_on_their_own_each_is_wholly_old_or_new() {
    for scenario in SCENARIOS.iter().filter(|scenario| !scenario.undone) {
        let clean = run(scenario, Atomicity::PerFile, None);
        let after = clean.scene.tree();
        for at in 1..=clean.operations {
            for fault in FAULTS {
                let case = format!("{}, operation {at}: {fault:?}", scenario.name);
                let run = run(scenario, Atomicity::PerFile, Some((at, fault)));
                for file in run.outcome.files.iter().filter(|file| file.status == FileStatus::Applied) {
                    assert_eq!(hash_at(&file.path), file.new_content_hash, "{case}: {file:?}");
                }
                let (report, _) = run.scene.restart(None);
                assert_eq!(report.problems, Vec::<String>::new(), "{case}");
                assert_eq!(run.scene.tree(), without_temporaries(run.scene.tree()), "{case}");
                let (now, before) = (run.scene.tree(), &run.before);
                for path in now.keys().chain(before.keys()).chain(after.keys()) {
                    let (content, old, new) = (now.get(path), before.get(path), after.get(path));
                    assert!(content == old || content == new, "{case}: {path} is {content:?}");
                }
            }
        }
    }
}

fn hash_at(path: &Path) -> Option<ContentHash> {
    fs::read(path).ok().map(|content| ContentHash::of(&content))
}

#[test]
fn a_failed_sync_of_the_file_leaves_the_target_untouched() {
    let run = run_at(|disk| disk == "sync_file");
    assert!(run.outcome.files[0].error.as_ref().unwrap().to_string().contains("sync"), "{:?}", run.outcome);
    assert_eq!(run.scene.content("0"), Some(old("0")));
}

#[test]
fn a_directory_that_can_not_be_synced_is_a_warning_not_a_failure() {
    let run = run_at(|disk| disk == "sync_dir");
    assert_eq!((run.outcome.applied, run.outcome.durability), (true, Durability::Unknown));
    assert!(matches!(run.outcome.files[0].warnings[..], [Warning::DurabilityUnknown(_)]));
    assert_eq!(run.scene.content("0"), Some(new("0")));
}

/// Edits one file with a disk whose last operation of a kind fails.
fn run_at(kind: impl Fn(&str) -> bool) -> Run {
    let scenario = &SCENARIOS[0];
    let scene = Scene::new(FileSystem::Able);
    let (engine, disk) = scene.engine(None);
    scene.apply(&engine, scenario, Atomicity::Transaction);
    let names = disk.names();
    let at = names.iter().rposition(|name| kind(name)).expect("an operation of this kind") + 1;
    run(scenario, Atomicity::Transaction, Some((at, Fault::Error(io::ErrorKind::StorageFull))))
}

#[test]
fn best_effort_syncs_nothing() {
    let scene = Scene::new(FileSystem::Able);
    let (engine, disk) = scene.engine(None);
    let opened = disk.done.load(SeqCst);
    let changes = (SCENARIOS[10].changes)(&scene);
    let request = EditRequest { changes, durability: Durability::BestEffort, ..EditRequest::default() };
    let outcome = engine.apply(&request, &NoEditor, &CancelToken::new());
    assert_eq!((outcome.applied, outcome.durability), (true, Durability::BestEffort));
    let names = disk.names().split_off(opened);
    assert!(!names.iter().any(|name| name.starts_with("sync")), "{names:?}");
}

#[test]
fn what_is_replaced_is_closed_later_where_that_leaves_nothing_behind() {
    for (file_system, later) in [(FileSystem::Able, true), (FileSystem::Plain, false)] {
        let scene = Scene::new(file_system);
        let (engine, _) = scene.engine(None);
        scene.apply(&engine, &SCENARIOS[0], Atomicity::Transaction);
        assert_eq!(engine.closing.finish(), later, "{file_system:?}");
    }
}

#[test]
fn an_edit_without_room_waits_until_that_of_what_was_replaced_is_free() {
    let edit_two = |fault| {
        let scene = Scene::new(FileSystem::Able);
        let (engine, disk) = scene.engine(fault);
        let edit = |name| EditRequest { changes: vec![scene.edit(name)], ..EditRequest::default() };
        let outcomes = ["0", "1"].map(|name| engine.apply(&edit(name), &NoEditor, &CancelToken::new()));
        (outcomes.map(|outcome| outcome.applied), disk.names())
    };
    let (_, names) = edit_two(None);
    let made = |name: &&str| **name == *"create_unnamed";
    for (edit, applied) in [(1, [false, true]), (2, [true, true])] {
        let (at, _) = names.iter().enumerate().filter(|(_, name)| made(name)).nth(edit - 1).expect("it makes a file");
        // To make the file, and to write to it.
        for operation in [at + 1, at + 2] {
            let (outcome, _) = edit_two(Some((operation, Fault::Error(io::ErrorKind::StorageFull))));
            assert_eq!(outcome, applied, "nothing is waited for before the first, {:?}", names[operation - 1]);
        }
    }
}

#[test]
fn an_edit_that_is_refused_touches_nothing() {
    let scene = Scene::new(FileSystem::Able);
    let (engine, disk) = scene.engine(None);
    let opened = disk.done.load(SeqCst);
    fs::write(scene.path("0"), "something else").unwrap();
    let outcome =
        scene.apply(&engine, &scenario("", |scene| vec![scene.edit("0"), scene.edit("1")]), Atomicity::Transaction);
    assert!(!outcome.applied);
    assert_eq!(disk.names()[opened..], [""; 0]);
}

#[cfg(unix)]
#[test]
fn no_edit_is_lost_through_a_link_that_is_swapped_while_its_lock_is_waited_for() {
    use std::os::unix::fs::symlink;

    use crate::roots::Resolver;

    let scene = Scene::new(FileSystem::Able);
    let (engine, _) = scene.engine(None);
    let link = scene.path("symlink");
    symlink("0", &link).unwrap();
    let at_the_end = TextChange {
        range: Some(TextRange::Bytes { start: 16, end: 16 }),
        new_text: " and more".into(),
        expected_text: None,
    };
    let through_link = WriteSnippetData { path: link.clone(), expected: Guard::default(), edits: vec![at_the_end] };
    let changes = vec![scene.edit("1"), Change::Edit(through_link), scene.edit("3")];
    let request = EditRequest { changes, unguarded: true, ..EditRequest::default() };

    let roots = engine.roots();
    let last = Resolver::new(&roots, &engine.dir_budget).resolve(&scene.path("3")).unwrap();
    std::thread::scope(|scope| {
        let held = engine.locks.lock([last.place().unwrap()]);
        let edit = scope.spawn(|| engine.apply(&request, &NoEditor, &CancelToken::new()));
        while engine.locks() < 3 {
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
