//! A program that knows nothing of guards or locks appends lines to a file that is edited.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    scene::{Scene, Session, hash, kill, say, skipped},
    strace::{self, Fault, Injection, Strace},
};

const ATTEMPTS: usize = 600;
const INTERVAL: Duration = Duration::from_millis(3);
const HOLD_UP: Duration = Duration::from_millis(100);

/// What can be lost is a line that is written to the old file after the new one has taken its place, by a program that had
/// opened the old one before. How many that are is measured; that no other line is lost must hold. A line that came to a new
/// content in the moment before it was taken back is in a file beside it, which the answer names.
#[test]
fn no_line_is_lost_that_was_appended_before_the_new_content_took_its_place() {
    let begin = Instant::now();
    let scene = Scene::new();
    scene.write("log", "0 edits\n");
    let ended = AtomicBool::new(false);
    let (appended, (applied, refused)) = thread::scope(|scope| {
        let appending = scope.spawn(|| append(&scene.path("log"), &ended));
        let counts = edit_first_line(&scene);
        ended.store(true, Relaxed);
        (appending.join().unwrap(), counts)
    });
    let (text, found) = (scene.read("log"), log_and_kept(&scene));
    let present: BTreeSet<_> = found.lines().collect();
    let lost: Vec<_> = appended.iter().filter(|line| !present.contains(line.text.as_str())).collect();
    say(&format!(
        "an appender every {INTERVAL:?}: {} of {} lines lost, {applied} edits applied and {refused} refused in {:?}",
        lost.len(),
        appended.len(),
        begin.elapsed()
    ));
    let in_time: Vec<_> = lost.iter().filter(|line| line.was_in_time).map(|line| &line.text).collect();
    assert!(in_time.is_empty(), "lost, although appended in time: {in_time:?}");
    assert_eq!(text.lines().next().unwrap(), format!("{applied} edits"));
    assert_eq!(text.lines().count(), text.lines().collect::<BTreeSet<_>>().len(), "a line is there twice");
    assert!(refused > 0 && appended.len() > 10, "the two never met");
    assert_eq!(scene.debris(), Vec::<String>::new());
}

/// The swap is held up before, so that it brings out a line that nobody had seen, and after, so that lines are appended to
/// the new content before it is taken back.
#[test]
fn no_line_is_lost_that_was_appended_to_a_new_content_that_is_taken_back() {
    if let Some(missing) = strace::missing() {
        return skipped("a swap that is taken back", missing);
    }
    let scene = Scene::new();
    scene.write("log", "0 edits\n");
    let mut session = scene.start();
    let hold_up = Injection { call: "renameat2", nth: 1, fault: Fault::HoldUp(HOLD_UP) };
    let strace = Strace::attach(session.process_id, &[], Some(hold_up), &scene.home.join("strace"));
    let ended = AtomicBool::new(false);
    let (appended, answer) = thread::scope(|scope| {
        let text = scene.read("log");
        let appending = scope.spawn(|| {
            wait_for_the_swap(&scene);
            append(&scene.path("log"), &ended)
        });
        let answer = edit(&scene, &mut session, &text, 1).expect("an answer");
        ended.store(true, Relaxed);
        (appending.join().unwrap(), answer)
    });
    session.end();
    strace.wait();
    let found = log_and_kept(&scene);
    let present: BTreeSet<_> = found.lines().collect();
    let lost = appended.iter().filter(|line| !present.contains(line.text.as_str())).count();
    assert!(appended.len() > 10 && answer["applied"] == false, "the two never met: {answer}");
    assert_eq!(lost, 0, "of {} lines are lost after the answer {answer}", appended.len());
}

/// The old content with the new line has another name at that moment, one that is given to what may be removed.
#[test]
fn no_line_is_lost_that_was_appended_in_the_last_moment_before_a_crash() {
    if let Some(missing) = strace::missing() {
        return skipped("a crash before a swap is taken back", missing);
    }
    let scene = Scene::new();
    let path = scene.path("log");
    scene.write("log", "0 edits\n");
    let mut session = scene.start();
    let process_id = session.process_id;
    let hold_up = Injection { call: "renameat2", nth: 1, fault: Fault::HoldUp(HOLD_UP) };
    let strace = Strace::attach(process_id, &[], Some(hold_up), &scene.home.join("strace"));
    thread::scope(|scope| {
        let text = scene.read("log");
        scope.spawn(|| {
            wait_for_the_swap(&scene);
            let old = path.metadata().unwrap().ino();
            OpenOptions::new().append(true).open(&path).unwrap().write_all(b"line\n").unwrap();
            while path.metadata().unwrap().ino() == old {
                thread::yield_now();
            }
            kill(process_id);
        });
        assert_eq!(edit(&scene, &mut session, &text, 1), None, "it was killed before it answered");
    });
    session.end();
    strace.wait();
    scene.start().end();
    let found = log_and_kept(&scene);
    assert!(found.contains("line"), "after the next start there is {found:?}");
}

/// The text of the file, and of what was kept beside it because neither could be given up.
fn log_and_kept(scene: &Scene) -> String {
    let tree = scene.tree().into_iter();
    tree.filter(|(name, _)| name == "log" || name.starts_with("ploke-io-kept-")).map(|(_, file)| file.text).collect()
}

/// Returns in the middle of the time that the swap is held up, when the last look at the file is over.
fn wait_for_the_swap(scene: &Scene) {
    while scene.debris().is_empty() {
        thread::yield_now();
    }
    thread::sleep(HOLD_UP / 4);
}

struct Appended {
    text: String,
    /// After it was written the file still had its name.
    was_in_time: bool,
}

/// Opens, appends and closes, as `echo line >> file` does.
fn append(path: &Path, ended: &AtomicBool) -> Vec<Appended> {
    let mut appended = Vec::new();
    while !ended.load(Relaxed) {
        let text = format!("line {}", appended.len());
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(format!("{text}\n").as_bytes()).unwrap();
        let (written, named) = (file.metadata().unwrap(), path.metadata().unwrap());
        appended.push(Appended { text, was_in_time: written.ino() == named.ino() });
        thread::sleep(INTERVAL);
    }
    appended
}

/// How many edits were applied, and how many refused because the file had changed since it was read.
fn edit_first_line(scene: &Scene) -> (usize, usize) {
    // With syncs an edit takes longer than the appender leaves it time.
    let mut session = Session::spawn(scene.command());
    assert!(session.initialize(&scene.root, &json!({"durability": "bestEffort"})));
    let (mut applied, mut refused) = (0, 0);
    for _ in 0..ATTEMPTS {
        let text = scene.read("log");
        let result = edit(scene, &mut session, &text, applied + 1).expect("an answer");
        if result["applied"] == true {
            applied += 1;
        } else {
            assert_eq!(result["files"][0]["error"]["kind"], "contentMismatch", "{result}");
            refused += 1;
        }
    }
    session.end();
    (applied, refused)
}

/// Replaces the first line by the number of edits.
fn edit(scene: &Scene, session: &mut Session, text: &str, edits: usize) -> Option<Value> {
    let first = text.lines().next().unwrap();
    let edits = [json!({"range": {"startByte": 0, "endByte": first.len()}, "newText": format!("{edits} edits")})];
    let document = json!({"uri": scene.uri("log")});
    let change = json!({"textDocument": document, "expected": {"contentHash": hash(text)}, "edits": edits});
    session.ask("ploke/applyEdits", &json!({"documentChanges": [change]}))
}
