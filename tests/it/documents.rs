//! Keeps README.md, protocol.md and schema/ true.
//!
//! `UPDATE_GENERATED=1` rewrites the generated tables and the schema, `UPDATE_TRANSCRIPTS=1` the `<` and `disk` blocks of
//! the examples; set one of them at a time, and read the difference before you keep it.

mod tables;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use ploke_io::{
    engine::{CacheLimits, UndoLimits},
    protocol::schema::schema,
};

use crate::support::{connection::Connection, parse::Transcript, session::run, update::rewritten};

const PROTOCOL: &str = "protocol.md";
const SCHEMA: &str = "schema/ploke-io.schema.json";

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
    let told: BTreeSet<_> = tables::names(&text).collect();
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
    let undo = UndoLimits::default();
    let told = (default("UndoOptions", "keepBytes"), default("UndoOptions", "keepDays"));
    assert_eq!(told, (undo.keep_bytes, undo.keep_days));
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
    assert_eq!(words(fenced(&readme, "text")), words(&printed));
}

#[test]
fn the_readme_tells_every_setting() {
    let output = Command::new(env!("CARGO_BIN_EXE_ploke-io")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let readme = read("README.md");
    let words: Vec<_> = help.split([' ', '\n', ',', '=', '[', ']']).collect();
    let settings = words.iter().filter(|word| word.starts_with("--") || word.starts_with("PLOKE_IO_"));
    let missing: Vec<_> = settings.filter(|setting| !readme.contains(&format!("`{setting}`"))).collect();
    assert!(missing.is_empty(), "README.md does not tell {missing:?}");
}

/// The client in Python is run as a user would run it, where there is a Python.
#[cfg(unix)]
#[test]
fn the_agent_of_the_readme_works() {
    let dir = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ploke-io"));
    let path = std::env::join_paths(
        [program.parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut python = Command::new("python3");
    python.arg("-c").arg(fenced(&read("README.md"), "python")).arg(dir.path());
    python.env("PATH", path.unwrap()).env("XDG_STATE_HOME", dir.path().join("state"));
    let output = match python.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return eprintln!("SKIPPED: there is no python3"),
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("applied: True") && told.contains("applied: False notes.txt: "), "{told}");
    assert_eq!(fs::read_to_string(dir.path().join("notes.txt")).unwrap(), "# hello\n");
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

/// The first fenced block of a language.
fn fenced<'t>(text: &'t str, language: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("\n```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// The words of each line, without times and other numbers, which differ from run to run.
fn words(text: &str) -> Vec<String> {
    let is_number = |word: &&str| word.trim_end_matches(',').parse::<f64>().is_ok();
    let line = |line: &str| line.split_whitespace().filter(|word| !is_number(word)).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
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
