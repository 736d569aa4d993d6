use std::path::Path;

use clap::{CommandFactory, Parser, error::ErrorKind};
use serde_json::json;

use super::*;
use crate::cli::{Cli, in_own_process};

/// Every setting: flag, environment variable, a value for each, and where it is in initializationOptions.
const SETTINGS: &[(&str, &str, &str, &str, &str)] = &[
    ("--symlink-policy", "PLOKE_IO_SYMLINK_POLICY", "follow", "denyCrossRoot", "/symlinkPolicy"),
    ("--namespace", "PLOKE_IO_NAMESPACE", NAMESPACE_1, NAMESPACE_2, "/namespace"),
    ("--watch", "PLOKE_IO_WATCH", "false", "true", "/watch/enabled"),
    ("--debounce-ms", "PLOKE_IO_DEBOUNCE_MS", "1", "2", "/watch/debounceMs"),
    ("--watch-backend", "PLOKE_IO_WATCH_BACKEND", "poll", "native", "/watch/backend"),
    ("--poll-interval-ms", "PLOKE_IO_POLL_INTERVAL_MS", "30", "40", "/watch/pollIntervalMs"),
    ("--watch-capacity", "PLOKE_IO_WATCH_CAPACITY", "50", "60", "/watch/capacity"),
    ("--gitignore", "PLOKE_IO_GITIGNORE", "false", "true", "/watch/gitignore"),
    ("--max-file-bytes", "PLOKE_IO_MAX_FILE_BYTES", "7", "8", "/limits/maxFileBytes"),
    ("--max-message-bytes", "PLOKE_IO_MAX_MESSAGE_BYTES", "1024", "2048", "/limits/maxMessageBytes"),
    ("--permits", "PLOKE_IO_PERMITS", "11", "12", "/limits/permits"),
    ("--fd-limit", "PLOKE_IO_FD_LIMIT", "13", "14", "/limits/fdLimit"),
    ("--cache-bytes", "PLOKE_IO_CACHE_BYTES", "0", "15", "/cache/bytes"),
    ("--cache-entries", "PLOKE_IO_CACHE_ENTRIES", "16", "17", "/cache/entries"),
    ("--durability", "PLOKE_IO_DURABILITY", "bestEffort", "full", "/durability"),
    ("--locking", "PLOKE_IO_LOCKING", "none", "advisory", "/locking"),
    ("--undo-keep-bytes", "PLOKE_IO_UNDO_KEEP_BYTES", "0", "20", "/undo/keepBytes"),
    ("--undo-keep-days", "PLOKE_IO_UNDO_KEEP_DAYS", "21", "22", "/undo/keepDays"),
    ("--log-dir", "PLOKE_IO_LOG_DIR", "logs", "/var/log/x", "/log/dir"),
    ("--log-level", "PLOKE_IO_LOG_LEVEL", "trace", "off", "/log/level"),
    ("--log-rotation", "PLOKE_IO_LOG_ROTATION", "hourly", "never", "/log/rotation"),
    ("--log-keep", "PLOKE_IO_LOG_KEEP", "18", "19", "/log/keep"),
];
const NAMESPACE_1: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const NAMESPACE_2: &str = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";

#[test]
fn nothing_given_sets_nothing() {
    assert_eq!(settings(&[]).unwrap(), InitializationOptions::default());
}

#[test]
fn each_flag_sets_its_setting_with_and_without_the_word_serve() {
    for (flag, _, value, other, place) in SETTINGS {
        for value in [value, other] {
            let expected = options(&[(place, value)]);
            assert_eq!(settings(&[flag, value]).unwrap(), expected, "{flag} {value}");
            assert_eq!(settings(&["serve", flag, value]).unwrap(), expected, "serve {flag} {value}");
        }
    }
}

#[test]
fn roots_and_globs_are_repeatable() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a:b c");
    let arguments = ["--root", root.to_str().unwrap(), "--root=x", "--watch-ignore", "*.{a,b}", "--watch-ignore=c:d"];
    let settings = settings(&arguments).unwrap();

    assert_eq!(paths(&settings), [root, path::absolute("x").unwrap()]);
    assert_eq!(settings.watch.ignore.unwrap(), ["*.{a,b}", "c:d"]);
}

#[test]
fn environment_variables_set_what_no_flag_does() {
    let here = "cli::serve::tests::environment_variables_set_what_no_flag_does";
    let list = env::join_paths([PathBuf::from("one"), PathBuf::from("two")]).unwrap();
    if let Some(output) = in_own_process(here, |child| {
        child.envs(SETTINGS.iter().map(|(_, variable, value, ..)| (variable, value)));
        child.env("PLOKE_IO_ROOT", &list).env("PLOKE_IO_WATCH_IGNORE", &list);
    }) {
        return assert!(output.status.success(), "{output:?}");
    }

    let given: Vec<_> = SETTINGS.iter().map(|(_, _, value, _, place)| (*place, *value)).collect();
    let lists = settings(&[]).unwrap();
    assert_eq!(paths(&lists), [path::absolute("one").unwrap(), path::absolute("two").unwrap()]);
    assert_eq!(lists.watch.ignore.clone().unwrap(), ["one", "two"]);
    assert_eq!(lists, options(&given).merge_over(lists.clone()));
    for (flag, variable, value, other, place) in SETTINGS {
        let expected = options(&[(place, other)]).merge_over(lists.clone());
        assert_eq!(settings(&[flag, other]).unwrap(), expected, "{variable}={value} {flag} {other}");
    }
    assert_eq!(settings(&["--watch-ignore", "three"]).unwrap().watch.ignore.unwrap(), ["three"]);
}

#[test]
fn a_bad_value_is_an_error_with_exit_code_2() {
    for arguments in [
        ["--symlink-policy", "denycrossroot"],
        ["--namespace", "7"],
        ["--watch", "maybe"],
        ["--debounce-ms", "1.5"],
        ["--poll-interval-ms", "1"],
        ["--fd-limit", "many"],
        ["--root", ""],
        ["--log-level", "verbose"],
        ["--no-such", "1"],
        ["no-such-command", "1"],
    ] {
        let error = settings(&arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments:?}: {error}");
        assert!(error.to_string().contains(arguments[0]), "{arguments:?}: {error}");
    }
}

#[test]
fn a_bad_value_in_the_environment_is_an_error_that_names_it() {
    let here = "cli::serve::tests::a_bad_value_in_the_environment_is_an_error_that_names_it";
    if let Some(output) = in_own_process(here, |child| _ = child.env("PLOKE_IO_WATCH_BACKEND", "carrier-pigeon")) {
        return assert!(output.status.success(), "{output:?}");
    }
    let error = settings(&[]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("carrier-pigeon"), "{error}");
}

#[test]
fn stdio_is_accepted_with_and_without_the_word_serve() {
    for arguments in [&["--stdio"][..], &["serve", "--stdio"], &["serve"], &["--watch", "false", "--stdio"]] {
        assert!(settings(arguments).is_ok(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_setting_and_where_its_default_comes_from() {
    let help = Cli::command().render_long_help().to_string();
    for (flag, variable, ..) in SETTINGS {
        assert!(help.contains(flag) && help.contains(variable), "{flag} {variable}");
    }
    assert_eq!(settings(&["--version"]).unwrap_err().kind(), ErrorKind::DisplayVersion);
}

fn settings(arguments: &[&str]) -> Result<InitializationOptions, Error> {
    let cli = Cli::try_parse_from([&["ploke-io"], arguments].concat())?;
    let args = match cli.command {
        Some(crate::cli::Command::Serve(args)) => *args,
        _ => cli.serve,
    };
    Ok(args.into_settings())
}

/// The options with these values at these places, and nothing else.
fn options(values: &[(&str, &str)]) -> InitializationOptions {
    let mut options = json!({});
    for (place, value) in values {
        let place = place.split('/').skip(1).fold(&mut options, |options, name| &mut options[name]);
        *place = match serde_json::from_str(value) {
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
            _ => json!(value),
        };
    }
    serde_json::from_value(options).unwrap()
}

fn paths(settings: &InitializationOptions) -> Vec<&Path> {
    settings.roots.iter().flatten().map(FileUri::path).collect()
}
