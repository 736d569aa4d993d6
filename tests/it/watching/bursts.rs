//! Much at once, and much in a row, seen as it is pushed.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::Watched;

#[test]
fn five_thousand_files_made_at_once_are_all_told_soon() {
    let mut watched = Watched::new(json!({}), |_| {});
    for number in 0..5000 {
        fs::write(watched.root.join(format!("f{number}")), "x").unwrap();
    }
    let made = Instant::now();
    watched.hear_until_told(5000);
    println!("5000 files are told {:?} after the last was made", made.elapsed());
    // Generous, since other tests run at the same time; what it rules out is time that grows with the number of files.
    assert!(made.elapsed() < Duration::from_secs(5), "{:?}", made.elapsed());
    watched.assert_true();
    assert_eq!(watched.told.len(), 5000, "each is told once");
}

#[test]
fn what_is_written_into_new_directories_at_once_is_told() {
    let mut watched = Watched::new(json!({}), |_| {});
    for number in 0..200 {
        let directory = watched.root.join(format!("{number}/b/c"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), "x").unwrap();
    }
    watched.hear_until_told(200);
    watched.assert_true();
    assert_eq!(watched.told.len(), 200, "each is told once");
}

#[test]
fn a_file_rewritten_without_pause_is_told_meanwhile_and_truly_at_last() {
    let mut watched = Watched::new(json!({ "debounceMs": 200 }), |root| fs::write(root.join("busy"), "").unwrap());
    let (busy, told_enough) = (watched.root.join("busy"), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..400).take_while(|_| !told_enough.load(Relaxed)) {
                fs::write(&busy, number.to_string()).unwrap();
                // The pace of the writer.
                thread::sleep(Duration::from_millis(83));
            }
        });
        watched.hear_until_told(2);
        told_enough.store(true, Relaxed);
    });
    watched.assert_true();
}
