//! The built binary as a user calls it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[test]
fn the_demo_passes_on_its_own_sample() {
    let output = ploke_io(&["demo"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for line in [
        "initialize",
        "4 unchanged, 1 changed",
        "2 verified snippets of src",
        ": pub fn greet(name: &str) -> String {",
        "-pub fn greet(name: &str) -> String {",
        "+pub fn greet(name: &str) -> String { // reviewed",
        "modified by request",
        "modified by somebody else",
        "refused as contentMismatch, nothing is written",
        "exit code 0",
        "All as it must be",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn the_demo_passes_on_a_copy_of_a_directory_and_leaves_the_directory_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a b")).unwrap();
    fs::write(dir.path().join("a b/ä #1.txt"), "first\r\nsecond").unwrap();
    fs::write(dir.path().join(".gitignore"), "*.txt\n").unwrap();
    let before = contents(dir.path());

    let output = ploke_io(&["demo", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("+first (reviewed)"), "{output:?}");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn the_demo_says_why_it_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("binary"), b"\xff\n\xff\n").unwrap();
    for (dir, reason) in [(dir.path(), "no text file"), (&dir.path().join("missing"), "could not read")] {
        let output = ploke_io(&["demo", dir.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{output:?}");
    }
}

#[test]
fn the_schema_is_json_and_names_every_method() {
    let output = ploke_io(&["schema"]);
    assert!(output.status.success(), "{output:?}");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = schema.to_string();
    for method in ["ploke/snippets", "ploke/scan", "ploke/applyEdits", "ploke/status", "ploke/fileChanged"] {
        assert!(text.contains(method), "{method} is missing");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = ploke_io(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), concat!("ploke-io ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_variable_is_named_and_an_empty_one_is_none() {
    let serve = |value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ploke-io"));
        command.env("PLOKE_IO_DEBOUNCE_MS", value).env("PLOKE_IO_FD_LIMIT", "").env("PLOKE_IO_LOG_LEVEL", "off");
        command.output().unwrap()
    };
    let wrong = serve("abc");
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{told}");
    assert!(told.contains("invalid value 'abc' for 'PLOKE_IO_DEBOUNCE_MS'") && told.contains("1 to 60000"), "{told}");
    let empty = serve("");
    assert!(empty.stderr.is_empty(), "{empty:?}");
}

#[test]
fn settings_in_the_environment_matter_only_to_the_server() {
    for arguments in [&["schema"][..], &["--version"], &["--help"], &["demo"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ploke-io"))
            .args(arguments)
            .env("PLOKE_IO_DEBOUNCE_MS", "abc")
            .env("PLOKE_IO_LOG_STDERR", "abc")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn wrong_arguments_end_with_exit_code_2() {
    for arguments in [&["--no-such-flag"][..], &["no-such-command"], &["--watch", "perhaps"], &["demo", "a", "b"]] {
        let output = ploke_io(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn ploke_io(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ploke-io")).args(arguments).output().unwrap()
}

/// Every file below a directory with what is in it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents.extend(self::contents(&path));
        } else {
            contents.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    contents
}
