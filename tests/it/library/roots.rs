//! Which paths may be touched.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use ploke_io::{
    CancelToken,
    engine::{Change, CreateFileData, EditRequest, FileStatus},
    error::IoErrorKind,
    manager::IoManagerBuilder,
    roots::SymlinkPolicy,
};

use super::{Fixture, edit, error_of, guard, request};

/// Two roots and something outside of them, full of links.
fn linked(policy: SymlinkPolicy) -> Fixture {
    let fixture = Fixture::with(|builder, root| {
        let base = root.parent().unwrap();
        for dir in ["root/sub", "other", "outside", "root-evil"] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        builder.with_roots([root.to_path_buf(), base.join("other")]).with_symlink_policy(policy)
    });
    let base = fixture.dir.path();
    for (file, text) in [
        ("root/a.txt", "in root"),
        ("root/sub/b.txt", "in sub"),
        ("other/c.txt", "in other"),
        ("outside/secret.txt", "secret"),
        ("root-evil/e.txt", "evil"),
    ] {
        fs::write(base.join(file), text).unwrap();
    }
    for (link, target) in [
        ("relative", "sub/b.txt".into()),
        ("absolute", base.join("root/sub/b.txt")),
        ("dir", "sub".into()),
        ("absolute-dir", base.join("root/sub")),
        ("chain-1", "chain-2".into()),
        ("chain-2", "dir/../relative".into()),
        ("out-and-back", "../root/sub/b.txt".into()),
        ("sub/up", "../a.txt".into()),
        ("to-other", base.join("other/c.txt")),
        ("to-other-relative", "../other/c.txt".into()),
        ("to-other-dir", base.join("other")),
        ("to-outside", base.join("outside/secret.txt")),
        ("to-outside-relative", "../outside/secret.txt".into()),
        ("to-outside-dir", base.join("outside")),
        ("to-evil", "../root-evil/e.txt".into()),
        ("dangling", "nothing.txt".into()),
        ("dangling-outside", "../outside/nothing.txt".into()),
        ("loop-1", "loop-2".into()),
        ("loop-2", "loop-1".into()),
        ("self", "self".into()),
        ("magic", PathBuf::from("/proc/self/cwd/Cargo.toml")),
    ] {
        symlink(target, base.join("root").join(link)).unwrap();
    }
    fixture
}

fn outcome(fixture: &Fixture, path: impl Into<PathBuf>) -> String {
    match fixture.read_whole(path) {
        Ok(text) => text,
        Err(error) => match error.kind {
            IoErrorKind::Os { source, .. } => format!("{}", source.raw_os_error().unwrap_or(0)),
            kind => format!("{kind:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
        },
    }
}

#[test]
fn links_may_lead_anywhere_inside_their_root() {
    for policy in [SymlinkPolicy::DenyCrossRoot, SymlinkPolicy::Follow] {
        let fixture = linked(policy);
        for (path, expected) in [
            ("a.txt", "in root"),
            ("./a.txt", "in root"),
            ("sub//b.txt", "in sub"),
            ("sub/../a.txt", "in root"),
            ("relative", "in sub"),
            ("absolute", "in sub"),
            ("dir/b.txt", "in sub"),
            ("absolute-dir/b.txt", "in sub"),
            ("chain-1", "in sub"),
            ("out-and-back", "in sub"),
            ("dir/up", "in root"),
            ("dir/../a.txt", "in root"),
        ] {
            assert_eq!(outcome(&fixture, fixture.path(path)), expected, "{policy:?} {path}");
        }
    }
}

#[test]
fn links_between_roots_are_followed_only_if_the_policy_says_so() {
    for (policy, expected) in [(SymlinkPolicy::DenyCrossRoot, "SymlinkDenied"), (SymlinkPolicy::Follow, "in other")] {
        let fixture = linked(policy);
        for path in ["to-other", "to-other-relative", "to-other-dir/c.txt"] {
            assert_eq!(outcome(&fixture, fixture.path(path)), expected, "{policy:?} {path}");
        }
    }
}

#[test]
fn nothing_outside_of_all_roots_is_read() {
    for policy in [SymlinkPolicy::DenyCrossRoot, SymlinkPolicy::Follow] {
        let fixture = linked(policy);
        let base = fixture.dir.path();
        for (path, expected) in [
            (fixture.path("to-outside"), "SymlinkDenied"),
            (fixture.path("to-outside-relative"), "SymlinkDenied"),
            (fixture.path("to-outside-dir/secret.txt"), "SymlinkDenied"),
            (fixture.path("to-evil"), "SymlinkDenied"),
            (fixture.path("magic"), "SymlinkDenied"),
            (fixture.path("dangling-outside"), "SymlinkDenied"),
            (base.join("outside/secret.txt"), "OutsideRoots"),
            (base.join("root-evil/e.txt"), "OutsideRoots"),
            (fixture.path("../outside/secret.txt"), "OutsideRoots"),
            (fixture.path("sub/../../outside/secret.txt"), "OutsideRoots"),
            (fixture.path("../../../../../../../../../etc/passwd"), "OutsideRoots"),
            (PathBuf::from("relative/path"), "OutsideRoots"),
            (PathBuf::from(""), "OutsideRoots"),
            (PathBuf::from("/"), "OutsideRoots"),
        ] {
            assert_eq!(outcome(&fixture, &path), expected, "{policy:?} {}", path.display());
        }
    }
}

#[test]
fn dangling_and_looping_links_and_missing_files_are_told_apart() {
    let fixture = linked(SymlinkPolicy::DenyCrossRoot);
    let eloop = "40";
    for (path, expected) in [
        ("dangling", "NotFound"),
        ("nothing/at/all", "NotFound"),
        ("a.txt/below-a-file", "NotFound"),
        ("dir/nothing", "NotFound"),
        ("loop-1", eloop),
        ("self", eloop),
        ("sub", "NotAFile"),
        ("dir", "NotAFile"),
        ("", "NotAFile"),
    ] {
        assert_eq!(outcome(&fixture, fixture.path(path)), expected, "{path}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn special_files_are_refused_without_being_waited_for() {
    let fixture = Fixture::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.path("fifo"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("socket")).unwrap();
    symlink("/dev/null", fixture.path("null")).unwrap();
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    match mknodat(CWD, fixture.path("device"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 5)) {
        Ok(()) => assert_eq!(outcome(&fixture, fixture.path("device")), "NotAFile"),
        Err(error) => eprintln!("SKIPPED a device: only root may make one ({error})"),
    }
    assert_eq!(outcome(&fixture, fixture.path("fifo")), "NotAFile");
    assert_eq!(outcome(&fixture, fixture.path("socket")), "NotAFile");
    assert_eq!(outcome(&fixture, fixture.path("null")), "SymlinkDenied");
    for name in ["fifo", "socket"] {
        let outcome = fixture.edit(fixture.path(name), "", (0, 0), "x");
        assert!(error_of(&outcome).starts_with("NotAFile"), "{name}: {}", error_of(&outcome));
    }
}

#[test]
fn a_root_may_be_given_through_a_link_and_files_named_either_way() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::write(dir.path().join("real/a.txt"), "a").unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    let fixture =
        Fixture { manager: IoManagerBuilder::new().with_roots([dir.path().join("link")]).build().unwrap(), dir };
    for spelling in ["link/a.txt", "real/a.txt"] {
        assert_eq!(outcome(&fixture, fixture.dir.path().join(spelling)), "a", "{spelling}");
    }
    assert_eq!(fixture.manager.status().roots, [fixture.dir.path().join("link")]);
}

#[test]
fn names_that_are_not_utf8_are_ordinary_names() {
    let fixture = Fixture::new();
    let path = fixture.root().join(OsStr::from_bytes(b"caf\xe9.txt"));
    fs::write(&path, "latin").unwrap();
    assert_eq!(outcome(&fixture, &path), "latin");
    assert!(fixture.edit(&path, "latin", (0, 5), "still").applied);
    assert_eq!(fs::read_to_string(&path).unwrap(), "still");
}

#[test]
fn the_real_file_is_written_and_the_link_stays_a_link() {
    let fixture = linked(SymlinkPolicy::DenyCrossRoot);
    assert!(fixture.edit(fixture.path("chain-1"), "in sub", (0, 2), "deep in").applied);
    assert_eq!(fixture.read("sub/b.txt"), "deep in sub");
    assert!(fs::symlink_metadata(fixture.path("chain-1")).unwrap().is_symlink());

    let denied = fixture.edit(fixture.path("to-outside"), "secret", (0, 1), "x");
    assert_eq!(error_of(&denied), "SymlinkDenied");
    assert_eq!(fs::read_to_string(fixture.dir.path().join("outside/secret.txt")).unwrap(), "secret");
}

fn create(path: impl Into<PathBuf>) -> EditRequest {
    request([Change::Create(CreateFileData { path: path.into(), text: "new".into(), ..CreateFileData::default() })])
}

#[test]
fn a_new_file_under_a_linked_directory_obeys_the_policy() {
    let fixture = linked(SymlinkPolicy::DenyCrossRoot);
    assert!(fixture.apply(&create(fixture.path("dir/new.txt"))).applied);
    assert_eq!(fixture.read("sub/new.txt"), "new");
    assert!(fixture.apply(&create(fixture.path("dangling"))).applied);
    assert_eq!(fixture.read("nothing.txt"), "new");
    for path in ["to-outside-dir/new.txt", "to-other-dir/new.txt", "dangling-outside"] {
        assert_eq!(error_of(&fixture.apply(&create(fixture.path(path)))), "SymlinkDenied", "{path}");
    }
    assert_eq!(fs::read_dir(fixture.dir.path().join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(fixture.dir.path().join("other")).unwrap().count(), 1);

    let following = linked(SymlinkPolicy::Follow);
    assert!(following.apply(&create(following.path("to-other-dir/new.txt"))).applied);
    assert!(following.dir.path().join("other/new.txt").exists());
}

#[test]
fn the_innermost_of_nested_roots_counts() {
    let fixture = Fixture::with(|builder, root| {
        fs::create_dir_all(root.join("inner")).unwrap();
        builder.with_roots([root.to_path_buf(), root.join("inner")])
    });
    fixture.write("a.txt", "outer");
    fixture.write("inner/b.txt", "inner");
    symlink("../a.txt", fixture.path("inner/up")).unwrap();
    assert_eq!(outcome(&fixture, fixture.path("inner/b.txt")), "inner");
    assert_eq!(outcome(&fixture, fixture.path("inner/up")), "SymlinkDenied");
}

/// Swaps a directory for a link to the outside and back, as fast as it can, until `work` has returned or panicked.
fn swap_while(fixture: &Fixture, work: impl FnOnce()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let done = AtomicBool::new(false);
    let (dir, aside, link) = (fixture.path("sub"), fixture.path("aside"), fixture.path("link"));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                fs::rename(&dir, &aside).unwrap();
                symlink("../outside", &link).unwrap();
                fs::rename(&link, &dir).unwrap();
                fs::remove_file(&dir).unwrap();
                fs::rename(&aside, &dir).unwrap();
            }
        });
        let _stop = Stop(&done);
        work();
    });
}

#[test]
fn a_directory_swapped_for_a_link_never_leads_outside() {
    const ROUNDS: usize = 10_000;
    let fixture = Fixture::new();
    fixture.write("sub/f.txt", "inside");
    let outside = fixture.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f.txt"), "secret").unwrap();
    let path = fixture.path("sub/f.txt");
    swap_while(&fixture, || {
        let mut content = "inside".to_owned();
        let (mut found, mut refused) = (0, 0);
        // On a busy machine one side may run for long alone: go on until both sides of the race were seen.
        for round in 0.. {
            if round >= ROUNDS && found > 100 && refused > 100 {
                break;
            }
            match fixture.read_whole(&path) {
                Ok(text) => {
                    assert_ne!(text, "secret", "read outside in round {round}");
                    found += 1;
                }
                Err(_) => refused += 1,
            }
            if round % 20 == 0 && round < ROUNDS {
                let new = format!("inside {round}");
                let durability = ploke_io::engine::Durability::BestEffort;
                let change = edit(&path, guard(&content), [((0, content.len() as u64), new.as_str())]);
                let outcome = fixture.apply(&EditRequest { durability, ..request([change]) });
                if outcome.files[0].status == FileStatus::Applied {
                    content = new;
                }
                // Made where the directory was, or nowhere.
                let name = format!("sub/{round}.txt");
                fixture.apply(&EditRequest { durability, ..create(fixture.path(&name)) });
            }
        }
    });
    assert_eq!(fs::read_to_string(outside.join("f.txt")).unwrap(), "secret");
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["f.txt"]);
}

#[test]
fn a_root_that_is_no_directory_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for (root, expected) in
        [(dir.path().join("file"), "not a directory"), (dir.path().join("none"), "no such"), ("rel".into(), "absolute")]
    {
        let error = IoManagerBuilder::new().with_roots([&root]).build().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&*root.to_string_lossy()), "{error}");
    }
}

#[test]
fn a_root_added_or_removed_counts_from_the_next_request_on() {
    let fixture = Fixture::new();
    let other = fixture.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("f"), "x").unwrap();
    let read = |fixture: &Fixture| outcome(fixture, other.join("f"));
    assert_eq!(read(&fixture), "OutsideRoots");
    fixture.manager.add_root(&other).unwrap();
    assert_eq!(read(&fixture), "x");
    assert!(fixture.manager.remove_root(&other).unwrap());
    assert!(!fixture.manager.remove_root(Path::new("/nowhere")).unwrap());
    assert_eq!(read(&fixture), "OutsideRoots");
}

#[test]
fn a_root_that_was_moved_away_or_made_again_is_the_one_at_its_path() {
    let fixture = Fixture::new();
    fixture.write("f", "first");
    let path = fixture.path("f");
    assert_eq!(outcome(&fixture, &path), "first");
    fs::rename(fixture.root(), fixture.dir.path().join("moved")).unwrap();
    assert_eq!(outcome(&fixture, &path), "NotFound");
    assert_eq!(error_of(&fixture.apply(&create(fixture.path("new")))), "NotFound");
    fixture.write("f", "second");
    assert_eq!(outcome(&fixture, &path), "second");
    assert!(fixture.edit(&path, "second", (0, 6), "third").applied);
    assert_eq!(fs::read_to_string(fixture.dir.path().join("moved/f")).unwrap(), "first");
    assert_eq!(fs::read_dir(fixture.dir.path().join("moved")).unwrap().count(), 1);
}

#[test]
fn without_roots_every_path_is_refused() {
    let manager = IoManagerBuilder::new().build().unwrap();
    let request = ploke_io::engine::EmbeddingData { path: "/etc/hostname".into(), ..Default::default() };
    let error = manager.snippets(&[request], &CancelToken::new()).unwrap().remove(0).unwrap_err();
    assert!(error.to_string().contains("no workspace roots"), "{error}");
}

#[test]
fn dots_may_lead_from_a_root_to_one_around_it_but_a_link_may_not() {
    let fixture = Fixture::with(|builder, root| {
        fs::create_dir(root.join("sub")).unwrap();
        builder.with_roots([root.to_path_buf(), root.join("sub")])
    });
    let path = fixture.write("a.txt", "in root");
    symlink(path, fixture.path("sub/link")).unwrap();
    assert_eq!(fixture.read_whole(fixture.path("sub/../a.txt")).unwrap(), "in root");
    let refused = fixture.read_whole(fixture.path("sub/link")).unwrap_err();
    assert!(matches!(refused.kind, IoErrorKind::SymlinkDenied), "{refused:?}");
}
