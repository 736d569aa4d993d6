//! Guarded edits and new files.

use std::{fs, path::Path, thread};

use ploke_io::{
    CancelToken,
    engine::{
        Atomicity, Change, CreateFileData, CreateOptions, Durability, EditRequest, FileStatus, Guard, TextChange,
        TextRange, WriteSnippetData,
    },
    error::IoErrorKind,
    hash::ContentHash,
};

use super::{Fixture, edit, error_of, guard, request};

fn statuses(outcome: &ploke_io::engine::EditOutcome) -> Vec<FileStatus> {
    outcome.files.iter().map(|file| file.status).collect()
}

fn create(path: impl Into<std::path::PathBuf>, text: &str, options: CreateOptions, expected: Guard) -> Change {
    Change::Create(CreateFileData { path: path.into(), text: text.into(), options, expected })
}

fn by_text(path: &Path, pairs: &[(&str, &str)]) -> Change {
    let edits = pairs.iter().map(|(old, new)| TextChange {
        range: None,
        new_text: (*new).into(),
        expected_text: Some((*old).into()),
    });
    Change::Edit(WriteSnippetData { path: path.into(), expected: Guard::default(), edits: edits.collect() })
}

#[test]
fn bytes_outside_the_edits_are_kept() {
    let fixture = Fixture::new();
    let before = "\u{feff}one\r\ntwo\rthree\nlast without newline";
    let path = fixture.write("f.txt", before);
    let outcome = fixture.apply(&request([edit(&path, guard(before), [((8, 11), "ZWEI"), ((3, 6), "1")])]));
    let after = "\u{feff}1\r\nZWEI\rthree\nlast without newline";
    assert_eq!(fixture.read("f.txt"), after);
    let file = &outcome.files[0];
    assert_eq!(file.edits, [(8..11, 6..10), (3..6, 3..4)]);
    assert_eq!(file.byte_delta, -1);
    assert_eq!(file.new_content_hash, Some(ContentHash::of(after.as_bytes())));
    assert_eq!(file.old_content_hash, Some(ContentHash::of(before.as_bytes())));
    assert_eq!((outcome.applied, outcome.durability), (true, Durability::Full));
    assert_eq!(fixture.names(), ["f.txt"]);
}

#[test]
fn a_change_of_an_existing_file_needs_a_byte_exact_guard() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "abc");
    let unguarded = request([edit(&path, Guard::default(), [((0, 1), "x")])]);
    assert_eq!(error_of(&fixture.apply(&unguarded)), "GuardRequired");
    let partly = [((0, 1), "x")].map(|((start, end), new_text)| TextChange {
        range: Some(TextRange::Bytes { start, end }),
        new_text: new_text.into(),
        expected_text: None,
    });
    let mut edits = partly.to_vec();
    edits.push(TextChange { range: None, new_text: "y".into(), expected_text: Some("c".into()) });
    let change = Change::Edit(WriteSnippetData { path: path.clone(), expected: Guard::default(), edits });
    assert_eq!(error_of(&fixture.apply(&request([change]))), "GuardRequired");
    let overwrite = CreateOptions { overwrite: true, ..CreateOptions::default() };
    let change = create(&path, "new", overwrite, Guard::default());
    assert_eq!(error_of(&fixture.apply(&request([change]))), "GuardRequired");
    let nothing = TextChange { range: Some(TextRange::Bytes { start: 1, end: 1 }), ..at_nothing() };
    let change =
        Change::Edit(WriteSnippetData { path: path.clone(), expected: Guard::default(), edits: vec![nothing] });
    assert_eq!(error_of(&fixture.apply(&request([change]))), "GuardRequired");
    assert_eq!(fixture.read("f.txt"), "abc");

    assert!(fixture.apply(&EditRequest { unguarded: true, ..unguarded }).applied);
    assert!(fixture.apply(&request([by_text(&path, &[("x", "a"), ("c", "C")])])).applied);
    assert!(fixture.apply(&request([create(&path, "new", overwrite, guard("abC"))])).applied);
    assert_eq!(fixture.read("f.txt"), "new");
}

fn at_nothing() -> TextChange {
    TextChange { range: None, new_text: "x".into(), expected_text: Some(String::new()) }
}

#[test]
fn a_stale_guard_is_refused_and_the_file_untouched() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "now");
    let outcome = fixture.edit(&path, "before", (0, 1), "x");
    assert!(error_of(&outcome).starts_with("ContentMismatch { guard: ContentHash"), "{}", error_of(&outcome));
    assert_eq!((outcome.applied, outcome.failed_change), (false, Some(0)));
    let outcome = fixture.edit(fixture.path("missing"), "before", (0, 1), "x");
    assert_eq!(error_of(&outcome), "NotFound");
    assert_eq!(fixture.read("f.txt"), "now");
}

#[test]
fn a_transaction_changes_all_or_nothing_and_per_file_each_on_its_own() {
    let fixture = Fixture::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| fixture.write(name, name));
    let changes = || {
        [
            edit(&a, guard("a"), [((0, 1), "A")]),
            edit(&b, guard("stale"), [((0, 1), "B")]),
            edit(&c, guard("c"), [((0, 1), "C")]),
        ]
    };
    let outcome = fixture.apply(&request(changes()));
    assert_eq!(statuses(&outcome), [FileStatus::NotApplied, FileStatus::Error, FileStatus::NotApplied]);
    assert_eq!((outcome.applied, outcome.failed_change), (false, Some(1)));
    assert_eq!(["a", "b", "c"].map(|name| fixture.read(name)), ["a", "b", "c"]);

    let outcome = fixture.apply(&EditRequest { atomicity: Atomicity::PerFile, ..request(changes()) });
    assert_eq!(statuses(&outcome), [FileStatus::Applied, FileStatus::Error, FileStatus::Applied]);
    assert_eq!((outcome.applied, outcome.failed_change), (false, Some(1)));
    assert_eq!(["a", "b", "c"].map(|name| fixture.read(name)), ["A", "b", "C"]);
}

#[test]
fn entries_are_planned_in_order_each_on_the_result_of_those_before() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "one");
    let new = fixture.path("new.txt");
    let outcome = fixture.apply(&request([
        edit(&path, guard("one"), [((0, 0), "zero ")]),
        create(&new, "made", CreateOptions::default(), Guard::default()),
        edit(&path, Guard::default(), [((5, 8), "two")]),
        edit(&new, Guard::default(), [((0, 1), "M")]),
    ]));
    assert!(outcome.applied, "{}", error_of(&outcome));
    assert_eq!(outcome.files.len(), 2);
    assert_eq!(outcome.file_of_change, [0, 1, 0, 1]);
    assert_eq!((fixture.read("f.txt"), fixture.read("new.txt")), ("zero two".into(), "Made".into()));
}

#[test]
fn an_edit_that_changes_nothing_writes_nothing() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "same");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let outcome = fixture.edit(&path, "same", (0, 1), "s");
    assert_eq!((statuses(&outcome), outcome.applied), (vec![FileStatus::Unchanged], true));
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert_eq!(fixture.manager.status().writes.applied, 0);
}

#[test]
fn a_dry_run_checks_everything_and_writes_nothing() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "old\n");
    let changes = [
        edit(&path, guard("old\n"), [((0, 3), "new")]),
        create(
            fixture.path("made/x.txt"),
            "x",
            CreateOptions { create_parents: true, ..Default::default() },
            Guard::default(),
        ),
    ];
    let dry = EditRequest { dry_run: true, ..request(changes) };
    let outcome = fixture.apply(&dry);
    assert_eq!((outcome.applied, outcome.failed_change), (false, None));
    assert_eq!(statuses(&outcome), [FileStatus::WouldApply, FileStatus::WouldApply]);
    assert_eq!(outcome.files[0].new_content_hash, Some(ContentHash::of(b"new\n")));
    let preview = outcome.files[0].preview.as_ref().unwrap();
    assert_eq!((preview.old.as_deref(), preview.new.as_deref()), (Some("old\n"), Some("new\n")));
    assert_eq!(fixture.names(), ["f.txt"]);
    let stale = EditRequest { dry_run: true, ..request([edit(&path, guard("x"), [((0, 0), "y")])]) };
    assert_eq!(fixture.apply(&stale).failed_change, Some(0));
}

#[test]
fn files_are_created_where_nothing_is_and_parents_only_if_asked_for() {
    let fixture = Fixture::new();
    let existing = fixture.write("f.txt", "old");
    let make = |path: &Path, options| fixture.apply(&request([create(path, "text", options, Guard::default())]));
    let none = CreateOptions::default();
    assert_eq!(error_of(&make(&existing, none)), "AlreadyExists");
    let ignored = make(&existing, CreateOptions { ignore_if_exists: true, ..none });
    assert_eq!((ignored.applied, statuses(&ignored)), (true, vec![FileStatus::Unchanged]));
    assert_eq!(fixture.read("f.txt"), "old");

    let deep = fixture.path("a/b/c.txt");
    assert_eq!(error_of(&make(&deep, none)), "NotFound");
    assert!(!fixture.path("a").exists());
    assert!(make(&deep, CreateOptions { create_parents: true, ..none }).applied);
    assert_eq!(fixture.read("a/b/c.txt"), "text");
    assert_eq!(fixture.names(), ["a/", "a/b/", "a/b/c.txt", "f.txt"]);

    let with_parents = CreateOptions { create_parents: true, ..none };
    let in_made = create(fixture.path("x/two"), "2", none, Guard::default());
    let made = create(fixture.path("x/y/one"), "1", with_parents, Guard::default());
    assert_eq!(error_of(&fixture.apply(&request([in_made.clone(), made.clone()]))), "NotFound");
    assert!(fixture.apply(&request([made, in_made])).applied);
    assert_eq!((fixture.read("x/y/one"), fixture.read("x/two")), ("1".into(), "2".into()));

    let slash = fixture.apply(&request([create(fixture.path("z/"), "", none, Guard::default())]));
    assert!(error_of(&slash).starts_with("NotAFile"), "{}", error_of(&slash));
}

#[test]
fn no_guard_goes_unchecked_because_the_file_is_left_alone_or_was_not_there() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "now");
    let unless_there = CreateOptions { ignore_if_exists: true, ..CreateOptions::default() };
    let stale = create(&path, "", unless_there, guard("before"));
    let outcome = fixture.apply(&request([stale.clone()]));
    assert!(error_of(&outcome).starts_with("ContentMismatch { guard: ContentHash"), "{}", error_of(&outcome));
    let outcome = fixture.apply(&request([stale, edit(&path, Guard::default(), [((0, 1), "x")])]));
    assert!(error_of(&outcome).starts_with("ContentMismatch { guard: ContentHash"), "{}", error_of(&outcome));
    assert_eq!(fixture.read("f.txt"), "now");

    let new = fixture.path("new.txt");
    let outcome = fixture.apply(&request([
        create(&new, "made", CreateOptions::default(), Guard::default()),
        edit(&new, guard("made"), [((0, 1), "M")]),
    ]));
    assert_eq!((error_of(&outcome).as_str(), outcome.failed_change), ("NotFound", Some(1)));
    assert_eq!(fixture.names(), ["f.txt"]);
}

#[test]
fn a_cancelled_edit_touches_nothing() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "x");
    let cancel = CancelToken::new();
    cancel.cancel();
    let outcome = fixture.manager.apply(&request([edit(&path, guard("x"), [((0, 1), "y")])]), &cancel).unwrap();
    assert_eq!(error_of(&outcome), "Cancelled");
    assert_eq!((fixture.read("f.txt"), fixture.names()), ("x".into(), vec!["f.txt".into()]));
}

/// Adds a line at the end as an agent would: read, guard, and try again when somebody was faster.
fn append(manager: &ploke_io::manager::IoManagerHandle, path: &Path, line: &str) {
    for _ in 0..10_000 {
        let text = fs::read_to_string(path).unwrap();
        let end = text.len() as u64;
        let change = edit(path, guard(&text), [((end, end), format!("{line}\n").as_str())]);
        let request = EditRequest { durability: Durability::BestEffort, ..request([change]) };
        let outcome = manager.apply(&request, &CancelToken::new()).unwrap();
        match outcome.files[0].error.as_ref().map(|error| &error.kind) {
            None => return,
            Some(IoErrorKind::ContentMismatch { .. }) => {}
            Some(other) => panic!("{other:?}"),
        }
    }
    panic!("{line} was never applied");
}

fn lines(path: &Path) -> Vec<String> {
    let mut lines: Vec<_> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn two_spellings_of_a_path_share_one_lock_and_lose_no_edit() {
    let fixture = Fixture::new();
    let path = fixture.write("dir/f.txt", "");
    #[cfg(unix)]
    std::os::unix::fs::symlink("dir", fixture.path("link")).unwrap();
    let other = if cfg!(unix) { fixture.path("link/f.txt") } else { fixture.path("./dir/f.txt") };
    thread::scope(|scope| {
        for (name, path) in [("a", &path), ("b", &other)] {
            let manager = &fixture.manager;
            scope.spawn(move || (0..50).for_each(|index| append(manager, path, &format!("{name}{index:02}"))));
        }
    });
    let expected: Vec<_> = ["a", "b"].iter().flat_map(|name| (0..50).map(move |i| format!("{name}{i:02}"))).collect();
    assert_eq!(lines(&path), expected);
    assert_eq!(fixture.manager.status().locks, 0);
}

#[cfg(unix)]
#[test]
fn managers_that_share_a_lock_directory_lose_no_edit_of_each_other() {
    use ploke_io::{engine::LockingPolicy, manager::IoManagerBuilder};

    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "");
    let locking = LockingPolicy::Advisory { directory: fixture.dir.path().join("state/locks") };
    let make = || IoManagerBuilder::new().with_roots([fixture.root()]).with_locking_policy(locking.clone()).build();
    let managers = [make().unwrap(), make().unwrap()];
    thread::scope(|scope| {
        for (index, manager) in managers.iter().enumerate() {
            let path = &path;
            scope.spawn(move || (0..150).for_each(|line| append(manager, path, &format!("{index}-{line:03}"))));
        }
    });
    let expected: Vec<_> = (0..2).flat_map(|index| (0..150).map(move |i| format!("{index}-{i:03}"))).collect();
    assert_eq!(lines(&path), expected);
}

#[test]
fn locks_are_gone_when_unused_also_after_failed_writes() {
    let fixture = Fixture::new();
    let path = fixture.write("f.txt", "x");
    for index in 0..100 {
        fixture.edit(fixture.path(&format!("missing-{index}")), "", (0, 0), "x");
        fixture.edit(&path, "stale", (0, 0), "x");
    }
    assert_eq!(fixture.manager.status().locks, 0);
}

#[test]
fn many_files_are_written_with_few_descriptors() {
    let fixture = Fixture::with(|builder, root| builder.with_roots([root]).with_fd_limit(8));
    let options = CreateOptions { create_parents: true, ..CreateOptions::default() };
    let make = |index: u32| create(fixture.path(&format!("{index}/{index}/f")), "0", options, Guard::default());
    let outcome = fixture.apply(&request((0..300).map(make)));
    assert!(outcome.applied, "{}", error_of(&outcome));
    let change = |index: u32| edit(fixture.path(&format!("{index}/{index}/f")), guard("0"), [((0, 1), "1")]);
    let durability = Durability::BestEffort;
    assert!(fixture.apply(&EditRequest { durability, ..request((0..300).map(change)) }).applied);
    assert!((0..300).all(|index| fixture.read(&format!("{index}/{index}/f")) == "1"));
}
