//! A real disk and the system's own events. Where a writer keeps a pace it sleeps; nothing else waits for time.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use super::{LIMIT, field::Field, until};
use crate::{
    events::FileEventKind,
    hash::ContentHash,
    watch::{Backend, WatchConfig, WatchState, Watcher},
};

#[test]
fn changes_from_outside_are_told_once_with_the_hash_of_what_is_there() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("old"), "1").unwrap());
    field.write("new", "2");
    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    assert_eq!(batch.changes.len(), 1, "{batch:?}");
    let change = &batch.changes[0];
    assert_eq!((change.kind, &change.path), (FileEventKind::Created, &field.path("new")));
    assert_eq!(change.content_hash, Some(ContentHash::of(b"2")));

    field.write("old", "3");
    field.rename("new", "newer");
    let mut reports = field.reports();
    reports.sort();
    assert_eq!(reports, ["modified old", "renamed new -> newer"]);

    field.remove("old");
    assert_eq!(field.reports(), ["deleted old"]);
}

#[test]
fn an_atomic_save_is_one_modification_and_a_new_file_made_that_way_one_creation() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("x"), "1").unwrap());
    for name in ["x", "y"] {
        field.write("x.swp", "2");
        field.rename("x.swp", name);
    }
    let mut reports = field.reports();
    reports.sort();
    assert_eq!(reports, ["created y", "modified x"]);
}

#[test]
fn an_own_write_is_not_told_again_and_an_outside_write_right_after_it_is() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("a"), "old").unwrap());
    field.own_write("a", "own");
    field.own_write("new", "own");
    assert_eq!(field.reports(), [""; 0]);

    field.own_write("a", "OWN");
    field.write("a", "out");
    assert_eq!(field.reports(), ["modified a"], "the same size in the same millisecond");

    field.write("a", "OWN");
    assert_eq!(field.reports(), ["modified a"], "what we wrote once, written by somebody else");

    field.own_write("a", "A");
    field.own_write("a", "B");
    assert_eq!(field.reports(), [""; 0]);
}

#[test]
fn a_withdrawn_write_hides_nothing() {
    let field = Field::new();
    field.announce("a", Some("x"));
    field.withdraw("a", Some("x"));
    field.write("a", "x");
    assert_eq!(field.reports(), ["created a"]);
}

#[test]
fn a_file_rewritten_without_pause_is_told_at_least_every_second_and_the_last_report_is_true() {
    let config = WatchConfig { debounce: Duration::from_millis(200), ..WatchConfig::default() };
    let field = Field::with(config, |_| {});
    let mut last = String::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        last = format!("{:?}", start.elapsed());
        field.write("busy", &last);
        // The pace of the writer.
        thread::sleep(Duration::from_millis(83));
    }
    let mut hashes = Vec::new();
    while hashes.last() != Some(&ContentHash::of(last.as_bytes())) {
        let batch = field.reports.recv_timeout(LIMIT).unwrap();
        hashes.extend(batch.changes.iter().filter_map(|change| change.content_hash));
    }
    assert!(hashes.len() >= 2, "{} reports", hashes.len());
}

#[test]
fn five_thousand_files_made_at_once_are_all_told_in_few_batches_and_soon() {
    let field = Field::new();
    let start = Instant::now();
    for number in 0..5000 {
        field.write(&format!("f{number}"), "x");
    }
    let done = Instant::now();
    let (mut seen, mut batches) = (BTreeSet::new(), 0);
    while seen.len() < 5000 {
        let batch = field.reports.recv_timeout(LIMIT).unwrap();
        assert!(!batch.rescan && batch.changes.len() <= 1000);
        seen.extend(batch.changes.into_iter().map(|change| change.path));
        batches += 1;
    }
    let most = 10 + start.elapsed().as_millis() / 50;
    assert!(batches <= most, "{batches} batches, not {most}");
    // Generous, since other tests run at the same time; what it rules out is time that grows with the number of files.
    assert!(done.elapsed() < Duration::from_secs(5), "{:?}", done.elapsed());
    assert_eq!(field.watcher.status().overflows, 0);
}

#[test]
fn new_directories_miss_nothing_that_is_written_into_them_at_once() {
    let field = Field::new();
    for number in 0..200 {
        field.mkdir(&format!("{number}/b/c"));
        field.write(&format!("{number}/b/c/file"), "x");
    }
    let mut missing = (0..200).map(|number| format!("created {number}/b/c/file")).collect::<BTreeSet<_>>();
    while !missing.is_empty() {
        let Ok(batch) = field.reports.recv_timeout(LIMIT) else { panic!("missing: {missing:?}") };
        for change in &batch.changes {
            assert!(missing.remove(&field.line(change)), "told twice, or never happened: {change:?}");
        }
    }
}

#[test]
fn a_renamed_directory_is_one_change_and_goes_on_being_watched_under_its_new_name() {
    let field = Field::with(WatchConfig::default(), |dir| {
        fs::create_dir_all(dir.join("d/deep")).unwrap();
        fs::write(dir.join("d/a"), "").unwrap();
        fs::write(dir.join("d/deep/b"), "").unwrap();
    });
    field.rename("d", "e");
    field.write("e/deep/b", "written at once");
    let reports = field.reports();
    assert_eq!(reports[0], "renamed directory d -> e");
    assert!(reports[1..].contains(&"modified e/deep/b".to_owned()), "{reports:?}");

    field.write("e/deep/new", "");
    assert_eq!(field.reports(), ["created e/deep/new"]);
    field.mkdir("d");
    field.write("d/a", "");
    assert_eq!(field.reports(), ["created d/a"]);
}

#[test]
fn a_deleted_directory_is_one_change_and_one_that_takes_its_place_is_watched() {
    let field = Field::with(WatchConfig::default(), |dir| {
        fs::create_dir_all(dir.join("d/deep")).unwrap();
        fs::write(dir.join("d/deep/b"), "").unwrap();
    });
    fs::remove_dir_all(field.path("d")).unwrap();
    assert_eq!(field.reports(), ["deleted directory d"]);

    field.mkdir("d/deep");
    field.write("d/deep/b", "");
    assert_eq!(field.reports(), ["created d/deep/b"]);
    until("three directories are watched", || field.watcher.status().watches == 3);
}

#[test]
fn a_directory_moved_in_is_told_by_its_files_and_one_moved_out_as_a_whole() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(outside.path().join("d/deep")).unwrap();
    fs::write(outside.path().join("d/deep/b"), "").unwrap();
    let field = Field::new();
    fs::rename(outside.path().join("d"), field.path("d")).unwrap();
    assert_eq!(field.reports(), ["created d/deep/b"]);
    field.write("d/deep/b", "x");
    assert_eq!(field.reports(), ["modified d/deep/b"]);

    fs::rename(field.path("d"), outside.path().join("d")).unwrap();
    assert_eq!(field.reports(), ["deleted directory d"]);
    fs::write(outside.path().join("d/deep/b"), "not ours any more").unwrap();
    assert_eq!(field.reports(), [""; 0]);
}

#[test]
fn what_is_left_out_is_neither_watched_nor_told() {
    let config = WatchConfig { ignore: vec!["*.log".into(), "/out/".into()], ..WatchConfig::default() };
    let field = Field::with(config, |dir| {
        for name in [".git/objects", ".hg", ".jj", "target/debug", "out", "src"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join(".gitignore"), "target\n").unwrap();
    });
    assert_eq!(field.watcher.status().watches, 2, "the root and src");
    for name in [".git/objects/x", "target/debug/x", "out/x", "a.log", "src/b.log", "src/c", ".ploke-io.1.tmp"] {
        field.write(name, "");
    }
    field.rename("a.log", "told");
    field.rename("src/c", "out/c");
    let mut reports = field.reports();
    reports.sort();
    assert_eq!(reports, ["created told"]);
}

#[test]
fn gitignore_files_can_be_turned_off() {
    let config = WatchConfig { gitignore: false, ..WatchConfig::default() };
    let field = Field::with(config, |dir| fs::write(dir.join(".gitignore"), "a\n").unwrap());
    field.write("a", "");
    assert_eq!(field.reports(), ["created a"]);
}

#[test]
fn a_changed_gitignore_hides_and_shows_directories() {
    let field = Field::with(WatchConfig::default(), |dir| {
        fs::create_dir_all(dir.join("a")).unwrap();
        fs::create_dir_all(dir.join("b")).unwrap();
        fs::write(dir.join("b/hidden"), "").unwrap();
        fs::write(dir.join(".gitignore"), "b\n").unwrap();
    });
    field.write(".gitignore", "a\n");
    let mut reports = field.reports();
    reports.sort();
    assert_eq!(reports, ["created b/hidden", "modified .gitignore"]);
    field.write("a/x", "");
    field.write("b/x", "");
    assert_eq!(field.reports(), ["created b/x"]);
}

#[test]
fn links_are_told_without_hash_and_not_followed() {
    use std::os::unix::fs::symlink;

    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("d")).unwrap();
    let field = Field::with(WatchConfig::default(), |dir| symlink(outside.path().join("d"), dir.join("link")).unwrap());
    fs::write(outside.path().join("d/x"), "").unwrap();
    assert_eq!(field.reports(), [""; 0]);
    assert_eq!(field.watcher.status().watches, 1);

    symlink("elsewhere", field.path("other")).unwrap();
    fs::rename(field.path("other"), field.path("link")).unwrap();
    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    assert_eq!(batch.changes.iter().map(|change| field.line(change)).collect::<Vec<_>>(), ["modified link"]);
    assert_eq!(batch.changes[0].content_hash, None);
}

#[test]
fn fifos_and_changes_of_mode_are_not_told_and_large_files_without_hash() {
    use std::os::unix::fs::PermissionsExt;

    let config = WatchConfig { max_file_bytes: 4, ..WatchConfig::default() };
    let field = Field::with(config, |dir| fs::write(dir.join("a"), "").unwrap());
    rustix::fs::mkfifoat(rustix::fs::CWD, field.path("fifo"), rustix::fs::Mode::RWXU).unwrap();
    fs::set_permissions(field.path("a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(field.reports(), [""; 0]);
    field.write("large", "12345");
    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    assert_eq!((batch.changes[0].kind, batch.changes[0].content_hash), (FileEventKind::Created, None));
}

#[test]
fn names_that_are_not_utf8_survive() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let field = Field::new();
    let path = field.dir.path().join(OsStr::from_bytes(b"\xff"));
    fs::write(&path, "").unwrap();
    assert_eq!(field.reports.recv_timeout(LIMIT).unwrap().changes[0].path, path);
}

#[test]
fn nested_roots_are_told_once_and_the_outer_one_goes_on_without_the_inner() {
    let field = Field::with(WatchConfig::default(), |dir| fs::create_dir_all(dir.join("in")).unwrap());
    field.add_root("in");
    field.write("in/a", "");
    assert_eq!(field.reports(), ["created in/a"]);

    field.watcher.remove_root(&field.path("in"));
    field.write("in/b", "");
    assert_eq!(field.reports(), ["created in/b"]);
}

#[test]
fn a_removed_root_is_silent_and_its_inner_root_is_not() {
    let field = Field::with(WatchConfig::default(), |dir| fs::create_dir_all(dir.join("in")).unwrap());
    field.add_root("in");
    field.watcher.remove_root(&field.path(""));
    until("only the inner root is watched", || field.watcher.status().watches == 1);
    field.write("a", "");
    field.write("in/a", "");
    field.write("in/end", "");
    assert_eq!(field.reports_until("in/end"), ["created in/a"]);

    field.watcher.remove_root(&field.path("in"));
    until("nothing is watched", || field.watcher.status().watches == 0);
}

#[test]
fn a_root_added_later_is_known_with_all_its_files() {
    let field = Field::new();
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("a"), "").unwrap();
    field.watcher.add_root(other.path());
    field.wait_until_watching();
    fs::write(other.path().join("a"), "x").unwrap();
    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    assert_eq!((batch.changes[0].kind, &batch.changes[0].path), (FileEventKind::Modified, &other.path().join("a")));
}

#[test]
fn a_root_that_goes_is_told_and_named_and_told_again_when_it_is_back() {
    let config = WatchConfig { poll_interval: Duration::from_millis(20), ..WatchConfig::default() };
    let field = Field::with(config, |dir| fs::create_dir_all(dir.join("in")).unwrap());
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("a"), "").unwrap();
    field.watcher.add_root(other.path());
    field.wait_until_watching();
    fs::remove_dir_all(other.path()).unwrap();

    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    let [change] = &batch.changes[..] else { panic!("{batch:?}") };
    assert!(!batch.rescan && change.directory && change.kind == FileEventKind::Deleted && change.path == other.path());
    assert!(field.watcher.status().reason.is_some_and(|reason| reason.contains("root is not there")));

    fs::create_dir_all(other.path().join("d")).unwrap();
    fs::write(other.path().join("d/b"), "").unwrap();
    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    let [change] = &batch.changes[..] else { panic!("{batch:?}") };
    assert!(change.kind == FileEventKind::Created && change.path == other.path().join("d/b"));
    until("the reason has gone", || field.watcher.status().reason.is_none());
}

#[test]
fn a_root_that_is_not_there_is_named_and_looked_for() {
    let config = WatchConfig { poll_interval: Duration::from_millis(20), ..WatchConfig::default() };
    let field = Field::with(config, |_| {});
    field.watcher.add_root(&field.path("missing/inner"));
    until("the reason is named", || field.watcher.status().reason.is_some_and(|reason| reason.contains("inner")));
    field.mkdir("missing/inner");
    field.write("missing/inner/a", "");
    assert_eq!(field.reports_until("missing/inner/a"), [""; 0]);
}

#[test]
fn polling_sees_a_file_rewritten_with_the_same_size_within_one_second() {
    let config =
        WatchConfig { backend: Backend::Poll, poll_interval: Duration::from_millis(20), ..WatchConfig::default() };
    let field = Field::with(config, |dir| {
        fs::create_dir_all(dir.join("d")).unwrap();
        fs::write(dir.join("d/a"), "1").unwrap();
    });
    assert_eq!(field.watcher.status().state, WatchState::Polling);
    for content in ["2", "3"] {
        field.write("d/a", content);
        // The file may be looked at while it is empty, between truncating and writing.
        let expected = Some(ContentHash::of(content.as_bytes()));
        while field.reports.recv_timeout(LIMIT).unwrap().changes[0].content_hash != expected {}
    }
    field.own_write("d/a", "own");
    field.mkdir("x/y");
    field.write("x/y/b", "");
    assert_eq!(field.reports_until("x/y/b"), [""; 0]);

    fs::remove_dir_all(field.path("x")).unwrap();
    let batch = field.reports.recv_timeout(LIMIT).unwrap();
    assert_eq!(batch.changes.iter().map(|change| field.line(change)).collect::<Vec<_>>(), ["deleted directory x"]);
}

#[test]
fn a_sink_may_drop_the_watcher() {
    let dir = tempfile::tempdir().unwrap();
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None::<Watcher>));
    let inner = slot.clone();
    let (sender, dropped) = std::sync::mpsc::channel();
    let sink = move |_| {
        drop(inner.lock().unwrap().take());
        let _ = sender.send(());
    };
    let watcher = Watcher::start(WatchConfig::default(), sink).unwrap();
    watcher.add_root(dir.path());
    until("the watcher watches", || watcher.status().state == WatchState::Watching);
    *slot.lock().unwrap() = Some(watcher);
    fs::write(dir.path().join("a"), "").unwrap();
    dropped.recv_timeout(LIMIT).unwrap();
}
