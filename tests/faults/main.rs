//! The write path of the built binary under real faults: killed at any system call, refused by the system, cut off from
//! power, out of space, crowded, and tricked by whoever else writes in the same tree.
//!
//! - `support`: the client, shared with the tests in `it`. `scene`: a tree, what is kept for its user, and sessions on them.
//!   `strace`: counts system calls, and kills or fails at the one that is asked for. `mounts`: file systems for one test.
//! - What a test needs and does not find, a tool or the rights of root, it names in a line that begins with SKIPPED.
#![cfg(target_os = "linux")]

mod appender;
mod calls;
mod crowd;
mod full_disk;
mod jobs;
mod kills;
mod mounts;
mod power_cut;
mod refusals;
mod scene;
mod strace;
// Each test binary uses a part of it.
#[allow(dead_code)]
#[path = "../it/support/mod.rs"]
mod support;
mod swapped_links;
