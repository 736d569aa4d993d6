//! The system refuses one call of the write path: the answer says what is on the disk, and nothing stays behind.

use serde_json::{Value, json};

use crate::{
    jobs::{JOBS, Job},
    kills::{attacked, calls_of, check_next_start, for_each},
    scene::{Scene, Tree, say, skipped},
    strace::{self, Fault, Injection, injected},
};

const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "write",
    "fchmod",
    "ftruncate",
    "fsync",
    "fdatasync",
    "linkat",
    "mkdirat",
    "renameat2",
    "unlinkat",
    "flock",
];

#[test]
fn whatever_the_system_refuses_the_answer_is_true() {
    let test = "each system call fails";
    if let Some(missing) = strace::missing() {
        return skipped(test, missing);
    }
    let trees: Vec<(Tree, Tree)> = JOBS.iter().map(Job::trees).collect();
    let mut cases = Vec::new();
    for (job, trees) in JOBS.iter().zip(&trees).filter(|(job, _)| job.at_once == 1) {
        for (call, mut count) in calls_of(job).into_iter().filter(|(call, _)| CALLS.contains(call)) {
            if call == "write" {
                // The last one is the answer.
                count -= 1;
            }
            for fault in [Fault::Error("EIO"), Fault::Error("ENOSPC")] {
                cases.extend((1..=count).map(|nth| (job, trees, Injection { call, nth, fault })));
            }
        }
    }
    for_each(&cases, |&(job, trees, injection)| {
        let scene = Job::scene();
        let answer = attacked(job, &scene, injection);
        let struck = injected(&scene.home.join("strace")).unwrap_or_default();
        let checked = refused_as_a_whole(answer).and_then(|answer| {
            check_answer(&scene, trees, answer.as_ref(), &struck)?;
            check_next_start(&scene, trees, answer.as_ref())
        });
        checked.map_err(|problem| format!("{}, {injection:?}, {struck}: {problem}", job.name))
    });
    say(&format!("{test}: {} cases", cases.len()));
}

#[test]
fn a_quota_that_is_used_up_is_named() {
    if let Some(missing) = strace::missing() {
        return skipped("a quota that is used up", missing);
    }
    let job = &JOBS[0];
    let trees = job.trees();
    let writes = calls_of(job).into_iter().find_map(|(call, count)| (call == "write").then_some(count)).unwrap();
    let mut refused = 0;
    // The last one is the answer.
    for nth in 1..writes {
        let scene = Job::scene();
        let injection = Injection { call: "write", nth, fault: Fault::Error("EDQUOT") };
        let answer = refused_as_a_whole(attacked(job, &scene, injection)).unwrap().expect("an answer");
        check_answer(&scene, &trees, Some(&answer), "").unwrap();
        if answer["applied"] == false {
            assert!(answer.to_string().contains("EDQUOT"), "{answer}");
            refused += 1;
        }
    }
    assert!(refused > 0, "no write of the file was refused");
}

/// An error response says that nothing was changed, and why.
fn refused_as_a_whole(answer: Result<Option<Value>, String>) -> Result<Option<Value>, String> {
    match answer {
        Err(response) if response.contains(r#""kind":"io""#) => {
            Ok(Some(json!({"applied": false, "failureReason": response})))
        }
        answer => answer,
    }
}

/// Before any other start.
fn check_answer(scene: &Scene, (old, new): &(Tree, Tree), answer: Option<&Value>, struck: &str) -> Result<(), String> {
    let answer = answer.ok_or("no answer")?;
    let applied = answer["applied"] == true;
    let tree = scene.tree();
    if tree != *(if applied { new } else { old }) {
        return Err(format!("this is not what is on the disk: {answer}"));
    }
    let temporary: Vec<_> = scene.debris().into_iter().filter(|name| !name.starts_with("record ")).collect();
    if !temporary.is_empty() {
        return Err(format!("left behind: {temporary:?} after {answer}"));
    }
    if applied
        && struck.contains("sync(")
        && answer["durability"] == "full"
        && struck.contains(scene.root.to_str().unwrap())
    {
        return Err(format!("not as durable as it says: {answer}"));
    }
    if !applied && answer["failureReason"].is_null() {
        return Err(format!("no reason: {answer}"));
    }
    Ok(())
}
