//! Timed events and the reports they must lead to, without disk or clock: `debounce` and `settle` together.

use std::path::{Path, PathBuf};

use super::{
    describe,
    world::{Operation, World},
};

/// Each table: what must hold; what is there and known to be; what happens at which millisecond; what is reported when.
/// The debounce time is 50 ms. `unknown` files are there, but nobody has listed them.
const TABLES: &str = "
# a file that is made and written is created
when    0 create a; 10 write a; 20 write a
expect  70 created a

# a file that is made and deleted is nothing
when    0 create a; 10 remove a
expect  nothing

# a file that is deleted and made again is modified
given   a
when    0 remove a; 10 create a
expect  60 modified a

# a file that is written and deleted is deleted
given   a
when    0 write a; 10 remove a
expect  60 deleted a

# changes in a row make few reports
when    0 create a; 10 create b; 20 create c; 70 create d
expect  50 created a; 100 created b; 100 created c; 150 created d

# what happens in two bursts is told twice
given   a
when    0 write a; 51 write a; 200 remove a
expect  50 modified a; 101 modified a; 250 deleted a

# a chain of renames is one from the first to the last name
given   a
when    0 rename a b; 10 rename b c
expect  60 renamed a -> c

# a rename there and back again is a modification
given   a
when    0 rename a b; 10 rename b a
expect  60 modified a

# a new file is not renamed but created under its last name
when    0 create a; 10 rename a b
expect  60 created b

# a file that is renamed and then deleted is deleted under the name it had
given   a
when    0 rename a b; 10 remove b
expect  50 deleted a

# a renamed file that is written is still renamed, and its old name is not told before
given   a
when    0 rename a b; 40 write b; 80 write b
expect  130 renamed a -> b

# a file renamed over another is renamed; the other needs no word
given   a b
when    0 rename a b
expect  50 renamed a -> b

# an editor that writes a temporary file and renames it over the file has modified the file
given   a
when    0 create a~; 1 write a~; 2 rename a~ a
expect  52 modified a

# an editor that renames a backup away and makes the file anew has modified it and made a backup
given   a
when    0 rename a a~; 1 create a; 2 write a
expect  50 created a~; 100 modified a

# and without keeping the backup it has modified the file
given   a
when    0 rename a a~; 1 create a; 2 write a; 10 remove a~
expect  52 modified a

# two files that swap names are both modified
given   a b
when    0 rename a t; 1 rename b a; 2 rename t b
expect  52 modified a; 52 modified b

# a file moved here from somewhere unknown is created, or modified if there was one
given   a
when    0 arrive a; 0 arrive b
expect  50 created b; 50 modified a

# a file moved away to somewhere unknown is deleted
given   a
when    0 leave a
expect  50 deleted a

# a file that never is quiet is told every second
given   a
when    0 write a; 45 write a; 90 write a; 135 write a; 180 write a; 225 write a; 270 write a; 315 write a; 360 write a; 405 write a; 450 write a; 495 write a; 540 write a; 585 write a; 630 write a; 675 write a; 720 write a; 765 write a; 810 write a; 855 write a; 900 write a; 945 write a; 990 write a; 1035 write a
expect  1000 modified a; 1085 modified a

# what nobody has listed is judged by its events
unknown a b c
when    0 write a; 0 remove b; 0 arrive c; 0 create d
expect  50 created d; 50 deleted b; 50 modified a; 50 modified c

# a directory renamed with all that is in it is one change
given   d/a d/deep/b
when    0 rename d e
expect  50 renamed directory d -> e

# a chain of directory renames is one
given   d/a
when    0 rename d e; 10 rename e f
expect  60 renamed directory d -> f

# a directory renamed there and back is nothing
given   d/a
when    0 rename d e; 10 rename e d
expect  nothing

# a directory whose files were all told to be deleted is not worth another word
given   d/a
when    0 remove d/a; 100 remove-all d
expect  50 deleted d/a

# a directory deleted with all that is in it is one change
given   d/a d/deep/b
when    0 remove-all d/deep; 3 remove-all d
expect  53 deleted directory d

# a directory renamed to the name of one deleted before is told after that one
given   d/a e/b
when    0 remove-all e; 1 rename d e
expect  51 deleted directory e; 51 renamed directory d -> e

# a directory moved away to somewhere unknown is deleted as a whole
given   d/a d/b
when    0 leave d
expect  50 deleted directory d

# changes in a directory that is then renamed are told with their new names, after the renaming
given   d/a d/b d/x
when    0 write d/a; 5 create d/new; 6 remove d/b; 10 rename d/x d/y; 20 rename d e
expect  70 renamed directory d -> e; 70 renamed e/x -> e/y; 70 modified e/a; 70 deleted e/b; 70 created e/new

# a file moved out of a directory before it is renamed or deleted is told so that it makes sense
given   d/a d/b e/c e/k
when    0 rename d/a a; 1 rename d f; 2 rename e/c c; 4 remove-all e
expect  54 renamed directory d -> f; 54 deleted directory e; 54 renamed f/a -> a; 54 created c

# a directory deleted and made again tells each of its files
given   d/a d/b
when    1 remove-all d; 2 create d/a
expect  51 deleted d/b; 101 modified d/a

# changes in a renamed directory wait for the renaming
given   d/a
when    0 rename d e; 5 write e/a; 30 rename e f
expect  80 renamed directory d -> f; 80 modified f/a
";

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
        world.told.list(&root(""), Vec::new());
    }
    world.told.announce(&root(""));
    for row in rows.lines().filter(|row| !row.is_empty()) {
        let (word, rest) = row.split_once(' ').unwrap();
        match word {
            "given" | "unknown" => {
                for name in rest.split_whitespace() {
                    world.disk.operate(Operation::Create(root(name)), 0);
                    if word == "given" {
                        world.told.insert(&root(name));
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
