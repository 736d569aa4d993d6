//! Somebody else is at the files in the very moment they are changed.

use std::{sync::Mutex, time::Instant};

use super::*;

/// Does something in the moment before a path is changed, once.
struct Outsider {
    before: std::path::PathBuf,
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Outsider {
    fn before(path: std::path::PathBuf, act: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Arc::new(Self { before: path, act: Mutex::new(Some(Box::new(act))) })
    }
}

impl Observer for Outsider {
    fn root_replaced(&self, _: &Path) {}
    fn will_write(&self, path: &Path, _: Option<ContentHash>, _: Uuid) {
        if path == self.before {
            if let Some(act) = self.act.lock().unwrap().take() {
                act();
            }
        }
    }
    fn did_write(&self, _: &Path, _: Option<ContentHash>) {}

    fn did_not_write(&self, _: &Path, _: Option<ContentHash>) {}
}

/// Carries out changes while an outsider acts before one of their paths is changed.
fn apply_with_outsider(
    scene: &Scene,
    changes: Vec<Change>,
    before: &str,
    act: impl FnOnce() + Send + 'static,
) -> (EditOutcome, Arc<FaultyDisk>) {
    let (engine, disk) = scene.engine_seen_by(Outsider::before(scene.path(before), act), None);
    let request = EditRequest { changes, origin: ORIGIN, ..EditRequest::default() };
    (engine.apply(&request, &NoEditor, &CancelToken::new()), disk)
}

fn error_of(outcome: &EditOutcome) -> &IoErrorKind {
    &outcome.files.iter().find_map(|file| file.error.as_ref()).expect("an error").kind
}

#[test]
fn a_file_that_came_to_the_name_of_a_hard_link_is_not_overwritten_when_its_edit_is_taken_back() {
    let scene = Scene::new(FileSystem::Able);
    let (linked, spoiled, beside) = (scene.path("linked"), scene.path("1"), scene.path("saved"));
    let (outcome, _) = apply_with_outsider(&scene, vec![scene.edit("linked"), scene.edit("1")], "1", move || {
        fs::write(&beside, "saved by an editor").unwrap();
        fs::rename(&beside, &linked).unwrap();
        fs::write(&spoiled, "from outside").unwrap();
    });
    assert!(!outcome.applied);
    assert!(matches!(error_of(&outcome), IoErrorKind::Unfinished { .. }), "{outcome:?}");
    assert_eq!(scene.content("linked").as_deref(), Some("saved by an editor"));
    assert_eq!(scene.content("1").as_deref(), Some("from outside"));
}

#[test]
fn what_was_written_into_a_hard_link_meanwhile_is_not_lost_when_its_edit_is_taken_back() {
    let scene = Scene::new(FileSystem::Able);
    let (linked, spoiled) = (scene.path("linked"), scene.path("1"));
    let (outcome, _) = apply_with_outsider(&scene, vec![scene.edit("linked"), scene.edit("1")], "1", move || {
        fs::write(&linked, "from outside").unwrap();
        fs::write(&spoiled, "from outside").unwrap();
    });
    assert!(matches!(error_of(&outcome), IoErrorKind::Unfinished { .. }), "{outcome:?}");
    assert_eq!(scene.content("link").as_deref(), Some("from outside"));
}

#[test]
fn all_names_of_a_file_have_one_lock_in_common() {
    use crate::{engine::plan::Targets, roots::Resolver};

    let scene = Scene::new(FileSystem::Able);
    let (engine, _) = scene.engine(None);
    let roots = engine.roots();
    let resolver = Resolver::new(&roots, &engine.dir_budget);
    let places = |name: &str| {
        let request = EditRequest { changes: vec![scene.edit(name)], ..EditRequest::default() };
        Targets::resolve(&request, &resolver).places
    };
    let (one, other) = (places("link"), places("linked"));
    assert_ne!(one, other);
    assert_eq!(one.iter().filter(|place| other.contains(place)).count(), 1, "{one:?}, {other:?}");
    assert_eq!(places("0").len(), 1);
}

#[test]
fn a_transaction_is_taken_back_whole_when_a_file_was_changed_meanwhile() {
    for file_system in [FileSystem::Able, FileSystem::Plain] {
        let scene = Scene::new(file_system);
        let spoiled = scene.path("1");
        let changes = vec![scene.edit("0"), scene.edit("1"), scene.edit("2")];
        let (outcome, _) = apply_with_outsider(&scene, changes, "1", move || {
            fs::write(&spoiled, "from outside").unwrap();
        });
        assert!(matches!(error_of(&outcome), IoErrorKind::ContentMismatch { .. }), "{file_system:?}: {outcome:?}");
        assert_eq!(scene.content("0"), Some(old("0")), "{file_system:?}");
        assert_eq!(scene.content("1").as_deref(), Some("from outside"), "{file_system:?}");
        assert_eq!(scene.content("2"), Some(old("2")), "{file_system:?}");
        assert_eq!(scene.left_in_state(), Vec::<String>::new(), "{file_system:?}");
        assert_eq!(scene.tree(), without_temporaries(scene.tree()), "{file_system:?}");
    }
}

#[test]
fn what_somebody_wrote_to_a_new_content_before_it_was_taken_back_is_kept() {
    for file_system in [FileSystem::Able, FileSystem::Plain] {
        let scene = Scene::new(file_system);
        let (written, spoiled) = (scene.path("0"), scene.path("1"));
        let (outcome, _) = apply_with_outsider(&scene, vec![scene.edit("0"), scene.edit("1")], "1", move || {
            fs::write(&written, "written after us").unwrap();
            fs::write(&spoiled, "from outside").unwrap();
        });
        assert_eq!(scene.content("0"), Some(old("0")), "{file_system:?}");
        let IoErrorKind::KeptBeside { kept, .. } = error_of(&outcome) else { panic!("{file_system:?}: {outcome:?}") };
        assert_eq!(scene.content(kept).as_deref(), Some("written after us"), "{file_system:?}");
    }
}

#[test]
fn a_file_that_was_given_back_is_synced() {
    let scene = Scene::new(FileSystem::Able);
    let spoiled = scene.path("0");
    let (outcome, disk) = apply_with_outsider(&scene, vec![scene.edit("0")], "0", move || {
        fs::write(&spoiled, "from outside").unwrap();
    });
    assert!(!outcome.applied);
    let names = disk.names();
    let given_back = names.iter().rposition(|name| *name == "exchange");
    let synced = names.iter().rposition(|name| *name == "sync_dir");
    assert!(given_back.is_some() && synced > given_back, "{names:?}");
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_a_new_content_before_it_is_complete() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    for (name, change) in [("0", Scene::edit as fn(&Scene, &str) -> Change), ("made", Scene::create)] {
        let scene = Scene::new(FileSystem::Plain);
        fs::set_permissions(scene.path("0"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(scene.path("plain"), "").unwrap();
        let in_the_end = if name == "0" { 0o666 } else { mode(&scene.path("plain")) };
        let (engine, disk) = scene.engine(None);
        let seen = Arc::new(Mutex::new(None));
        let (looking, dir) = (seen.clone(), scene.dir.path().to_path_buf());
        let look = move || {
            let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
            let temporary = entries.into_iter().find(|entry| is_temp_name(&entry.file_name())).unwrap();
            *looking.lock().unwrap() = Some(mode(&temporary.path()));
        };
        if name == "0" {
            disk.before("set_metadata", look);
        } else {
            let again = disk.clone();
            disk.before("set_mode", move || again.before("write", look));
        }
        let request = EditRequest { changes: vec![change(&scene, name)], ..EditRequest::default() };
        assert!(engine.apply(&request, &NoEditor, &CancelToken::new()).applied);
        assert_eq!(*seen.lock().unwrap(), Some(0o600), "{name}");
        assert_eq!(mode(&scene.path(name)), in_the_end, "{name}");
    }
}

#[test]
fn what_is_read_while_an_edit_is_under_way_is_not_taken_for_what_is_there_afterwards() {
    for (file_system, last) in [(FileSystem::Able, "exchange"), (FileSystem::Plainest, "replace")] {
        let scene = Scene::new(file_system);
        let (engine, disk) = scene.engine(None);
        let (engine, path, since) = (Arc::new(engine), scene.path("0"), Instant::now());
        let read = move |engine: &Engine, path: &Path| {
            let requests = [EmbeddingData { path: path.to_owned(), ..EmbeddingData::default() }];
            let cancel = &CancelToken::new();
            let asking = Asking { documents: &Arc::default(), max_bytes: u64::MAX, since, cancel };
            engine.each_snippet(&requests, &asking).remove(0).unwrap().text
        };
        let (reader, there, seen) = (engine.clone(), path.clone(), Arc::new(Mutex::new(None)));
        let sees = seen.clone();
        disk.before(last, move || *sees.lock().unwrap() = Some(read(&reader, &there)));
        assert!(scene.apply(&engine, &SCENARIOS[0], Atomicity::Transaction).applied);
        assert_eq!(seen.lock().unwrap().as_deref(), Some(&*old("0")), "{file_system:?}");
        assert_eq!(read(&engine, &path), new("0"), "{file_system:?}");
    }
}
