//! No room, or no right to change anything.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    mounts::Mounted,
    scene::{Scene, Session, hash, run, skipped},
};

type Mount<'m> = &'m dyn Fn(&Path) -> Result<Mounted, String>;

#[test]
fn on_a_full_disk_the_original_stays_and_the_error_says_so() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().canonicalize().unwrap();
    let image = directory.join("image");
    let tmpfs = |place: &Path| Mounted::tmpfs(place, "64k");
    let ext4 = |place: &Path| Mounted::ext4(place, &image, 1 << 20);
    let kinds: [(&str, usize, Mount); 2] = [("a tmpfs of 64 kB", 40_000, &tmpfs), ("an ext4 of 1 MiB", 600_000, &ext4)];
    for (kind, bytes, mount) in kinds {
        let scene = Scene::with(directory.join(kind), directory.join("home"));
        let _mounted = match mount(&scene.root) {
            Ok(mounted) => mounted,
            Err(missing) => return skipped(kind, &missing),
        };
        let text = "x".repeat(bytes);
        scene.write("large", &text);
        scene.write("small", "small");
        let before = scene.tree();
        let mut session = scene.start();
        let grow = edit(&scene, "large", &text, &"y".repeat(bytes));
        for changes in [vec![grow.clone()], vec![edit(&scene, "small", "small", "new"), grow]] {
            let result = apply(&mut session, &changes);
            assert_eq!(failure(&result)["os"], "ENOSPC", "{kind}: {result}");
            assert_eq!(scene.tree(), before, "{kind}");
            assert_eq!(scene.debris(), Vec::<String>::new(), "{kind}");
        }
        let result = apply(&mut session, &[edit(&scene, "small", "small", "new")]);
        assert_eq!(result["applied"], true, "{kind}: there is room for this: {result}");
        session.end();
    }
}

#[test]
fn the_room_of_what_an_edit_replaces_is_there_for_the_next_one() {
    let scene = Scene::new();
    let _mounted = match Mounted::tmpfs(&scene.root, "64k") {
        Ok(mounted) => mounted,
        Err(missing) => return skipped("a tmpfs of 64 kB", &missing),
    };
    let text = |round: usize| format!("{round:03}").repeat(8_000);
    scene.write("large", &text(0));
    let mut session = scene.start();
    for round in 0..20 {
        let result = apply(&mut session, &[edit(&scene, "large", &text(round), &text(round + 1))]);
        assert_eq!(result["applied"], true, "{round}: two contents have room beside each other, not three: {result}");
    }
    // Whether a content is freed in time would be luck if another thread freed it.
    let threads = fs::read_dir(format!("/proc/{}/task", session.process_id)).unwrap();
    let names: Vec<_> =
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with("ploke-io-close")), "{names:?}");
    session.end();
}

#[test]
fn without_room_for_its_record_a_transaction_is_refused_before_anything_is_touched() {
    let scene = Scene::new();
    let _mounted = match Mounted::tmpfs(&scene.home, "128k") {
        Ok(mounted) => mounted,
        Err(missing) => return skipped("a full state directory", &missing),
    };
    for name in ["a", "b", "sub/c"] {
        scene.write(name, &"old".repeat(1000));
    }
    let before = scene.tree();
    let mut session = scene.start();
    // The file system tells when it is full.
    let _ = fs::write(scene.home.join("filler"), vec![0; 1 << 20]);
    let three: Vec<_> = ["a", "b", "sub/c"].iter().map(|name| edit(&scene, name, &"old".repeat(1000), "new")).collect();
    let result = apply(&mut session, &three);
    assert_eq!(failure(&result)["os"], "ENOSPC", "{result}");
    assert_eq!(scene.tree(), before);
    assert_eq!(scene.debris(), Vec::<String>::new());

    fs::remove_file(scene.home.join("filler")).unwrap();
    let result = apply(&mut session, &three);
    assert_eq!(result["applied"], true, "there is room now: {result}");
    session.end();
}

#[test]
fn without_room_for_an_undo_a_single_edit_is_applied_with_a_warning() {
    let scene = Scene::new();
    let _mounted = match Mounted::tmpfs(&scene.home, "128k") {
        Ok(mounted) => mounted,
        Err(missing) => return skipped("no room for an undo", &missing),
    };
    let (first, second) = ("1".repeat(30_000), "2".repeat(30_000));
    scene.write("a", "0");
    let mut session = scene.start();
    // After the first edit the state directory knows where temporary files may be.
    assert_eq!(apply(&mut session, &[edit(&scene, "a", "0", &first)])["applied"], true);
    let _ = fs::write(scene.home.join("filler"), vec![0; 1 << 20]);
    let result = apply(&mut session, &[edit(&scene, "a", &first, &second)]);
    assert_eq!(result["applied"], true, "{result}");
    assert_eq!(result["files"][0]["warnings"][0]["kind"], "undoNotKept", "{result}");
    assert_eq!(scene.read("a"), second);
    session.end();
    assert_eq!(scene.debris(), Vec::<String>::new());
}

#[test]
fn what_may_not_be_changed_is_refused_with_the_reason_and_nothing_is_left_behind() {
    let scene = Scene::new();
    for name in ["read-only/a", "immutable", "immutable directory/a", "other"] {
        scene.write(name, "old");
    }
    let read_only = scene.path("read-only");
    let _mounted = match Mounted::bound(&read_only, &read_only, true) {
        Ok(mounted) => mounted,
        Err(missing) => return skipped("a read-only mount, immutable files", &missing),
    };
    let immutable = [scene.path("immutable"), scene.path("immutable directory")].map(Immutable::new);
    if let Some(missing) = immutable.iter().find_map(|result| result.as_ref().err()) {
        return skipped("immutable files", missing);
    }
    let before = scene.tree();
    let mut session = scene.start();
    for (name, kind, os) in [
        ("read-only/a", "io", "EROFS"),
        ("immutable", "permissionDenied", "EPERM"),
        ("immutable directory/a", "permissionDenied", "EPERM"),
    ] {
        let create = json!({"kind": "create", "uri": scene.uri("created"), "text": ""});
        let delete = json!({"kind": "delete", "uri": scene.uri(name), "expected": {"contentHash": hash("old")}});
        let edit = edit(&scene, name, "old", "new");
        let other = self::edit(&scene, "other", "old", "new");
        for changes in [vec![edit.clone()], vec![delete], vec![create, other, edit]] {
            let result = apply(&mut session, &changes);
            let error = failure(&result);
            assert_eq!((&error["kind"], &error["os"]), (&json!(kind), &json!(os)), "{name}: {result}");
            assert_eq!(scene.tree(), before, "{name}");
            assert_eq!(scene.debris(), Vec::<String>::new(), "{name}");
        }
    }
    session.end();
}

#[test]
fn a_file_that_is_a_mount_is_written_in_place_and_not_moved() {
    let scene = Scene::new();
    scene.write("mount", "");
    scene.write("other", "old");
    let mounted = scene.home.join("mounted");
    fs::write(&mounted, "old").unwrap();
    let _mounted = match Mounted::bound(&scene.path("mount"), &mounted, false) {
        Ok(mounted) => mounted,
        Err(missing) => return skipped("a file that is a mount", &missing),
    };
    let mut session = scene.start();
    let result = apply(&mut session, &[edit(&scene, "mount", "old", "new"), edit(&scene, "other", "old", "new")]);
    assert_eq!(result["applied"], true, "{result}");
    assert!(result["files"][0]["warnings"][0]["message"].as_str().unwrap().contains("in place"), "{result}");
    assert_eq!((fs::read_to_string(&mounted).unwrap(), scene.read("other")), ("new".into(), "new".into()));

    let before = scene.tree();
    let expected = json!({"contentHash": hash("new")});
    let delete = json!({"kind": "delete", "uri": scene.uri("mount"), "expected": expected});
    let rename =
        json!({"kind": "rename", "oldUri": scene.uri("mount"), "newUri": scene.uri("x"), "expected": expected});
    for change in [delete, rename] {
        let result = apply(&mut session, &[edit(&scene, "other", "new", "newer"), change]);
        assert_eq!(failure(&result)["severity"], "fatal", "{result}");
        assert_eq!(scene.tree(), before);
        assert_eq!(scene.debris(), Vec::<String>::new());
    }
    session.end();
}

#[test]
fn a_rename_to_another_file_system_is_refused() {
    let scene = Scene::new();
    scene.write("a", "old");
    let _mounted = match Mounted::tmpfs(&scene.path("sub"), "64k") {
        Ok(mounted) => mounted,
        Err(missing) => return skipped("a rename to another file system", &missing),
    };
    let before = scene.tree();
    let mut session = scene.start();
    let expected = json!({"contentHash": hash("old")});
    let rename =
        json!({"kind": "rename", "oldUri": scene.uri("a"), "newUri": scene.uri("sub/a"), "expected": expected});
    let create = json!({"kind": "create", "uri": scene.uri("created"), "text": ""});
    for changes in [vec![rename.clone()], vec![create, rename]] {
        let result = apply(&mut session, &changes);
        assert_eq!(failure(&result)["os"], "EXDEV", "{result}");
        assert_eq!((scene.tree(), scene.debris()), (before.clone(), Vec::new()));
    }
    session.end();
}

/// A file or directory that nobody may change until this is dropped.
struct Immutable(std::path::PathBuf);

impl Immutable {
    fn new(path: std::path::PathBuf) -> Result<Self, String> {
        run("chattr", &["+i", path.to_str().unwrap()]).map(|()| Self(path))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        if let Err(error) = run("chattr", &["-i", self.0.to_str().unwrap()]) {
            crate::scene::say(&error);
        }
    }
}

/// The whole text of a file replaced.
fn edit(scene: &Scene, name: &str, old: &str, new: &str) -> Value {
    let range = json!({"startByte": 0, "endByte": old.len()});
    let edits = [json!({"range": range, "newText": new})];
    json!({"textDocument": {"uri": scene.uri(name)}, "expected": {"contentHash": hash(old)}, "edits": edits})
}

fn apply(session: &mut Session, changes: &[Value]) -> Value {
    session.ask("ploke/applyEdits", &json!({"documentChanges": changes})).expect("an answer")
}

/// The error of the file that made it fail.
fn failure(result: &Value) -> &Value {
    assert_eq!(result["applied"], false, "{result}");
    let errors = result["files"].as_array().unwrap().iter().map(|file| &file["error"]);
    errors.into_iter().find(|error| !error.is_null()).unwrap_or_else(|| panic!("no error: {result}"))
}
