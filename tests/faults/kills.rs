//! The server dies at each system call of its write path.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    jobs::{FIVE_FILES, JOBS, Job, WITH_HARD_LINK},
    scene::{Scene, Session, Tree, say, skipped},
    strace::{self, Fault, Injection, Strace},
};

/// The calls that the write path may consist of.
pub const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "write",
    "pwrite64",
    "fchmod",
    "fchown",
    "fsetxattr",
    "fsync",
    "fdatasync",
    "linkat",
    "renameat2",
    "renameat",
    "unlinkat",
    "mkdirat",
    "ftruncate",
    "flock",
];
/// Those that change what a later start finds.
const CHANGES: &[&str] = &["write", "pwrite64", "linkat", "renameat2", "renameat", "unlinkat", "ftruncate", "mkdirat"];

#[test]
fn killed_at_any_system_call_every_file_is_wholly_old_or_new_after_the_next_start() {
    let test = "the server is killed at each system call";
    if let Some(missing) = strace::missing() {
        return skipped(test, missing);
    }
    let trees: Vec<(Tree, Tree)> = JOBS.iter().map(Job::trees).collect();
    let mut cases = Vec::new();
    for (job, trees) in JOBS.iter().zip(&trees) {
        for (call, count) in calls_of(job) {
            let cases_of_call = (1..=count).map(|nth| (job, trees, Injection { call, nth, fault: Fault::Kill }));
            cases.extend(cases_of_call);
        }
    }
    let unanswered = AtomicUsize::new(0);
    for_each(&cases, |&(job, trees, injection)| {
        let scene = Job::scene();
        let answer = attacked(job, &scene, injection);
        unanswered.fetch_add(matches!(answer, Ok(None)).into(), Relaxed);
        answer
            .and_then(|answer| check_next_start(&scene, trees, answer.as_ref()))
            .map_err(|problem| format!("{}, {injection:?}: {problem}", job.name))
    });
    say(&format!("{test}: {} cases, {unanswered:?} of them without an answer", cases.len()));
    assert!(unanswered.into_inner() * 2 > cases.len(), "most kills must come before the answer");
}

#[test]
fn killed_at_any_change_of_recovery_the_start_after_it_completes_what_was_begun() {
    let test = "recovery is killed at each system call";
    if let Some(missing) = strace::missing() {
        return skipped(test, missing);
    }
    let trees = [FIVE_FILES, WITH_HARD_LINK].map(|job| (job, job.trees()));
    let mut cases = Vec::new();
    for (job, trees) in &trees {
        for (call, nth) in first_kills(job) {
            let first = Injection { call, nth, fault: Fault::Kill };
            let scene = Job::scene();
            attacked(job, &scene, first).unwrap();
            let log = scene.home.join("strace");
            let mut session = Session::spawn(strace::traced(&scene.command(), CHANGES, None, &log));
            assert!(session.initialize(&scene.root, &json!({})));
            session.end();
            for (call, count) in strace::counts(&log) {
                let call = CHANGES.iter().find(|known| **known == call).expect("a call that was asked for");
                let seconds = (1..=count).map(|nth| (job, trees, first, Injection { call, nth, fault: Fault::Kill }));
                cases.extend(seconds);
            }
        }
    }
    for_each(&cases, |&(job, trees, first, second)| {
        let scene = Job::scene();
        attacked(job, &scene, first)?;
        let log = scene.home.join("strace");
        let mut session = Session::spawn(strace::traced(&scene.command(), CHANGES, Some(second), &log));
        session.initialize(&scene.root, &json!({}));
        session.end();
        check_next_start(&scene, trees, None)
            .map_err(|problem| format!("{}, {first:?}, then {second:?}: {problem}", job.name))
    });
    say(&format!("{test}: {} cases", cases.len()));
}

/// Kills in the middle of a job's changes.
fn first_kills(job: &Job) -> Vec<(&'static str, usize)> {
    let mut kills = Vec::new();
    for (call, count) in calls_of(job) {
        match call {
            "renameat2" => kills.extend([(call, 2), (call, count)]),
            "ftruncate" => kills.push((call, count)),
            _ => {}
        }
    }
    kills
}

/// The calls of a job in one session, each with how often it is made there.
pub fn calls_of(job: &Job) -> Vec<(&'static str, usize)> {
    let scene = Job::scene();
    let mut session = begin(job, &scene);
    job.prepare(&scene, &mut session);
    let log = scene.home.join("strace");
    let strace = Strace::attach(session.process_id, CALLS, None, &log);
    job.ask(&scene, &mut session).unwrap().expect("an answer");
    session.end();
    strace.wait();
    let counts = strace::counts(&log);
    let calls: Vec<_> = CALLS.iter().filter_map(|call| Some((*call, *counts.get(*call)?))).collect();
    assert!(!calls.is_empty(), "{}: nothing was seen", job.name);
    calls
}

/// Carries out a job that a fault strikes; `None` if the session ended without an answer.
pub fn attacked(job: &Job, scene: &Scene, injection: Injection) -> Result<Option<Value>, String> {
    let mut session = begin(job, scene);
    job.prepare(scene, &mut session);
    let log = scene.home.join("strace");
    let strace = Strace::attach(session.process_id, CALLS, Some(injection), &log);
    let answer = job.ask(scene, &mut session);
    match answer {
        Ok(_) => session.end(),
        Err(_) => session.kill(),
    }
    strace.wait();
    answer
}

fn begin(job: &Job, scene: &Scene) -> Session {
    let mut session = Session::spawn(scene.command());
    let options = json!({"limits": {"permits": job.at_once}});
    assert!(session.initialize(&scene.root, &options), "the server died");
    session
}

/// After the next start the tree must be what the answer says, or either if there was none, and nothing else is left.
pub fn check_next_start(scene: &Scene, (old, new): &(Tree, Tree), answer: Option<&Value>) -> Result<(), String> {
    let mut session = scene.start();
    let tree = scene.tree();
    let possible: &[&Tree] = match answer.map(|answer| answer["applied"] == true) {
        Some(true) => &[new],
        Some(false) => &[old],
        None => &[old, new],
    };
    if !possible.contains(&&tree) {
        let states = tree.keys().chain(old.keys()).chain(new.keys()).map(|name| (name, state(name, &tree, old, new)));
        let states: BTreeMap<_, _> = states.collect();
        return Err(format!("{states:?} after the answer {answer:?}"));
    }
    let debris = scene.debris();
    if !debris.is_empty() {
        return Err(format!("left behind: {debris:?}"));
    }
    let another = json!({"documentChanges": [{"kind": "create", "uri": scene.uri("another")}]});
    let result = session.ask("ploke/applyEdits", &another).ok_or("the server died")?;
    session.end();
    if result["applied"] == true { Ok(()) } else { Err(format!("another edit fails: {result}")) }
}

fn state(name: &str, tree: &Tree, old: &Tree, new: &Tree) -> &'static str {
    match tree.get(name) {
        now if now == old.get(name) && now == new.get(name) => "the same",
        now if now == old.get(name) => "old",
        now if now == new.get(name) => "new",
        None => "missing",
        Some(_) => "torn",
    }
}

/// Tries all cases, two at a time, and fails with those that do not hold.
pub fn for_each<C: Sync>(cases: &[C], check: impl Fn(&C) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    if let Err(failure) = check(case) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let (failed, all) = (failures.len(), cases.len());
    assert!(failures.is_empty(), "{failed} of {all} cases do not hold\n{}", failures.join("\n"));
}
