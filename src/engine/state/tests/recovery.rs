//! What a start finds: roots that are not there, changes that fall into its own steps, failures on the way.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

const OLD: Duration = Duration::from_secs(31 * 24 * 60 * 60);

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn old_file(&self, name: &str) -> OldFile {
        let stat = Dir::open_absolute(&self.root()).unwrap().stat(name.as_ref()).unwrap();
        OldFile::new(&stat, ContentHash::of(&fs::read(self.path(name)).unwrap()))
    }

    fn step(&self, name: &str, action: Action) -> Step {
        Step { at: RecordedPath { root: self.root(), relative: name.into() }, action }
    }

    fn creates(&self, name: &str) -> Step {
        self.step(
            name,
            Action::Write { old: None, new: b"new".to_vec(), temp: ".none".into(), metadata: self.metadata(0o600) },
        )
    }

    fn moves(&self, from: &str, to: &str, overwritten: Option<OldFile>) -> Step {
        let file = self.old_file(from);
        let from = RecordedPath { root: self.root(), relative: from.into() };
        self.step(to, Action::MoveFrom { from, file, overwritten, aside: ".aside".into() })
    }

    fn record_of(&self, steps: Vec<Step>) -> Record {
        Record { steps, ..self.record() }
    }

    /// A process that died when it had recorded this.
    fn crash(&self, record: &Record) {
        drop(open(&self.state()).0.begin(record, false).unwrap());
    }

    /// Lets an empty directory be where the root was, until the result is dropped.
    fn unmount(&self) -> Unmounted {
        let (root, away) = (self.root(), self.root().with_file_name("away"));
        fs::rename(&root, &away).unwrap();
        fs::create_dir(&root).unwrap();
        Unmounted { root, away }
    }

    fn age(&self, directory: &str) {
        for entry in fs::read_dir(self.state().join(directory)).unwrap() {
            let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(SystemTime::now() - OLD).unwrap();
        }
    }

    fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.state().join(directory)).unwrap().count()
    }

    /// Leaves temporary files behind in the root.
    fn leave_temporaries<const N: usize>(&self) -> [PathBuf; N] {
        let (state, names) = open(&self.state());
        state.note_temporaries(&self.root(), self.root_id(), false).unwrap();
        state.left_behind();
        [(); N].map(|()| {
            let path = self.root().join(names.next(None));
            fs::write(&path, "").unwrap();
            path
        })
    }
}

struct Unmounted {
    root: PathBuf,
    away: PathBuf,
}

impl Drop for Unmounted {
    fn drop(&mut self) {
        fs::remove_dir(&self.root).expect("nothing was made in its place");
        fs::rename(&self.away, &self.root).unwrap();
    }
}

#[test]
fn a_root_that_is_not_mounted_is_waited_for() {
    let scene = Scene::new();
    let mut record = scene.record();
    record.steps.push(scene.creates("new"));
    scene.crash(&record);
    let unmounted = scene.unmount();
    for _ in 0..2 {
        let report = recover(&scene);
        assert!(report.problems[0].contains("another directory is where the root was"), "{report:?}");
        assert_eq!(report, RecoveryReport { problems: report.problems.clone(), ..RecoveryReport::default() });
    }
    drop(unmounted);
    assert_eq!(recover(&scene).finished.len(), 1);
    assert_eq!((scene.content().as_str(), scene.read("new").as_deref()), ("new", Some("new")));
}

#[test]
fn a_root_that_stays_away_is_waited_for_thirty_days() {
    let scene = Scene::new();
    scene.crash(&scene.record());
    scene.age("transactions");
    let unmounted = scene.unmount();
    let report = recover(&scene);
    assert!(report.set_aside[0].1.contains("another directory is where the root was"), "{report:?}");
    assert_eq!(recover(&scene), RecoveryReport::default());
    drop(unmounted);
}

#[test]
fn as_long_as_one_root_is_missing_nothing_is_done_in_the_others() {
    let (scene, missing) = (Scene::new(), Scene::new());
    let mut record = scene.record_of(vec![scene.creates("new"), missing.creates("new")]);
    record.roots.extend(missing.record().roots);
    scene.crash(&record);
    let unmounted = missing.unmount();
    assert_eq!(recover(&scene).problems.len(), 1);
    assert_eq!(scene.read("new"), None);
    drop(unmounted);
    assert_eq!(recover(&scene).finished.len(), 1);
    assert_eq!((scene.read("new"), missing.read("new")), (Some("new".into()), Some("new".into())));
}

#[test]
fn temporary_files_of_a_root_that_is_not_mounted_are_removed_when_it_is_back() {
    let scene = Scene::new();
    let [temporary] = scene.leave_temporaries();
    let unmounted = scene.unmount();
    assert_eq!((recover(&scene), scene.count("temporary")), (RecoveryReport::default(), 1));
    drop(unmounted);
    assert_eq!((recover(&scene), scene.count("temporary")), (RecoveryReport::default(), 0));
    assert!(!temporary.exists());

    scene.leave_temporaries::<1>();
    scene.age("temporary");
    let _unmounted = scene.unmount();
    assert_eq!((recover(&scene), scene.count("temporary")), (RecoveryReport::default(), 0));
}

#[test]
fn what_an_unfinished_transaction_needs_is_not_removed() {
    let (scene, missing) = (Scene::new(), Scene::new());
    let [temporary, other] = scene.leave_temporaries();
    fs::write(&temporary, "new").unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o640)).unwrap();
    let temp = temporary.file_name().unwrap().into();
    let write = Action::Write { old: None, new: b"new".to_vec(), temp, metadata: scene.metadata(0o600) };
    let mut record = scene.record_of(vec![scene.step("new", write)]);
    record.roots.extend(missing.record().roots);
    scene.crash(&record);
    let unmounted = missing.unmount();
    recover(&scene);
    assert!(temporary.exists() && !other.exists());
    drop(unmounted);
    assert_eq!(recover(&scene).finished.len(), 1);
    assert_eq!(scene.path("new").metadata().unwrap().mode() & 0o7777, 0o640, "it is this very file");
    assert_eq!(scene.count("temporary"), 0);
}

#[test]
fn a_file_that_is_written_once_more_has_the_metadata_that_it_had() {
    for recorded in [0o600, 0o444, 0o4755] {
        let scene = Scene::new();
        let mut step = scene.creates("new");
        if let Action::Write { metadata, .. } = &mut step.action {
            metadata.mode = recorded;
        }
        scene.crash(&scene.record_of(vec![step]));
        assert_eq!(recover(&scene).finished.len(), 1);
        assert_eq!(scene.path("new").metadata().unwrap().mode() & 0o7777, recorded, "{recorded:o}");
    }
}

#[test]
fn a_file_that_is_written_in_place_keeps_its_set_id_bits() {
    for now in ["old", "nld", "new"] {
        let scene = Scene::new();
        let old = OldFile { mode: 0o104_755, ..scene.old_file("a") };
        let write = Action::WriteInPlace { old, old_content: b"old".to_vec(), new: b"new".to_vec() };
        scene.crash(&scene.record_of(vec![scene.step("a", write)]));
        // The crash came after the first write, which takes the bits away.
        fs::write(scene.path("a"), now).unwrap();
        fs::set_permissions(scene.path("a"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(recover(&scene).finished.len(), 1);
        let mode = scene.path("a").metadata().unwrap().mode();
        assert_eq!((scene.content().as_str(), mode), ("new", 0o104_755), "{now}");
    }
}

#[test]
fn what_is_found_done_is_synced_before_its_record_goes() {
    let write = |scene: &Scene| scene.record().steps.remove(0);
    let create = |scene: &Scene| {
        fs::create_dir(scene.path("made")).unwrap();
        scene.creates("made/new")
    };
    let rename = |scene: &Scene| scene.moves("a", "moved", None);
    for (step, synced_above) in [(&write as &dyn Fn(&Scene) -> Step, 0), (&create, 1), (&rename, 0)] {
        let scene = Scene::new();
        let step = step(&scene);
        scene.crash(&scene.record_of(vec![step.clone()]));
        match &step.action {
            Action::MoveFrom { from, .. } => fs::rename(from.absolute(), step.at.absolute()).unwrap(),
            _ => fs::write(step.at.absolute(), "new").unwrap(),
        }
        let (state, disk) = scene.open_faulty(None);
        let opened = disk.names().len();
        assert_eq!(recover_with(&state, &no_locks()).finished[0].1, [step.at.absolute()]);
        let mut names = disk.names().split_off(opened);
        names.retain(|name| *name != "remove");
        let mut expected = vec!["sync_dir"; synced_above];
        if matches!(step.action, Action::MoveFrom { .. }) {
            // Where it came from.
            expected.push("sync_dir");
        }
        expected.extend(["sync_file", "sync_dir", "set_len", "sync_file"]);
        assert_eq!(names, expected);
    }
}

/// Somebody replaces a file in the very moment that recovery is about to.
fn save(path: PathBuf) -> impl FnOnce() + Send + 'static {
    move || {
        let beside = path.with_file_name("saved");
        fs::write(&beside, "saved").unwrap();
        fs::rename(beside, path).unwrap();
    }
}

/// A step for `a`, the operation that does it, and the files that are there in the end.
type Case<'c> = (&'c dyn Fn(&Scene) -> Step, &'static str, &'c [&'c str]);

#[test]
fn what_somebody_saves_just_before_recovery_replaces_it_is_left_alone() {
    let delete = |scene: &Scene| scene.step("a", Action::Delete { old: scene.old_file("a"), aside: ".aside".into() });
    let write = |scene: &Scene| scene.record().steps.remove(0);
    let leaves = |scene: &Scene| scene.moves("a", "b", None);
    let comes = |scene: &Scene| {
        fs::write(scene.path("b"), "b").unwrap();
        scene.moves("b", "a", Some(scene.old_file("a")))
    };
    let cases: [Case; 5] = [
        (&write, "exchange", &["a"]),
        // Where files cannot change places.
        (&write, "link", &["a"]),
        (&delete, "rename_new", &["a"]),
        (&leaves, "rename_new", &["a"]),
        (&comes, "exchange", &["a", "b"]),
    ];
    for (step, operation, files) in cases {
        let scene = Scene::new();
        let step = step(&scene);
        scene.crash(&scene.record_of(vec![step.clone()]));
        let unsupported: &[_] = if operation == "link" { &["exchange"] } else { &[] };
        let (state, disk) = scene.open_on(FaultyDisk::without(unsupported, None));
        disk.before(operation, save(scene.path("a")));
        let report = recover_with(&state, &no_locks());
        assert_eq!((report.left_alone.len(), report.problems.len()), (1, 0), "{operation}, {step:?}: {report:?}");
        drop(state);
        let mut names: Vec<_> = fs::read_dir(scene.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, *files, "{step:?}");
        assert_eq!(scene.content(), "saved", "{step:?}");
    }
}

#[test]
fn what_was_to_make_way_for_a_file_that_changed_has_its_name_again() {
    let scene = Scene::new();
    fs::write(scene.path("b"), "b").unwrap();
    let step = scene.moves("b", "a", Some(scene.old_file("a")));
    scene.crash(&scene.record_of(vec![step]));
    fs::rename(scene.path("a"), scene.path(".aside")).unwrap();
    fs::write(scene.path("b"), "changed").unwrap();
    assert_eq!(recover(&scene).left_alone.len(), 1);
    assert_eq!((scene.content().as_str(), scene.read("b").as_deref()), ("old", Some("changed")));
}

#[test]
fn a_temporary_file_that_can_not_be_removed_stops_nothing() {
    let scene = Scene::new();
    let other = Scene::new();
    let temporaries = {
        let (state, names) = open(&scene.state());
        state.left_behind();
        [&scene, &other].map(|scene| {
            state.note_temporaries(&scene.root(), scene.root_id(), false).unwrap();
            let path = scene.root().join(names.next(None));
            fs::write(&path, "").unwrap();
            path
        })
    };
    let (state, _) = scene.open_faulty(Some((1, Fault::Error(std::io::ErrorKind::Other))));
    assert_eq!(recover_with(&state, &no_locks()).problems.len(), 1);
    assert_eq!(temporaries.each_ref().map(|path| path.exists()), [true, false]);
    assert_eq!((recover(&scene), scene.count("temporary")), (RecoveryReport::default(), 0));
    assert!(!temporaries[0].exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_can_not_be_listed_keeps_no_other_from_being_cleaned() {
    let (scene, other) = (Scene::new(), Scene::new());
    let temporary = {
        let (state, names) = open(&scene.state());
        state.left_behind();
        for scene in [&scene, &other] {
            state.note_temporaries(&scene.root(), scene.root_id(), false).unwrap();
        }
        let path = other.root().join(names.next(None));
        fs::write(&path, "").unwrap();
        path
    };
    let set_mode = |mode| fs::set_permissions(scene.root(), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o300);
    let report = without_rights_of_root(|| recover(&scene));
    set_mode(0o700);
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert!(problem.contains(scene.root().to_str().unwrap()), "{problem}");
    assert!(!temporary.exists());
    assert_eq!((recover(&scene), scene.count("temporary")), (RecoveryReport::default(), 0));
}

/// Runs in a thread that no mode is overridden for.
#[cfg(target_os = "linux")]
fn without_rights_of_root<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let work = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, sets).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}
