//! What a crash must not cost: changes from outside that fell into its moment, and all that came after it.

use std::{path::PathBuf, sync::Mutex};

use super::*;

/// Does something once, when the first change is announced.
struct JustBefore(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Observer for JustBefore {
    fn root_replaced(&self, _: &Path) {}
    fn will_write(&self, _: &Path, _: Option<ContentHash>, _: Uuid) {
        if let Some(act) = self.0.lock().unwrap().take() {
            act();
        }
    }
    fn did_write(&self, _: &Path, _: Option<ContentHash>) {}

    fn did_not_write(&self, _: &Path, _: Option<ContentHash>) {}
}

const SAVED: &str = "saved by an editor";

/// Carries out changes of the file `0` while an editor replaces it in the last moment.
fn apply_while_saved(scene: &Scene, change: Change, fault: Option<(usize, Fault)>) -> (EditOutcome, Arc<FaultyDisk>) {
    let (file, beside) = (scene.path("0"), scene.path("saved"));
    let save = move || {
        fs::write(&beside, SAVED).unwrap();
        fs::rename(&beside, &file).unwrap();
    };
    let (engine, disk) = scene.engine_seen_by(Arc::new(JustBefore(Mutex::new(Some(Box::new(save))))), fault);
    let request = EditRequest { changes: vec![change], origin: ORIGIN, ..EditRequest::default() };
    (engine.apply(&request, &NoEditor, &CancelToken::new()), disk)
}

/// The number of the operation that brings the file of an editor out.
fn swap(scene: &Scene, change: Change) -> usize {
    let (outcome, disk) = apply_while_saved(scene, change, None);
    assert!(!outcome.applied, "{outcome:?}");
    disk.names().iter().position(|name| matches!(*name, "exchange" | "rename_new")).unwrap() + 1
}

/// The files with this content.
fn places_of(scene: &Scene, content: &str) -> Vec<String> {
    scene.tree().into_iter().filter(|(_, file)| file.content == content).map(|(path, _)| path).collect()
}

#[test]
fn a_save_that_was_swapped_out_just_before_a_crash_is_kept_by_the_next_start() {
    for change in [|scene: &Scene| scene.edit("0"), |scene: &Scene| scene.delete("0")] {
        let at = {
            let scene = Scene::new(FileSystem::Able);
            swap(&scene, change(&scene))
        };
        let scene = Scene::new(FileSystem::Able);
        apply_while_saved(&scene, change(&scene), Some((at + 1, Fault::Death)));
        assert!(is_temp_name(places_of(&scene, SAVED)[0][1..].as_ref()));

        let (report, _) = scene.restart(None);
        let [kept] = &report.kept[..] else { panic!("{report:?}") };
        assert_eq!(fs::read_to_string(kept).unwrap(), SAVED);
        assert_eq!(scene.left_in_state(), Vec::<String>::new());
        assert_eq!(scene.tree(), without_temporaries(scene.tree()));
    }
}

#[test]
fn a_save_that_can_not_be_given_its_name_back_is_kept_at_once_and_named() {
    for change in [|scene: &Scene| scene.edit("0"), |scene: &Scene| scene.delete("0")] {
        let at = {
            let scene = Scene::new(FileSystem::Able);
            swap(&scene, change(&scene))
        };
        let scene = Scene::new(FileSystem::Able);
        let fault = Some((at + 1, Fault::Error(io::ErrorKind::Other)));
        let (outcome, _) = apply_while_saved(&scene, change(&scene), fault);
        let [kept] = &places_of(&scene, SAVED)[..] else { panic!("{:?}", scene.tree()) };
        let error = outcome.files[0].error.as_ref().unwrap().to_string();
        assert!(kept.starts_with("/ploke-io-kept-") && error.contains(&kept[1..]), "{kept}: {error}");
        scene.restart(None);
        assert_eq!(places_of(&scene, SAVED), [&kept[..]]);
    }
}

#[test]
fn what_was_written_to_a_new_content_before_a_crash_that_takes_it_back_is_kept() {
    let scene = Scene::new(FileSystem::Able);
    let (outcome, disk) = {
        let (engine, disk) = scene.engine(None);
        (scene.apply(&engine, &SCENARIOS[0], Atomicity::Transaction), disk)
    };
    assert!(outcome.applied);
    let named = disk.names().iter().position(|name| *name == "name").unwrap() + 1;

    let scene = Scene::new(FileSystem::Able);
    let (engine, _) = scene.engine(Some((named + 1, Fault::Death)));
    scene.apply(&engine, &SCENARIOS[0], Atomicity::Transaction);
    drop(engine);
    let temporary: PathBuf = scene.path(&places_of(&scene, &new("0"))[0][1..]);
    fs::write(&temporary, "written by somebody").unwrap();
    let (report, _) = scene.restart(None);
    assert_eq!(fs::read_to_string(&report.kept[0]).unwrap(), "written by somebody");
}

/// The operations of a request that writes `0` and makes `new`.
fn operations() -> Vec<&'static str> {
    let scene = Scene::new(FileSystem::Able);
    let (engine, disk) = scene.engine(None);
    scene.apply(&engine, &EDIT_AND_CREATE, Atomicity::Transaction);
    disk.names()
}

const EDIT_AND_CREATE: Scenario = scenario("", |scene| vec![scene.edit("0"), scene.create("new")]);

fn meet(scene: &Scene, fault: (usize, Fault)) -> EditOutcome {
    let (engine, _) = scene.engine(Some(fault));
    scene.apply(&engine, &EDIT_AND_CREATE, Atomicity::Transaction)
}

#[test]
fn what_was_removed_since_a_sync_failed_does_not_come_back() {
    let at = operations().iter().rposition(|name| *name == "sync_dir").unwrap() + 1;
    let scene = Scene::new(FileSystem::Able);
    let outcome = meet(&scene, (at, Fault::Error(io::ErrorKind::Other)));
    assert_eq!((outcome.applied, outcome.durability), (true, Durability::Unknown));
    fs::remove_file(scene.path("new")).unwrap();
    scene.restart(None);
    assert_eq!(scene.content("new"), None);
}

#[test]
fn the_record_of_what_could_not_be_synced_stays_until_something_else_is_changed() {
    let at = operations().iter().rposition(|name| *name == "sync_dir").unwrap() + 1;
    let scene = Scene::new(FileSystem::Able);
    let records = || fs::read_dir(scene.state.path().join("transactions")).unwrap().count();
    let (engine, _) = scene.engine(Some((at, Fault::Error(io::ErrorKind::Other))));
    scene.apply(&engine, &EDIT_AND_CREATE, Atomicity::Transaction);
    assert_eq!(records(), 1);
    assert_eq!(scene.start_beside(None).0, RecoveryReport::default(), "its owner lives");
    assert!(scene.apply(&engine, &scenario("", |scene| vec![scene.delete("3")]), Atomicity::Transaction).applied);
    assert_eq!(records(), 0);
}

#[test]
fn nothing_is_changed_while_the_record_of_what_was_done_before_can_not_be_removed() {
    const REMOVAL: &[&str] = &["set_len", "remove"];
    let at = operations().iter().rposition(|name| *name == "sync_dir").unwrap() + 1;
    for fault in [None, Some((at, Fault::Error(io::ErrorKind::Other)))] {
        let scene = Scene::new(FileSystem::Able);
        let (engine, disk) = scene.engine(fault);
        let breaking = disk.clone();
        disk.before("set_len", move || breaking.break_down(REMOVAL));
        assert!(scene.apply(&engine, &EDIT_AND_CREATE, Atomicity::Transaction).applied, "{fault:?}");

        disk.break_down(REMOVAL);
        let single = scenario("", |scene| vec![scene.delete("3")]);
        let outcome = scene.apply(&engine, &single, Atomicity::Transaction);
        let error = outcome.files[0].error.as_ref().expect("an error").to_string();
        assert!(error.contains("remove the record of an earlier transaction"), "{fault:?}: {error}");
        assert_eq!(scene.content("3"), Some(old("3")), "{fault:?}");
        fs::remove_file(scene.path("new")).unwrap();
        assert_eq!(scene.start_beside(None).0, RecoveryReport::default(), "{fault:?}: its owner lives");
        assert_eq!(scene.content("new"), None, "{fault:?}");

        disk.break_down(&[]);
        assert!(scene.apply(&engine, &single, Atomicity::Transaction).applied, "{fault:?}");
        assert_eq!(fs::read_dir(scene.state.path().join("transactions")).unwrap().count(), 0, "{fault:?}");
    }
}

#[test]
fn who_is_told_of_a_failure_is_told_that_the_record_stays() {
    let position = |name: &str| operations().iter().rposition(|operation| *operation == name).unwrap() + 1;
    // The record is what is written last.
    for at in [position("write") + 1, position("exchange")] {
        let scene = Scene::new(FileSystem::Able);
        let outcome = meet(&scene, (at, Fault::Death));
        let error = outcome.files[0].error.as_ref().unwrap();
        assert!(matches!(error.kind, IoErrorKind::Unfinished { recorded: true, .. }), "{at}: {error}");
        scene.restart(None);
        assert_eq!((scene.content("0"), scene.content("new")), (Some(new("0")), Some(new("new"))), "{at}");
    }
}

#[test]
fn a_root_that_is_added_later_is_recovered_before_it_is_used() {
    let scene = Scene::new(FileSystem::Able);
    let at = operations().iter().rposition(|name| *name == "exchange").unwrap() + 2;
    let (dying, _) = scene.engine(Some((at, Fault::Death)));
    let (living, _) = scene.engine(None);
    scene.apply(&dying, &EDIT_AND_CREATE, Atomicity::Transaction);
    drop(dying);
    assert_eq!((scene.content("0"), scene.content("new")), (Some(new("0")), None));
    living.add_root(scene.dir.path()).unwrap();
    assert_eq!(scene.content("new"), Some(new("new")));
    assert_eq!(living.recovered().finished.len(), 1);
}
