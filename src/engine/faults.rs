//! Every operation of the write path fails in turn, or is the last one before a crash.

mod crashes;
mod directories;
mod outsiders;
mod scenarios;
mod scene;
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
    Asking, Atomicity, CacheLimits, Change, CreateFileData, CreateOptions, Durability, EditOutcome, EditRequest,
    EmbeddingData, Engine, EngineConfig, FileStatus, Guard, HashCache, LockingPolicy, NoEditor, Observer,
    RecoveryReport, TextChange, TextRange, UndoLimits, WriteSnippetData, closing::MAX_BYTES,
};
use crate::{
    CancelToken,
    disk::faulty::{FAULTS, Fault, FaultyDisk},
    error::{IoErrorKind, Warning},
    hash::ContentHash,
    roots::SymlinkPolicy,
    temp_name::is_temp_name,
};
use scenarios::{ORIGIN, SCENARIOS, Scenario, scenario};
use scene::{FileSystem, Scene, Tree, new, old};

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
    for (file_system, bytes, later) in
        [(FileSystem::Able, MAX_BYTES, true), (FileSystem::Able, MAX_BYTES + 1, false), (FileSystem::Plain, 1, false)]
    {
        let scene = Scene::new(file_system);
        fs::File::options().write(true).open(scene.path("0")).unwrap().set_len(bytes).unwrap();
        let (engine, _) = scene.engine(None);
        let insertion = TextChange {
            range: Some(TextRange::Bytes { start: 0, end: 0 }),
            new_text: "new".into(),
            expected_text: None,
        };
        let change = WriteSnippetData { path: scene.path("0"), expected: Guard::default(), edits: vec![insertion] };
        let request = EditRequest { changes: vec![Change::Edit(change)], unguarded: true, ..EditRequest::default() };
        let outcome = engine.apply(&request, &NoEditor, &CancelToken::new());
        assert!(outcome.applied, "{outcome:?}");
        assert_eq!(engine.closing.has_begun(), later, "{file_system:?}, {bytes}");
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
