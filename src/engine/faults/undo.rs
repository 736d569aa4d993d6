//! What an undo brings back, and when it is refused.

use super::*;

#[cfg(unix)]
#[test]
fn an_undo_does_not_follow_a_link_that_came_later() {
    let scene = Scene::new(FileSystem::Able);
    fs::create_dir(scene.path("sub")).unwrap();
    let (engine, _) = scene.engine(None);
    let create = || scenario("", |scene| vec![scene.create("sub/a")]);
    assert!(scene.apply(&engine, &create(), Atomicity::Transaction).applied);
    fs::rename(scene.path("sub"), scene.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", scene.path("sub")).unwrap();

    let outcome = scene.undo(&engine);
    let error = outcome.files[0].error.as_ref().map(|error| &error.kind);
    assert!(matches!(error, Some(IoErrorKind::ContentMismatch { .. })), "{outcome:?}");
    assert_eq!(scene.content("elsewhere/a"), Some(new("sub/a")));
}

#[cfg(target_os = "linux")]
#[test]
fn an_undo_brings_back_what_files_had_beside_their_contents() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    use rustix::fs::{XattrFlags, getxattr, setxattr};

    let scene = Scene::new(FileSystem::Able);
    let names = ["0", "1", "2", "3"];
    for name in names {
        if chown(scene.path(name), Some(12345), Some(54321)).is_err() {
            eprintln!("SKIPPED in part: only root may give files away");
        }
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(0o4750)).unwrap();
        if let Err(error) = setxattr(scene.path(name), "user.note", b"kept", XattrFlags::empty()) {
            eprintln!("SKIPPED in part: {error}");
        }
    }
    let look = |name: &str| {
        let meta = fs::metadata(scene.path(name)).unwrap();
        let mut note = [0; 4];
        let length = getxattr(scene.path(name), "user.note", &mut note[..]).unwrap_or(0);
        (meta.uid(), meta.gid(), meta.mode(), note[..length].to_vec())
    };
    let before = names.map(look);
    let changes = scenario("", |scene| {
        let overwrite = CreateOptions { overwrite: true, ..CreateOptions::default() };
        let made_again =
            CreateFileData { path: scene.path("3"), text: new("3"), options: overwrite, expected: Guard::default() };
        vec![
            scene.delete("0"),
            scene.rename("linked", "1"),
            scene.edit("2"),
            scene.delete("3"),
            Change::Create(made_again),
        ]
    });
    let (engine, _) = scene.engine(None);
    let outcome = scene.apply(&engine, &changes, Atomicity::Transaction);
    assert!(outcome.applied, "{outcome:?}");
    assert_ne!(look("3"), before[3]);

    let outcome = scene.undo(&engine);
    assert!(outcome.applied, "{outcome:?}");
    assert_eq!(outcome.files.iter().flat_map(|file| &file.warnings).count(), 0, "{outcome:?}");
    assert_eq!(names.map(look), before);
}

#[test]
fn contents_that_no_undo_will_keep_are_not_held_in_memory() {
    use crate::{
        engine::{editor::Editor, plan::Targets},
        roots::Resolver,
    };

    let two_files = 2 * old("0").len() as u64;
    for (keep_bytes, is_held) in [(1000, true), (two_files, true), (two_files - 1, false), (0, false)] {
        let scene = Scene { undo: UndoLimits { keep_bytes, keep_days: 1 }, ..Scene::new(FileSystem::Able) };
        let (engine, _) = scene.engine(None);
        let changes = vec![scene.delete("0"), scene.delete("1"), scene.rename_new("2", "new")];
        let request = EditRequest { changes, ..EditRequest::default() };
        let roots = engine.roots();
        let targets = Targets::resolve(&request, &Resolver::new(&roots, &engine.dir_budget));
        let (files, _) = engine.plan(&request, &targets, &engine.locate(NoEditor.documents()));
        let held = files.iter().map(|file| {
            let original = file.steps[0].original.as_ref();
            original.is_some_and(|original| original.content.is_some())
        });
        assert_eq!(held.collect::<Vec<_>>(), [is_held, is_held, false], "{keep_bytes}");
    }
}

#[test]
fn an_edit_that_is_too_large_for_an_undo_says_so() {
    let undo = UndoLimits { keep_bytes: 10, keep_days: 1 };
    let scene = Scene { undo, ..Scene::new(FileSystem::Able) };
    let (engine, _) = scene.engine(None);
    for change in [scene.delete("0"), scene.rename("1", "2"), scene.edit("3")] {
        let request = EditRequest { changes: vec![change], ..EditRequest::default() };
        let outcome = engine.apply(&request, &NoEditor, &CancelToken::new());
        assert!(outcome.applied, "{outcome:?}");
        let [Warning::UndoNotKept(problem)] = &outcome.files[0].warnings[..] else { panic!("{outcome:?}") };
        assert!(problem.contains("undo.keepBytes is 10"), "{problem}");
    }
}

#[test]
fn undos_of_one_origin_at_the_same_time_are_done_one_after_the_other() {
    let scene = Scene::new(FileSystem::Able);
    let (engine, _) = scene.engine(None);
    for _ in 0..12 {
        let end = scene.content("0").unwrap().len() as u64;
        let at_the_end = TextChange {
            range: Some(TextRange::Bytes { start: end, end }),
            new_text: " more".into(),
            expected_text: None,
        };
        let change = WriteSnippetData { path: scene.path("0"), expected: Guard::default(), edits: vec![at_the_end] };
        let changes = vec![Change::Edit(change)];
        let request = EditRequest { changes, origin: ORIGIN, unguarded: true, ..EditRequest::default() };
        assert!(engine.apply(&request, &NoEditor, &CancelToken::new()).applied);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let outcome = scene.undo(&engine);
                    assert!(outcome.applied, "{outcome:?}");
                }
            });
        }
    });
    assert_eq!(scene.content("0"), Some(old("0")));
}
