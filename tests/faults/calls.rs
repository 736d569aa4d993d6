//! How many system calls a change takes.

use crate::{
    jobs::{FIVE_FILES, Job},
    scene::skipped,
    strace::{self, Strace},
};

#[test]
fn files_are_read_in_large_pieces() {
    if let Some(missing) = strace::missing() {
        return skipped("reads of an edit", missing);
    }
    let scene = Job::scene();
    let mut session = scene.start();
    let log = scene.home.join("strace");
    let strace = Strace::attach(session.process_id, &["read", "pread64"], None, &log);
    FIVE_FILES.ask(&scene, &mut session).unwrap().expect("an answer");
    session.end();
    strace.wait();
    let reads: usize = strace::counts(&log).values().sum();
    assert!(reads < 100, "one thread has read {reads} times for five files of 20 kB");
}
