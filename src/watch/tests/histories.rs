//! What has changed since a clock, also when roots come and go and rules change, within one process and over several.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::{LIMIT, describe, field::Field, until};
use crate::watch::{Backend, Clock, WatchConfig};

#[test]
fn a_root_that_is_added_inside_another_knows_what_has_changed_since_it_was_saved() {
    let mut scene = Scene::new(&["sub"], |root| {
        for name in ["a", "b", "kept"] {
            fs::write(root.join("sub").join(name), "1").unwrap();
        }
    });
    let clock = scene.clock();
    scene.end();
    scene.field.remove("sub/b");
    scene.field.write("sub/a", "changed");
    scene.start(&[""]);
    scene.add("sub");
    scene.remove("");
    assert_eq!(scene.since(&clock), ["deleted sub/b", "modified sub/a"]);
    scene.field.write("sub/b", "");
    assert_eq!(scene.since(&scene.clock()), [""; 0]);
    assert_eq!(scene.since(&clock), ["modified sub/a", "modified sub/b"]);
}

#[test]
fn a_root_around_a_watched_one_knows_what_has_changed_since_it_was_saved_and_leaves_the_inner_one_alone() {
    let mut scene = Scene::new(&["", "sub"], |root| {
        for name in ["a", "b", "sub/a", "sub/b"] {
            fs::write(root.join(name), "1").unwrap();
        }
    });
    let clock = scene.clock();
    scene.end();
    for name in ["a", "sub/a"] {
        scene.field.write(name, "changed");
    }
    scene.start(&["sub"]);
    scene.field.remove("sub/b");
    scene.clock();
    scene.field.remove("b");
    scene.add("");
    assert_eq!(scene.since(&clock), ["deleted b", "deleted sub/b", "modified a", "modified sub/a"]);
}

#[test]
fn a_root_that_is_removed_and_added_again_hides_no_change() {
    for others in [&["", "sub"][..], &["sub"]] {
        let scene = Scene::new(others, |root| {
            for name in ["sub/a", "sub/b", "c"] {
                fs::write(root.join(name), "1").unwrap();
            }
        });
        let clock = scene.clock();
        scene.remove("sub");
        scene.field.write("sub/a", "changed");
        scene.field.remove("sub/b");
        scene.add("sub");
        match others.len() {
            // The outer root has had other files meanwhile.
            2 => assert_eq!(scene.since(&clock), ["fresh", "created c", "created sub/a"]),
            _ => assert_eq!(scene.since(&clock), ["deleted sub/b", "modified sub/a"]),
        }
    }
}

#[test]
fn without_the_outer_root_the_inner_one_goes_on() {
    let scene = Scene::new(&["", "sub"], |root| {
        for name in ["a", "sub/a", "sub/b"] {
            fs::write(root.join(name), "1").unwrap();
        }
    });
    scene.field.remove("sub/b");
    scene.field.write("sub/a", "changed");
    let clock = scene.clock();
    scene.field.write("sub/c", "");
    scene.remove("");
    scene.field.remove("sub/a");
    assert_eq!(scene.since(&clock), ["created sub/c", "deleted sub/a"]);
}

#[test]
fn what_was_another_roots_own_is_not_known_to_the_one_around_it() {
    let mut scene = Scene::new(&["", "sub"], |root| fs::write(root.join("sub/a"), "").unwrap());
    let clock = scene.clock();
    scene.end();
    scene.field.remove("sub/a");
    scene.start(&[""]);
    assert_eq!(scene.since(&clock), ["fresh"]);
}

#[test]
fn a_root_inside_another_has_the_files_that_the_outer_one_left_out() {
    let scene = Scene::new(&[""], |root| {
        for (name, content) in [(".gitignore", "*.log\n"), ("a.log", ""), ("sub/a.log", ""), ("sub/b", "")] {
            fs::write(root.join(name), content).unwrap();
        }
    });
    scene.add("sub");
    assert_eq!(scene.since("nobody's"), ["fresh", "created .gitignore", "created sub/a.log", "created sub/b"]);
    scene.remove("sub");
    assert_eq!(scene.since("nobody's"), ["fresh", "created .gitignore", "created sub/b"]);
}

#[test]
fn a_root_that_is_added_twice_keeps_its_history() {
    let scene = Scene::new(&[""], |_| {});
    let clock = scene.clock();
    scene.field.write("a", "");
    scene.add("");
    assert_eq!(scene.since(&clock), ["created a"]);
}

#[test]
fn what_the_rules_leave_out_from_now_on_is_not_there_any_more_and_never_told_as_deleted() {
    let mut scene = Scene::new(&[""], |root| {
        fs::create_dir(root.join("out")).unwrap();
        for name in ["a.log", "b.log", "out/x", "out/y", "kept"] {
            fs::write(root.join(name), "1").unwrap();
        }
    });
    let clock = scene.clock();
    scene.field.write(".gitignore", "*.log\nout\n");
    assert_eq!(scene.since(&clock), ["created .gitignore"]);
    scene.field.remove("a.log");
    scene.field.remove("out/x");
    assert_eq!(scene.since(&clock), ["created .gitignore"]);
    assert_eq!(scene.since("nobody's"), ["fresh", "created .gitignore", "created kept"]);
    let clock = scene.clock();
    scene.end();
    scene.start(&[""]);
    assert_eq!(scene.since(&clock), [""; 0]);

    // The same when it changes while nobody looks.
    fs::write(scene.field.path(".gitignore"), "").unwrap();
    assert_eq!(scene.since(&clock), ["created b.log", "created out/y", "modified .gitignore"]);
    let clock = scene.clock();
    scene.end();
    scene.field.write(".gitignore", "*.log\nout\n");
    scene.field.remove("out/y");
    scene.start(&[""]);
    assert_eq!(scene.since(&clock), ["modified .gitignore"]);
    assert_eq!(scene.since("nobody's"), ["fresh", "created .gitignore", "created kept"]);
}

#[test]
fn a_directory_that_cannot_be_read_has_not_gone() {
    use std::os::unix::fs::PermissionsExt;

    let mut scene = Scene::new(&[""], |root| {
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(root.join("d/e/a"), "").unwrap();
    });
    let allow = |scene: &Scene, mode| {
        fs::set_permissions(scene.field.path("d"), fs::Permissions::from_mode(mode)).unwrap();
    };
    let clock = scene.clock();
    scene.end();
    allow(&scene, 0o000);
    let is_hidden = fs::read_dir(scene.field.path("d")).is_err();
    scene.start(&[""]);
    let since = scene.since(&clock);
    allow(&scene, 0o700);
    match is_hidden {
        true => assert_eq!(since, [""; 0]),
        false => println!("SKIPPED a directory that cannot be read: this user can read everything"),
    }
}

#[test]
fn what_has_no_hash_is_not_told_as_modified_when_it_is_not() {
    let config = WatchConfig { max_file_bytes: 4, ..WatchConfig::default() };
    let mut scene = Scene::with(config, &[""], |_| {});
    std::os::unix::fs::symlink("nowhere", scene.field.path("link")).unwrap();
    scene.field.write("small", "1");
    let clock = scene.clock();
    scene.end();
    scene.start(&[""]);
    assert_eq!(scene.since(&clock), [""; 0]);
    scene.end();
    scene.field.remove("link");
    std::os::unix::fs::symlink("elsewhere", scene.field.path("link")).unwrap();
    scene.start(&[""]);
    assert_eq!(scene.since(&clock), ["modified link"]);
}

#[test]
fn a_time_to_come_makes_no_file_look_changed_at_each_poll() {
    let config = WatchConfig {
        backend: Backend::Poll,
        max_file_bytes: 4,
        poll_interval: Duration::from_secs(3600),
        ..WatchConfig::default()
    };
    let to_come = SystemTime::now() + Duration::from_secs(1_000_000);
    let scene = Scene::with(config, &[""], |root| {
        for name in ["large file", "f"] {
            fs::write(root.join(name), name).unwrap();
            fs::File::options().write(true).open(root.join(name)).unwrap().set_modified(to_come).unwrap();
        }
    });
    // Written a moment ago, it may have to be looked at once more.
    until("it is at rest", || {
        let clock = scene.clock();
        std::thread::sleep(Duration::from_millis(25));
        scene.since(&clock).is_empty()
    });
    let clock = scene.clock();
    assert_eq!((0..5).flat_map(|_| scene.since(&clock)).count(), 0);
}

/// A directory with some roots in it, and the state that is kept over watchers.
struct Scene {
    field: Field,
    _state: TempDir,
    config: WatchConfig,
}

impl Scene {
    fn new(roots: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::with(WatchConfig::default(), roots, prepare)
    }

    fn with(config: WatchConfig, roots: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let config = WatchConfig { state_dir: Some(state.path().to_path_buf()), ..config };
        let field = Field::without_root(config.clone(), |dir| {
            fs::create_dir(dir.join("sub")).unwrap();
            prepare(dir);
        });
        let scene = Self { field, _state: state, config };
        roots.iter().for_each(|root| scene.add(root));
        scene
    }

    /// Ends in order.
    fn end(&self) {
        self.field.watcher.end();
    }

    fn start(&mut self, roots: &[&str]) {
        self.field.restart(self.config.clone());
        roots.iter().for_each(|root| self.add(root));
    }

    /// Returns when it is watched.
    fn add(&self, root: &str) {
        self.field.watcher.add_root(&self.field.path(root));
        self.field.watcher.sync(LIMIT).unwrap();
    }

    fn remove(&self, root: &str) {
        self.field.watcher.remove_root(&self.field.path(root));
        self.field.watcher.sync(LIMIT).unwrap();
    }

    fn clock(&self) -> String {
        self.field.watcher.changes(None, LIMIT).unwrap().clock.to_string()
    }

    fn since(&self, clock: &str) -> Vec<String> {
        let clock = Clock::parse(clock).unwrap_or_default();
        let found = self.field.watcher.changes(Some(clock), LIMIT).unwrap();
        let changes = found.changes.iter().map(|change| describe(change, self.field.dir.path()));
        let mut lines: Vec<_> = changes.collect();
        lines.sort();
        found.fresh.then(|| "fresh".to_owned()).into_iter().chain(lines).collect()
    }
}
