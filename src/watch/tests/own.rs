//! Own exchanges, deletions and renames on a real disk, told by nobody but the one who made them.

use std::{fs, time::Duration};

use super::{
    LIMIT,
    field::{Field, exchange},
};
use crate::{
    events::FileEventBatch,
    hash::ContentHash,
    watch::{Backend, WatchConfig},
};

const NOTHING: [&str; 0] = [];

#[test]
fn own_exchanges_deletions_and_renames_are_not_told() {
    let field = Field::with(WatchConfig::default(), |dir| {
        for name in ["written", "deleted", "old", "over", "under"] {
            fs::write(dir.join(name), name).unwrap();
        }
        fs::create_dir(dir.join("d")).unwrap();
    });
    field.own_exchange("written", "own");
    field.own_write("created", "own");
    field.own_delete("deleted");
    field.own_rename("old", "d/new");
    field.own_rename_over("over", "under");
    assert_eq!(field.reports(), NOTHING);
}

#[test]
fn several_own_changes_in_a_row_on_one_path_are_not_told() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("b"), "b").unwrap());
    for _ in 0..3 {
        field.own_write("a", "A");
        field.own_exchange("a", "B");
        field.own_delete("a");
        field.own_write("a", "A");
        field.own_rename("a", "c");
        field.own_rename("c", "a");
        field.own_delete("a");
        field.own_rename("b", "a");
        field.own_exchange("a", "B");
        field.own_rename("a", "b");
    }
    assert_eq!(field.reports(), NOTHING);
    // Those that were looked at already and those that were not yet.
    field.own_write("a", "A");
    assert_eq!(field.reports(), NOTHING);
    field.own_delete("a");
    assert_eq!(field.reports(), NOTHING);
}

#[test]
fn the_old_content_leaving_in_an_exchange_is_not_taken_for_a_deletion_that_is_only_announced() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("a"), "old").unwrap());
    let temp = field.temp("a");
    fs::write(&temp, "new").unwrap();
    field.announce("a", Some("new"));
    exchange(&temp, &field.path("a"));
    field.confirm("a", Some("new"));
    field.announce("a", None);
    assert_eq!(field.reports(), NOTHING);
    fs::remove_file(&temp).unwrap();
    field.withdraw("a", None);
    field.remove("a");
    assert_eq!(field.reports(), ["deleted a"]);
}

#[test]
fn an_outside_change_right_after_an_own_one_is_told_as_one_to_what_we_left() {
    for wait in [false, true] {
        let field = Field::with(WatchConfig::default(), |dir| {
            for name in ["deleted", "same", "old", "written", "exchanged", "twice"] {
                fs::write(dir.join(name), name).unwrap();
            }
        });
        let pause = || {
            if wait {
                assert_eq!(field.reports(), NOTHING);
            }
        };
        field.own_delete("deleted");
        field.own_delete("same");
        field.own_rename("old", "new");
        field.own_write("created", "own");
        field.own_exchange("written", "own");
        field.own_exchange("exchanged", "own");
        field.own_delete("twice");
        field.own_write("twice", "twice");
        field.own_delete("twice");
        pause();
        field.write("deleted", "other");
        field.write("same", "same");
        field.write("old", "old");
        field.remove("created");
        field.remove("written");
        field.write("exchanged", "exchanged");
        field.write("twice", "twice");
        let mut reports = field.reports();
        reports.sort();
        let expected = [
            "created deleted",
            "created old",
            "created same",
            "created twice",
            "deleted created",
            "deleted written",
            "modified exchanged",
        ];
        assert_eq!(reports, expected, "after a pause: {wait}");

        field.remove("deleted");
        field.write("written", "own");
        field.write("new", "new");
        let mut reports = field.reports();
        reports.sort();
        assert_eq!(reports, ["created written", "deleted deleted", "modified new"], "after a pause: {wait}");
    }
}

#[test]
fn a_file_moved_by_us_and_then_from_outside_is_told_from_where_we_put_it() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("a"), "a").unwrap());
    field.own_rename("a", "b");
    assert_eq!(field.reports(), NOTHING);
    field.rename("b", "c");
    assert_eq!(field.reports(), ["renamed b -> c"]);
    field.own_rename("c", "d");
    field.rename("d", "e");
    let mut reports = field.reports();
    reports.sort();
    assert_eq!(reports, ["created e", "deleted d"]);
    field.write("c", "a");
    field.write("d", "a");
    let mut reports = field.reports();
    reports.sort();
    assert_eq!(reports, ["created c", "created d"]);
}

#[test]
fn a_file_we_wrote_that_was_renamed_from_outside_is_created_when_it_is_made_again() {
    let field = Field::new();
    field.own_write("a", "own");
    assert_eq!(field.reports(), NOTHING);
    field.rename("a", "b");
    assert_eq!(field.reports(), ["renamed a -> b"]);
    field.write("a", "own");
    assert_eq!(field.reports(), ["created a"]);
}

#[test]
fn an_outside_save_by_exchange_or_with_a_backup_is_one_modification() {
    let field = Field::with(WatchConfig::default(), |dir| {
        fs::write(dir.join("a"), "1").unwrap();
        fs::write(dir.join("b"), "1").unwrap();
    });
    field.write("a.swp", "2");
    exchange(&field.path("a.swp"), &field.path("a"));
    field.remove("a.swp");
    assert_eq!(field.reports(), ["modified a"]);

    field.write("b.swp", "2");
    field.rename("b", "b~");
    field.rename("b.swp", "b");
    field.remove("b~");
    assert_eq!(field.reports(), ["modified b"]);

    // The temporary names of another sidecar.
    let temp = field.temp("a");
    fs::write(&temp, "3").unwrap();
    exchange(&temp, &field.path("a"));
    fs::remove_file(&temp).unwrap();
    assert_eq!(field.reports(), ["modified a"]);
}

#[test]
fn an_exchange_that_is_taken_back_tells_nothing_wrong_and_hides_nothing() {
    for wait in [false, true] {
        let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("a"), "old").unwrap());
        let temp = field.temp("a");
        fs::write(&temp, "new").unwrap();
        field.announce("a", Some("new"));
        exchange(&temp, &field.path("a"));
        if wait {
            assert_eq!(field.reports(), NOTHING);
        }
        exchange(&temp, &field.path("a"));
        field.withdraw("a", Some("new"));
        fs::remove_file(&temp).unwrap();
        assert!(field.reports().iter().all(|line| line == "modified a"));

        field.write("a", "new");
        assert_eq!(field.reports(), ["modified a"], "after a pause: {wait}");
    }
}

#[test]
fn a_deletion_a_creation_and_a_rename_that_are_taken_back_tell_nothing_wrong() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("a"), "old").unwrap());
    let temp = field.temp("a");
    field.announce("a", None);
    field.rename("a", temp.file_name().unwrap().to_str().unwrap());
    field.rename(temp.file_name().unwrap().to_str().unwrap(), "a");
    field.withdraw("a", None);
    assert!(field.reports().iter().all(|line| line == "modified a"));

    field.own_write("b", "new");
    field.remove("b");
    field.withdraw("b", Some("new"));
    assert_eq!(field.reports(), NOTHING);

    field.own_rename("a", "b");
    field.rename("b", "a");
    field.withdraw("b", Some("old"));
    field.withdraw("a", None);
    assert!(field.reports().iter().all(|line| line == "modified a"));

    field.remove("a");
    assert_eq!(field.reports(), ["deleted a"]);
}

#[test]
fn a_hard_linked_file_that_we_write_in_place_is_not_told() {
    let field = Field::with(WatchConfig::default(), |dir| fs::write(dir.join("a"), "old").unwrap());
    let other = tempfile::tempdir_in(field.dir.path().parent().unwrap()).unwrap();
    fs::hard_link(field.path("a"), other.path().join("link")).unwrap();
    field.announce("a", Some("own"));
    // The same length in one call: nothing half-written can be seen.
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(field.path("a")).unwrap().write_all_at(b"own", 0).unwrap();
    field.confirm("a", Some("own"));
    field.own_exchange("a", "OWN");
    assert_eq!(field.reports(), NOTHING);
    field.write("a", "own");
    assert_eq!(field.reports(), ["modified a"]);
}

#[test]
fn polling_does_not_tell_own_changes_either_and_tells_what_others_do_to_what_they_left() {
    let config =
        WatchConfig { backend: Backend::Poll, poll_interval: Duration::from_millis(20), ..WatchConfig::default() };
    let field = Field::with(config, |dir| {
        for name in ["written", "deleted", "old", "over", "under"] {
            fs::write(dir.join(name), name).unwrap();
        }
    });
    // What has gone is told at the end of a poll, after the mark of the same poll.
    let two_polls = || [field.reports(), field.reports()].concat();
    field.own_exchange("written", "own");
    field.own_write("created", "own");
    field.own_delete("deleted");
    field.own_rename("old", "new");
    field.own_rename_over("over", "under");
    for _ in 0..3 {
        field.own_write("again", "A");
        field.own_delete("again");
    }
    assert_eq!(two_polls(), NOTHING);

    field.write("deleted", "deleted");
    field.remove("created");
    let mut reports = two_polls();
    // A file may be looked at while it is empty, between truncating and writing.
    reports.retain(|line| !line.starts_with("modified"));
    reports.sort();
    assert_eq!(reports, ["created deleted", "deleted created"]);
    field.write("written", "x");
    while field.reports.recv_timeout(LIMIT).unwrap().changes.iter().all(|change| {
        (change.path.clone(), change.content_hash) != (field.path("written"), Some(ContentHash::of(b"x")))
    }) {}
}

#[test]
fn polling_tells_that_others_have_put_back_what_we_wrote() {
    let config =
        WatchConfig { backend: Backend::Poll, poll_interval: Duration::from_millis(200), ..WatchConfig::default() };
    let field = Field::with(config, |_| {});
    let wait_for = |content: &str| {
        let hash = Some(ContentHash::of(content.as_bytes()));
        let is_told = |batch: FileEventBatch| batch.changes.iter().any(|change| change.content_hash == hash);
        while !is_told(field.reports.recv_timeout(LIMIT).unwrap()) {}
    };
    field.own_write("a", "own");
    field.write("a", "other");
    wait_for("other");
    field.write("a", "own");
    wait_for("own");
}
