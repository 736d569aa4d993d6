//! Timed events and the reports they must lead to, without disk or clock: `debounce` and `settle` together.

use std::path::{Path, PathBuf};

use super::{
    describe,
    world::{Operation, World},
};

const TABLES: &str = include_str!("tables.txt");

#[test]
fn bursts_are_told_by_their_net_effect() {
    let mut failures = Vec::new();
    for table in TABLES.split("\n# ").skip(1) {
        let (title, rows) = table.split_once('\n').unwrap();
        let (told, expected) = play(rows);
        if sorted(&told) != sorted(&expected) {
            failures.push(format!("{title}\n  expected {expected}\n  told     {told}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Returns what was told and what should have been.
fn play(rows: &str) -> (String, String) {
    let mut world = World::new();
    let mut reports = Vec::new();
    let mut expected = String::new();
    if !rows.contains("unknown") {
        world.index.list(&root(""), Vec::new(), |_| None);
    }
    world.index.announce(&root(""));
    for row in rows.lines().filter(|row| !row.is_empty()) {
        let (word, rest) = row.split_once(' ').unwrap();
        match word {
            "given" | "unknown" => {
                for (number, name) in rest.split_whitespace().enumerate() {
                    world.disk.operate(Operation::Create(root(name)), 1000 + number);
                    if word == "given" {
                        let look = world.disk.look(&root(name)).unwrap();
                        world.index.insert(&root(name), look, true);
                    }
                }
            }
            "when" => {
                for (number, line) in rest.split(';').enumerate() {
                    let (time, operation) = parse(line);
                    report_until(&mut world, time, &mut reports);
                    for change in world.disk.operate(operation, number + 1) {
                        world.deliver(change, time);
                    }
                }
            }
            "expect" => expected = rest.trim().to_owned(),
            _ => panic!("{row}"),
        }
    }
    report_until(&mut world, 10_000, &mut reports);
    let told = if reports.is_empty() { "nothing".to_owned() } else { reports.join("; ") };
    (told, expected)
}

/// Reports all that is due before this millisecond, each at its time.
fn report_until(world: &mut World, end: u64, reports: &mut Vec<String>) {
    while let Some(deadline) = world.next_deadline().filter(|deadline| *deadline < end) {
        let due = world.report(deadline);
        reports.extend(due.iter().map(|change| format!("{deadline} {}", describe(change, Path::new("/r")))));
    }
}

fn parse(line: &str) -> (u64, Operation) {
    let words = line.split_whitespace().collect::<Vec<_>>();
    let path = root(words[2]);
    let operation = match words[1] {
        "create" => Operation::Create(path),
        "arrive" => Operation::Arrive(path),
        "write" => Operation::Write(path),
        "remove" => Operation::Remove(path),
        "remove-all" => Operation::RemoveAll(path),
        "leave" => Operation::Leave(path),
        "rename" => Operation::Rename(path, root(words[3])),
        _ => panic!("{line}"),
    };
    (words[0].parse().unwrap(), operation)
}

/// Reports of directories stay in order; the order of files told at the same time does not matter.
fn sorted(reports: &str) -> String {
    let (directories, mut files): (Vec<_>, Vec<_>) = reports.split("; ").partition(|line| line.contains(" directory "));
    files.sort_by_key(|line| line.split_once(' ').map(|(time, rest)| (time.parse::<u64>().ok(), rest.to_owned())));
    directories.into_iter().chain(files).collect::<Vec<_>>().join("; ")
}

fn root(name: &str) -> PathBuf {
    if name.is_empty() { PathBuf::from("/r") } else { Path::new("/r").join(name) }
}
