//! The requests that meet the faults.

use super::*;

pub(super) const ORIGIN: Uuid = Uuid::from_u128(1);

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) changes: fn(&Scene) -> Vec<Change>,
    /// It is the undo that the faults meet.
    pub(super) undone: bool,
}

pub(super) const fn scenario(name: &'static str, changes: fn(&Scene) -> Vec<Change>) -> Scenario {
    Scenario { name, changes, undone: false }
}

pub(super) const SCENARIOS: [Scenario; 14] = [
    scenario("edit", |scene| vec![scene.edit("0")]),
    scenario("create", |scene| vec![scene.create("new")]),
    scenario("create with parents", |scene| vec![scene.create("made/deep/new")]),
    scenario("a new directory for two", |scene| {
        vec![scene.create("made/deep/new"), scene.create("made/new"), scene.edit("0")]
    }),
    scenario("five files", |scene| {
        vec![scene.edit("0"), scene.edit("1"), scene.create("new"), scene.edit("2"), scene.edit("3")]
    }),
    scenario("delete", |scene| vec![scene.delete("0")]),
    scenario("rename", |scene| vec![scene.rename_new("0", "new")]),
    scenario("rename over", |scene| vec![scene.rename("0", "1")]),
    scenario("edit and rename", |scene| vec![scene.edit("0"), scene.rename_new("0", "new")]),
    scenario("exchange two names", |scene| {
        vec![scene.rename_new("0", "new"), scene.rename_new("1", "0"), scene.rename_new("new", "1")]
            .into_iter()
            .map(without_guard)
            .collect()
    }),
    scenario("everything", |scene| {
        vec![scene.edit("0"), scene.create("new"), scene.delete("1"), scene.rename_new("2", "made"), scene.edit("3")]
    }),
    scenario("edit of a hard link", |scene| vec![scene.edit("linked")]),
    scenario("a hard link among others", |scene| vec![scene.edit("0"), scene.edit("linked"), scene.delete("1")]),
    Scenario {
        name: "undo",
        changes: |scene| {
            vec![
                scene.edit("0"),
                scene.create("new"),
                scene.delete("1"),
                scene.rename_new("2", "made"),
                scene.rename("linked", "3"),
            ]
        },
        undone: true,
    },
];

pub(super) fn without_guard(change: Change) -> Change {
    match change {
        Change::Rename { old_path, new_path, overwrite, ignore_if_exists, .. } => Change::Rename {
            old_path,
            new_path,
            overwrite,
            ignore_if_exists,
            expected: Guard::default(),
            expected_overwritten: Guard::default(),
        },
        other => other,
    }
}
