use std::fs;

use super::*;
use crate::cli::in_own_process;

#[test]
fn events_from_before_the_settings_are_in_the_file_too_one_line_each() {
    let dir = tempfile::tempdir().unwrap();
    let text = logged(&to(dir.path()), |configure| {
        tracing::info!("early");
        configure();
        tracing::info_span!("request", id = 7, method = "ploke/scan").in_scope(|| tracing::warn!(files = 2, "a\nb"));
    });

    let lines: Vec<_> = text.lines().collect();
    let [early, warning] = lines[..] else { panic!("two lines expected: {text:?}") };
    assert!(early.ends_with("INFO ploke_io::logging::tests: early"), "{early}");
    assert!(
        warning.ends_with(r#"WARN request{id=7 method="ploke/scan"}: ploke_io::logging::tests: a\nb files=2"#),
        "{warning}"
    );
    let (time, rest) = early.split_once(' ').unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    assert_eq!(rest.split_once(' ').unwrap().0, std::process::id().to_string());
}

#[test]
fn fields_recorded_later_stand_in_the_line_once_in_the_file_and_on_stderr() {
    let here = "logging::tests::fields_recorded_later_stand_in_the_line_once_in_the_file_and_on_stderr";
    let dir = tempfile::tempdir().unwrap();
    if let Some(output) = in_own_process(here, |child| _ = child.env("TEST_DIR", dir.path())) {
        let line = r#"INFO request{id=7 result="ok"}: ploke_io::logging::tests: done"#;
        let (file, stderr) = (log_in(dir.path()), String::from_utf8_lossy(&output.stderr));
        assert!(file.contains(line) && stderr.contains(line), "{file}\n{output:?}");
        return;
    }
    let _logging = Logging::start(to(&PathBuf::from(std::env::var_os("TEST_DIR").unwrap())), true).unwrap();
    let request = tracing::info_span!("request", id = 7, result = tracing::field::Empty);
    request.record("result", "ok");
    request.in_scope(|| tracing::info!("done"));
}

#[test]
fn only_events_of_the_level_and_of_this_crate_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let text = logged(&LogOptions { level: Some(LogLevel::Error), ..to(dir.path()) }, |configure| {
        configure();
        tracing::error!("kept");
        tracing::warn!("below the level");
        tracing::error!(target: "tower_lsp", "of another crate");
    });
    assert!(text.contains("kept") && text.lines().count() == 1, "{text}");
}

#[test]
fn level_off_creates_neither_file_nor_directory() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let text = logged(&LogOptions { level: Some(LogLevel::Off), ..to(&log_dir) }, |configure| {
        tracing::error!("early");
        configure();
        tracing::error!("late");
    });
    assert_eq!(text, "");
    assert!(!log_dir.exists());
}

#[test]
fn a_log_that_is_never_configured_is_opened_at_the_end_if_there_is_something_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    logged(&to(&log_dir), |_| {});
    assert!(!log_dir.exists());

    let text = logged(&to(&log_dir), |_| tracing::error!("ended early"));
    assert!(text.contains("ended early"), "{text}");
}

#[test]
fn as_many_files_are_kept_as_asked_for_the_newest_ones() {
    for rotation in [LogRotation::Daily, LogRotation::Hourly] {
        let dir = tempfile::tempdir().unwrap();
        for day in 1..=9 {
            fs::write(dir.path().join(format!("ploke-io.2020-01-0{day}.log")), "old\n").unwrap();
        }
        fs::write(dir.path().join("notes.txt"), "not a log").unwrap();
        logged(
            &LogOptions { rotation: Some(rotation), keep: Some("3".parse().unwrap()), ..to(dir.path()) },
            |configure| {
                configure();
                tracing::info!("new");
            },
        );

        let names = file_names(dir.path());
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names[0], "notes.txt");
        assert!(names[1..].iter().any(|name| fs::read_to_string(dir.path().join(name)).unwrap().contains("new")));
    }
}

#[test]
fn without_rotation_the_one_file_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { rotation: Some(LogRotation::Never), keep: Some("1".parse().unwrap()), ..to(dir.path()) };
    for _ in 0..2 {
        logged(&options, |_| tracing::info!("started"));
    }
    assert_eq!(file_names(dir.path()), ["ploke-io.log"]);
    assert_eq!(fs::read_to_string(dir.path().join("ploke-io.log")).unwrap().lines().count(), 2);
}

#[cfg(unix)]
#[test]
fn a_directory_made_for_the_log_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("state/log");
    logged(&to(&log_dir), |_| tracing::info!("started"));
    assert_eq!(fs::metadata(&log_dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_and_the_log_goes_to_stderr() {
    let here = "logging::tests::a_directory_that_cannot_be_made_is_an_error_and_the_log_goes_to_stderr";
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("file/log");
    fs::write(dir.path().join("file"), "in the way").unwrap();
    if let Some(output) = in_own_process(here, |_| {}) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{output:?}");
        for line in ["early", "could not create the log directory", "late"] {
            assert_eq!(stderr.matches(line).count(), 1, "{line:?} once in {stderr}");
        }
        return;
    }
    let logging = Logging::start(LogOptions::default(), false).unwrap();
    tracing::info!("early");
    assert!(matches!(logging.configurer()(&to(&log_dir)), Err(LogError::Directory { .. })));
    tracing::info!("late");
}

#[test]
fn a_panic_is_logged_also_before_the_settings_are_known_but_not_the_text_it_may_quote() {
    let here = "logging::tests::a_panic_is_logged_also_before_the_settings_are_known_but_not_the_text_it_may_quote";
    let dir = tempfile::tempdir().unwrap();
    if let Some(output) = in_own_process(here, |child| _ = child.env("TEST_DIR", dir.path())) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("a literal") && stderr.contains("quotes secret"), "{output:?}");
        let log = log_in(dir.path());
        assert!(log.contains("ERROR") && log.contains("panic: a literal") && log.contains("tests.rs"), "{log}");
        assert_eq!((log.lines().count(), log.contains("secret")), (2, false), "{log}");
        return;
    }
    let dir = PathBuf::from(std::env::var_os("TEST_DIR").unwrap());
    let logging = Logging::start(to(&dir), false).unwrap();
    thread::spawn(|| panic!("a literal")).join().unwrap_err();
    let text = String::from("secret");
    thread::spawn(move || panic!("quotes {text}")).join().unwrap_err();
    drop(logging);
}

/// What is in the log files after `run`, which gets a function that configures the log.
fn logged(options: &LogOptions, run: impl FnOnce(&dyn Fn())) -> String {
    let (logging, subscriber) = Logging::new(options.clone(), false);
    tracing::subscriber::with_default(subscriber, || {
        let configure = logging.configurer();
        run(&|| configure(options).unwrap());
        drop(logging);
    });
    options.dir.as_ref().filter(|dir| dir.exists()).map(|dir| log_in(dir)).unwrap_or_default()
}

fn log_in(dir: &Path) -> String {
    file_names(dir).iter().map(|name| fs::read_to_string(dir.join(name)).unwrap()).collect()
}

fn to(dir: &Path) -> LogOptions {
    LogOptions { dir: Some(dir.to_path_buf()), ..LogOptions::default() }
}

fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
