//! Somebody lets names lead out of the root and back again while edits run.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::{
    scene::{Scene, Session, hash, say},
    support::values::file_uri,
};

const REQUESTS: usize = 1500;
const TEXT: &str = "the same inside and outside";

#[test]
fn nothing_outside_the_root_is_touched_through_links_that_are_swapped_while_edits_run() {
    let scene = Scene::new();
    let outside = scene.home.join("outside");
    fs::create_dir(&outside).unwrap();
    // With the same contents, so that every guard holds outside too.
    for name in ["edited", "renamed", "deleted"] {
        fs::write(outside.join(name), TEXT).unwrap();
    }
    scene.write("dir/edited", TEXT);
    symlink(&outside, scene.path("dir-link")).unwrap();
    scene.write("file", TEXT);
    symlink(outside.join("edited"), scene.path("file-link")).unwrap();
    let before = everything(&outside);

    let ended = AtomicBool::new(false);
    let (applied, refused) = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                swap(&scene.path("dir"), &scene.path("dir-link"));
                swap(&scene.path("file"), &scene.path("file-link"));
            }
        });
        let counts = request_changes(&scene);
        ended.store(true, Relaxed);
        counts
    });
    assert_eq!(everything(&outside), before);
    assert!(applied > 0 && refused > 0, "{applied} requests applied, {refused} refused: nothing was tried");
    scene.start().end();
    assert_eq!(scene.debris(), Vec::<String>::new());
    assert_eq!(everything(&outside), before, "after the next start");
    say(&format!("links that are swapped: {applied} requests applied, {refused} refused"));
}

fn request_changes(scene: &Scene) -> (usize, usize) {
    let options = json!({"durability": "bestEffort"});
    let mut session = Session::spawn(scene.command());
    assert!(session.initialize(&scene.root, &options));
    let (mut applied, mut refused) = (0, 0);
    for round in 0..REQUESTS {
        // Inside the file has any of these contents, outside always the first.
        for change in changes(scene, round) {
            let params = json!({"documentChanges": [change], "unguarded": true});
            let result = session.ask("ploke/applyEdits", &params).expect("an answer");
            match result["applied"] == true {
                true => applied += 1,
                false => refused += 1,
            }
        }
    }
    session.end();
    (applied, refused)
}

fn changes(scene: &Scene, round: usize) -> [Value; 2] {
    let uri = |name: &str| file_uri(&scene.path(name));
    let edit = |name: &str| {
        let edits = [json!({"range": {"startByte": 0, "endByte": 3}, "newText": "The"})];
        json!({"textDocument": {"uri": uri(name)}, "edits": edits})
    };
    let expected = json!({"contentHash": hash(TEXT)});
    let create = |name: &str, overwrite: bool| {
        let options = json!({"createParents": true, "overwrite": overwrite});
        json!({"kind": "create", "uri": uri(name), "text": TEXT, "options": options})
    };
    match round % 6 {
        0 => [edit("dir/edited"), edit("file")],
        1 => [create(&format!("dir/{round}/new"), false), create("dir/new", true)],
        2 => [create("dir/renamed", true), create("dir/deleted", true)],
        3 => {
            let rename = |from: &str, to: &str| {
                json!({"kind": "rename", "oldUri": uri(from), "newUri": uri(to), "options": {"overwrite": true},
                       "expected": expected})
            };
            [rename("dir/renamed", &format!("dir/renamed-{round}")), rename("file", "dir/edited")]
        }
        4 => {
            let delete = |name: &str| json!({"kind": "delete", "uri": uri(name), "expected": expected});
            [delete("dir/deleted"), delete("dir/new")]
        }
        _ => [create("file", true), create("dir/edited", true)],
    }
}

/// Lets two names change places; one of them may be gone for a moment.
fn swap(one: &Path, other: &Path) {
    let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
}

/// All that a change would leave a trace in.
fn everything(directory: &Path) -> BTreeMap<PathBuf, (String, String)> {
    let mut found = BTreeMap::new();
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    for path in entries.chain([directory.to_owned()]) {
        let meta = path.metadata().unwrap();
        let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        let state = format!("{} {modified:?} {changed:?} {:o} {}", meta.ino(), meta.mode(), meta.nlink());
        let text = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        found.insert(path, (state, text));
    }
    found
}
