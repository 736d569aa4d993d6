//! What a watcher holds of the process; alone in its binary, since these counts are the whole process's.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ploke_io::{
    CancelToken,
    engine::{Change, EditRequest, EmbeddingData, Guard, TextChange, TextRange, WriteSnippetData},
    manager::IoManagerBuilder,
    watch::{Backend, WatchConfig, WatchState, Watcher},
};

const LIMIT: Duration = Duration::from_secs(10);

// One test, because tests of one binary run side by side.
#[test]
fn a_watcher_is_idle_when_nothing_happens_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    drop(watching(Backend::Native, dir.path()));
    wait_for_threads_to_end(1);
    let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));

    for backend in [Backend::Native, Backend::Poll] {
        for _ in 0..50 {
            drop(watching(backend, dir.path()));
        }
        wait_for_threads_to_end(threads);
        assert_eq!(count("/proc/self/fd"), descriptors, "{backend:?}");
    }

    let state = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..50).map(|number| dir.path().join(format!("a/file {number}"))).collect();
    files.iter().for_each(|file| fs::write(file, "text").unwrap());
    for file in &files {
        let builder = IoManagerBuilder::new().with_roots([dir.path()]).with_state_dir(state.path());
        let manager = builder.enable_watcher().build().unwrap();
        // So many that threads are started for them.
        let reads: Vec<_> =
            files.iter().map(|path| EmbeddingData { path: path.clone(), ..EmbeddingData::default() }).collect();
        assert!(manager.snippets(&reads, &CancelToken::new()).unwrap().iter().all(Result::is_ok));
        let edit = TextChange {
            range: Some(TextRange::Bytes { start: 0, end: 4 }),
            new_text: "new".into(),
            expected_text: Some("text".into()),
        };
        let change = WriteSnippetData { path: file.clone(), expected: Guard::default(), edits: vec![edit] };
        let request = EditRequest { changes: vec![Change::Edit(change)], ..EditRequest::default() };
        assert!(manager.apply(&request, &CancelToken::new()).unwrap().applied);
        drop((manager.subscribe_file_events(), manager));
    }
    wait_for_threads_to_end(threads);
    assert_eq!(count("/proc/self/fd"), descriptors, "managers");

    let state = tempfile::tempdir().unwrap();
    let config = WatchConfig { state_dir: Some(state.path().to_path_buf()), ..WatchConfig::default() };
    let watcher = Watcher::start(config, |_| {}).unwrap();
    add_and_remove(&watcher, 3, |_| dir.path().to_path_buf());
    assert_eq!(fs::read_dir(state.path().join("index")).unwrap().count(), 2, "what is saved is replaced");
    drop(watcher);
    wait_for_threads_to_end(threads);

    let watcher = Watcher::start(WatchConfig::default(), |_| {}).unwrap();
    add_and_remove(&watcher, 21, |round| {
        // Another one each time, with as much in it as is needed to see what is kept of it.
        let parent = dir.path().join("others");
        if round > 0 {
            fs::remove_dir_all(parent.join((round - 1).to_string())).unwrap();
        }
        let root = parent.join(round.to_string());
        (0..20).for_each(|number| fs::create_dir_all(root.join(number.to_string())).unwrap());
        root
    });
    drop(watcher);
    wait_for_threads_to_end(threads);
    fs::remove_dir_all(dir.path().join("others")).unwrap();

    let watcher = watching(Backend::Native, dir.path());
    watcher.expect_write(&dir.path().join("x"), Some(ploke_io::hash::ContentHash::of(b"x")));
    assert_nothing_runs();
}

/// Adds and removes roots that have so many directories; nothing of them must be left.
fn add_and_remove(watcher: &Watcher, directories: usize, root: impl Fn(usize) -> PathBuf) {
    let (mut memory, mut descriptors) = (0, 0);
    for round in 0..1_000 {
        if round == 200 {
            // What is needed once is there by now.
            (memory, descriptors) = (resident_bytes(), count("/proc/self/fd"));
        }
        let root = root(round);
        watcher.add_root(&root);
        watcher.sync(LIMIT).unwrap();
        assert_eq!(watcher.status().watches, directories);
        watcher.remove_root(&root);
        watcher.sync(LIMIT).unwrap();
        assert_eq!(watcher.status().watches, 0);
    }
    assert_eq!(count("/proc/self/fd"), descriptors, "roots that come and go");
    let grown = resident_bytes().saturating_sub(memory);
    assert!(grown < 1 << 20, "{grown} bytes more for roots that come and go");
}

/// A watcher that has reported something.
fn watching(backend: Backend, dir: &Path) -> Watcher {
    let (sender, reports) = mpsc::channel();
    let poll_interval = Duration::from_millis(20);
    let config = WatchConfig { backend, poll_interval, debounce: Duration::from_millis(1), ..WatchConfig::default() };
    let watcher = Watcher::start(config, move |batch| drop(sender.send(batch))).unwrap();
    watcher.add_root(dir);
    until("it watches", || matches!(watcher.status().state, WatchState::Watching | WatchState::Polling));
    let file = dir.join("a/b/file");
    fs::write(&file, format!("{:?}", Instant::now())).unwrap();
    reports.recv_timeout(LIMIT).unwrap();
    watcher
}

/// A poll lets go of everything before the drop returns, but its thread needs a moment more to be gone.
fn wait_for_threads_to_end(at_most: usize) {
    // The harness's main thread and this test's are always there.
    until("threads have ended", || count("/proc/self/task") <= at_most.max(2));
}

/// That nothing happens takes time to see: how often threads woke up must not change for a while.
fn assert_nothing_runs() {
    until("all threads have come to rest", || {
        let before = wake_ups();
        thread::sleep(Duration::from_millis(200));
        before == wake_ups()
    });
    let before = wake_ups();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(before, wake_ups());
}

/// How often each thread of a watcher went to sleep.
fn wake_ups() -> Vec<String> {
    let mut counts = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap();
        if name.starts_with("ploke-watch") || name.starts_with("ploke-io-inotif") {
            let status = fs::read_to_string(task.join("status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
            counts.push(format!("{} {line}", name.trim()));
        }
    }
    assert_eq!(counts.len(), 2, "{counts:?}");
    counts
}

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn count(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
