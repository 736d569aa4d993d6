use std::{env, path::Path};

use clap::{CommandFactory, Error, Parser, error::ErrorKind};
use serde_json::json;

use super::*;
use crate::{
    cli::{Cli, in_own_process},
    protocol::schema::schema,
};

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
fn roots_and_ignore_lines_are_repeatable() {
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
fn a_bad_value_in_the_environment_is_an_error_that_names_the_variable() {
    let here = "cli::serve::tests::a_bad_value_in_the_environment_is_an_error_that_names_the_variable";
    if let Some(output) = in_own_process(here, |child| _ = child.env("PLOKE_IO_WATCH_BACKEND", "carrier-pigeon")) {
        return assert!(output.status.success(), "{output:?}");
    }
    let error = settings(&[]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.contains("'carrier-pigeon' for 'PLOKE_IO_WATCH_BACKEND'"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_an_error_that_names_it() {
    use std::os::unix::ffi::OsStrExt;

    let here = "cli::serve::tests::a_variable_that_is_not_utf_8_is_an_error_that_names_it";
    let value = std::ffi::OsStr::from_bytes(b"\xff");
    if let Some(output) = in_own_process(here, |child| _ = child.env("PLOKE_IO_CACHE_BYTES", value)) {
        return assert!(output.status.success(), "{output:?}");
    }
    let error = settings(&[]).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().trim()), (2, "error: PLOKE_IO_CACHE_BYTES is not UTF-8"));
}

#[test]
fn an_empty_variable_sets_nothing() {
    let here = "cli::serve::tests::an_empty_variable_sets_nothing";
    if let Some(output) = in_own_process(here, |child| {
        child.envs(SETTINGS.iter().map(|(_, variable, ..)| (variable, "")));
        child.env("PLOKE_IO_ROOT", "").env("PLOKE_IO_WATCH_IGNORE", "").env("PLOKE_IO_LOG_STDERR", "");
    }) {
        return assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(settings(&[]).unwrap(), InitializationOptions::default());
    assert_eq!(environment().unwrap().log_stderr, None);
}

#[test]
fn the_log_goes_to_stderr_when_the_flag_or_the_variable_says_so() {
    let here = "cli::serve::tests::the_log_goes_to_stderr_when_the_flag_or_the_variable_says_so";
    if let Some(output) = in_own_process(here, |child| _ = child.env("PLOKE_IO_LOG_STDERR", "true")) {
        return assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(environment().unwrap().log_stderr, Some(true));
    for (arguments, expected) in
        [(&[][..], None), (&["--log-stderr"], Some(true)), (&["--log-stderr=false", "--stdio"], Some(false))]
    {
        let cli = Cli::try_parse_from([&["ploke-io"], arguments].concat()).unwrap();
        assert_eq!(cli.serve.log_stderr, expected, "{arguments:?}");
    }
}

#[test]
fn stdio_is_accepted_with_and_without_the_word_serve() {
    for arguments in [&["--stdio"][..], &["serve", "--stdio"], &["serve"], &["--watch", "false", "--stdio"]] {
        assert!(settings(arguments).is_ok(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_setting_with_its_variable_default_and_range() {
    let types = &schema()["$defs"];
    let command = Cli::command();
    let mut untold: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    for (flag, variable, .., place) in SETTINGS {
        let flag = flag.trim_start_matches("--");
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
        let help = arg.get_help().unwrap().to_string();
        let schema = place.split('/').skip(1).fold(&types["InitializationOptions"], |section, name| {
            let property = &section["properties"][name];
            let target = property["anyOf"][0]["$ref"].as_str().map(|target| target.trim_start_matches("#/$defs/"));
            target.map(|target| &types[target]).filter(|target| target.get("properties").is_some()).unwrap_or(property)
        });
        assert!(schema.is_object(), "{place} is not in the schema");
        let default = match schema.get("default") {
            Some(Value::String(text)) => format!("[default: {text}]"),
            Some(default) => format!("[default: {default}]"),
            None => "[default: ".into(),
        };
        assert!(help.contains(&default), "{flag}: {default} is missing in {help:?}");
        if let (Some(least), Some(most)) = (schema.get("minimum"), schema.get("maximum")) {
            assert!(help.contains(&format!(", {least} to {most}")), "{flag}: {least} to {most} is missing in {help:?}");
        }
        assert!(help.ends_with(&format!("[env: {variable}]")), "{flag}: {variable} is missing in {help:?}");
        untold.retain(|other| *other != flag);
    }
    assert_eq!(untold, ["stdio", "root", "watch-ignore", "log-stderr"]);
    for flag in &untold[1..] {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
        let help = arg.get_help().unwrap().to_string();
        assert!(help.contains("[default: ") && help.contains("[env: PLOKE_IO_"), "{flag}: {help:?}");
    }
    assert_eq!(settings(&["--version"]).unwrap_err().kind(), ErrorKind::DisplayVersion);
}

fn settings(arguments: &[&str]) -> Result<InitializationOptions, Error> {
    let cli = Cli::try_parse_from([&["ploke-io"], arguments].concat())?;
    let args = match cli.command {
        Some(crate::cli::Command::Serve(args)) => *args,
        _ => cli.serve,
    };
    Ok(args.into_settings().merge_over(environment()?.into_settings()))
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
