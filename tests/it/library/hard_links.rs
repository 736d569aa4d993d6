//! Files with several names.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use ploke_io::{
    CancelToken,
    engine::{Change, EditRequest, Guard, LockingPolicy},
    manager::{IoManagerBuilder, IoManagerHandle},
};

use super::{Fixture, error_of, guard, request};

const LINES: usize = 40;

#[test]
fn no_line_is_lost_that_two_requests_add_through_two_names_of_a_file() {
    let fixture =
        Fixture::with(|builder, root| builder.with_roots([root]).with_state_dir(root.with_file_name("state")));
    let names = two_names(&fixture);
    let results = [&fixture.manager, &fixture.manager];
    check_no_line_is_lost(&fixture, results, &names);
}

#[test]
fn no_line_is_lost_that_two_sidecars_add_through_two_names_of_a_file() {
    let fixture = Fixture::new();
    let names = two_names(&fixture);
    let sidecar = |name: &str| {
        let directory = fixture.dir.path().join("locks");
        let builder = IoManagerBuilder::new().with_roots([fixture.root()]);
        let builder = builder.with_locking_policy(LockingPolicy::Advisory { directory });
        builder.with_state_dir(fixture.dir.path().join(name)).build().unwrap()
    };
    check_no_line_is_lost(&fixture, [&sidecar("one"), &sidecar("other")], &names);
}

#[test]
fn a_file_is_not_torn_from_its_other_name_by_a_rename_that_is_more_than_one() {
    let rename = |from: &Path, to: &Path| Change::Rename {
        old_path: from.into(),
        new_path: to.into(),
        overwrite: false,
        ignore_if_exists: false,
        expected: Guard::default(),
        expected_overwritten: Guard::default(),
    };
    let fixture =
        Fixture::with(|builder, root| builder.with_roots([root]).with_state_dir(root.with_file_name("state")));
    let [linked, other_name] = two_names(&fixture);
    let (single, between) = (fixture.write("single", "single"), fixture.path("between"));
    let edit = super::edit(&linked, guard(""), [((0, 0), "new")]);
    let edited_and_renamed = vec![edit, rename(&linked, &between)];
    let exchanged = vec![rename(&linked, &between), rename(&single, &linked), rename(&between, &single)];
    for changes in [edited_and_renamed, exchanged] {
        let outcome = fixture.apply(&EditRequest { unguarded: true, ..request(changes) });
        assert!(error_of(&outcome).starts_with("NotSupported"), "{outcome:?}");
        assert_eq!(fixture.names(), ["f", "other name", "single"]);
    }
    assert!(fixture.apply(&EditRequest { unguarded: true, ..request([rename(&linked, &between)]) }).applied);
    fs::write(between, "both").unwrap();
    assert_eq!(fs::read_to_string(other_name).unwrap(), "both");
}

fn two_names(fixture: &Fixture) -> [PathBuf; 2] {
    let path = fixture.write("f", "");
    let other = fixture.path("other name");
    fs::hard_link(&path, &other).unwrap();
    [path, other]
}

fn check_no_line_is_lost(fixture: &Fixture, managers: [&IoManagerHandle; 2], names: &[PathBuf; 2]) {
    thread::scope(|scope| {
        for (index, (manager, name)) in managers.into_iter().zip(names).enumerate() {
            scope.spawn(move || (0..LINES).for_each(|line| add_line(manager, name, &format!("{index}: {line}"))));
        }
    });
    let text = fixture.read("f");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 2 * LINES, "{text}");
    assert_eq!(text.lines().count(), 2 * LINES, "{text}");
}

/// Adds a line at the end of a file, again until nobody has changed it since it was read.
fn add_line(manager: &IoManagerHandle, path: &PathBuf, line: &str) {
    loop {
        let text = fs::read_to_string(path).unwrap();
        let end = text.len() as u64;
        let line = format!("{line}\n");
        let change = super::edit(path, guard(&text), [((end, end), line.as_str())]);
        let outcome = manager.apply(&request([change]), &CancelToken::new()).unwrap();
        if outcome.applied {
            return;
        }
        assert!(error_of(&outcome).starts_with("ContentMismatch"), "{}", error_of(&outcome));
    }
}
