//! Keeps README.md, protocol.md and schema/ true.
//!
//! `UPDATE_GENERATED=1` rewrites the generated tables and the schema, `UPDATE_TRANSCRIPTS=1` the `<` and `disk` blocks of
//! the examples: read the difference before you keep it.

mod tables;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use ploke_io::{engine::CacheLimits, protocol::schema::schema};

use crate::support::{connection::Connection, parse::Transcript, session::run, update::rewritten};

const PROTOCOL: &str = "protocol.md";
const SCHEMA: &str = "schema/ploke-io.schema.json";

/// Types of what the protocol reserves and the server does not do yet.
const RESERVED: [&str; 3] = ["RenameOptions", "DeleteOptions", "UndoOptions"];

#[test]
fn every_example_of_the_protocol_holds() {
    let text = read(PROTOCOL);
    let (mut rewrites, mut failures) = (Vec::new(), Vec::new());
    for example in examples(&text) {
        let replayed = Transcript::parse(PROTOCOL, &example.transcript)
            .and_then(|transcript| run(&transcript, is_set("UPDATE_TRANSCRIPTS"), Connection::in_process));
        match replayed {
            Ok(changed) => rewrites.extend(changed),
            Err(failure) => failures.push(format!("the example at {PROTOCOL}:{}\n{failure}", example.line)),
        }
    }
    if !rewrites.is_empty() {
        write(PROTOCOL, &rewritten(&text, &rewrites));
    }
    assert!(failures.is_empty(), "{} examples do not hold\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn every_method_has_an_example() {
    let text = read(PROTOCOL);
    let examples: String = examples(&text).map(|example| example.transcript).collect();
    let schema = schema();
    for direction in ["methods", "notifications"] {
        for method in schema[direction].as_object().unwrap().keys() {
            let marker =
                if direction == "methods" { format!(" {method}\n") } else { format!("-- < notify {method}\n") };
            assert!(examples.contains(&marker), "{PROTOCOL} has no example of {method}");
        }
    }
}

#[test]
fn the_tables_are_those_of_the_wire_types() {
    let text = read(PROTOCOL);
    let fresh = tables::regenerated(&text, &schema()).unwrap_or_else(|error| panic!("{PROTOCOL}:{error}"));
    keep_fresh(PROTOCOL, &text, &fresh);
}

#[test]
fn every_type_is_told() {
    let schema = schema();
    let all: BTreeSet<_> = schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
    let text = read(PROTOCOL);
    let told: BTreeSet<_> = tables::names(&text).chain(RESERVED).collect();
    let missing: Vec<_> = all.difference(&told).collect();
    assert!(missing.is_empty(), "{PROTOCOL} does not tell {missing:?}");
}

#[test]
fn the_schema_file_is_what_the_program_prints() {
    let old = fs::read_to_string(path(SCHEMA)).unwrap_or_default();
    keep_fresh(SCHEMA, &old, &format!("{:#}\n", schema()));
}

#[test]
fn the_defaults_told_are_those_of_the_library() {
    let default = |section: &str, option: &str| {
        schema()["$defs"][section]["properties"][option]["default"].as_u64().unwrap_or_else(|| panic!("{option}"))
    };
    let cache = CacheLimits::default();
    assert_eq!((default("CacheOptions", "bytes"), default("CacheOptions", "entries")), (cache.bytes, cache.entries));
    #[cfg(feature = "watcher")]
    {
        let watch = ploke_io::watch::WatchConfig::default();
        assert_eq!(u128::from(default("WatchOptions", "debounceMs")), watch.debounce.as_millis());
        assert_eq!(u128::from(default("WatchOptions", "pollIntervalMs")), watch.poll_interval.as_millis());
        assert_eq!(default("WatchOptions", "capacity"), watch.capacity as u64);
        assert_eq!(default("LimitOptions", "maxFileBytes"), watch.max_file_bytes);
    }
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_ploke-io")).arg("demo").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let readme = read("README.md");
    let shown = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(without_times(shown), without_times(&printed));
}

#[test]
fn the_readme_tells_every_setting() {
    let output = Command::new(env!("CARGO_BIN_EXE_ploke-io")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let readme = read("README.md");
    let words: Vec<_> = help.split([' ', '\n', ',', '=', ']']).collect();
    let settings = words.iter().filter(|word| word.starts_with("--") || word.starts_with("PLOKE_IO_"));
    let missing: Vec<_> = settings.filter(|setting| !readme.contains(&format!("`{setting}`"))).collect();
    assert!(missing.is_empty(), "README.md does not tell {missing:?}");
}

/// A fenced block of transcript steps.
struct Example {
    /// Of its first step, from 1.
    line: usize,
    /// Its steps stand on the same lines as in the document.
    transcript: String,
}

fn examples(text: &str) -> impl Iterator<Item = Example> {
    let lines: Vec<&str> = text.lines().collect();
    let fences: Vec<_> = (0..lines.len()).filter(|&index| lines[index] == "```transcript").collect();
    assert!(!fences.is_empty());
    fences.into_iter().map(move |fence| {
        let steps: Vec<_> = lines[fence + 1..].iter().take_while(|line| **line != "```").copied().collect();
        let transcript = format!("# An example.\n{}{}\n", "\n".repeat(fence), steps.join("\n"));
        Example { line: fence + 2, transcript }
    })
}

/// The words of each line, without the numbers of milliseconds.
fn without_times(text: &str) -> Vec<Vec<&str>> {
    let is_time = |words: &[&str], index: usize| {
        words.get(index + 1).is_some_and(|unit| unit.starts_with("ms")) && words[index].parse::<f64>().is_ok()
    };
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .map(|line| (0..line.len()).filter(|&index| !is_time(&line, index)).map(|index| line[index]).collect())
        .collect()
}

fn keep_fresh(name: &str, old: &str, fresh: &str) {
    if old == fresh {
        return;
    }
    if is_set("UPDATE_GENERATED") {
        return write(name, fresh);
    }
    let line = old.lines().zip(fresh.lines()).position(|(old, fresh)| old != fresh);
    let line = line.unwrap_or_else(|| old.lines().count().min(fresh.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    panic!(
        "{name}:{}: out of date, run UPDATE_GENERATED=1 cargo test --test it documents\n  is:        {}\n  should be: {}",
        line + 1,
        at(old),
        at(fresh)
    );
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}")).replace("\r\n", "\n")
}

fn write(name: &str, text: &str) {
    fs::write(path(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
}
