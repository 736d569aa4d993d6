//! The power fails: an ext4 file system is stopped at once, and what was not synced is gone.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    mounts::Mounted,
    scene::{Scene, hash, say, skipped},
};

/// Rounds, unless `PLOKE_IO_TEST_POWER_CUTS` says how many.
const ROUNDS: u64 = 20;
const EDITED: usize = 3;

#[test]
fn after_a_power_cut_every_acknowledged_transaction_is_there_and_none_is_torn() {
    check_power_cuts("power cuts", 1);
}

#[test]
fn after_a_power_cut_the_same_holds_where_the_state_directory_is_on_another_disk() {
    check_power_cuts("power cuts of two disks", 2);
}

/// The tree is on the first disk, the state directory on the last.
fn check_power_cuts(test: &str, disks: usize) {
    let begin = Instant::now();
    let rounds = std::env::var("PLOKE_IO_TEST_POWER_CUTS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().canonicalize().unwrap();
    let disks: Result<Vec<_>, _> = (0..disks).map(|number| Disk::new(&directory, number)).collect();
    let mut disks = match disks {
        Ok(disks) => disks,
        Err(missing) => return skipped(test, &missing),
    };
    let scene = Scene::with(disks[0].place.join("root"), disks[disks.len() - 1].place.join("home"));
    for (name, text) in expected(0) {
        scene.write(&name, &text);
    }
    fs::remove_file(scene.path("link")).unwrap();
    fs::hard_link(scene.path("linked"), scene.path("link")).unwrap();
    disks.iter().for_each(|disk| rustix::fs::syncfs(File::open(&disk.place).unwrap()).unwrap());

    let (mut state, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        let before = state;
        // One of them is always the first.
        disks.reverse();
        let last = edit_until_the_power_fails(&scene, &disks, state, moment(round));
        disks.iter_mut().for_each(Disk::mount_again);
        scene.start().end();
        let found = texts(&scene);
        let possible = last.acknowledged..=last.asked;
        let now = possible.clone().find(|state| expected(*state) == found);
        state = now.unwrap_or_else(|| panic!("round {round}: none of {possible:?}, but {}", shown(&found)));
        assert_eq!(scene.debris(), Vec::<String>::new(), "round {round}");
        acknowledged += last.acknowledged - before;
    }
    assert!(acknowledged > rounds / 2, "hardly any transaction was acknowledged");
    say(&format!("{test}: {rounds} rounds, {acknowledged} transactions acknowledged, {:?}", begin.elapsed()));
}

/// A file system of its own.
struct Disk {
    place: PathBuf,
    image: PathBuf,
    mounted: Option<Mounted>,
}

impl Disk {
    fn new(directory: &Path, number: usize) -> Result<Self, String> {
        let [place, image] = ["mount", "image"].map(|name| directory.join(format!("{name}-{number}")));
        let mounted = Some(Mounted::ext4(&place, &image, 64 << 20)?);
        Ok(Self { place, image, mounted })
    }

    fn mount_again(&mut self) {
        self.mounted.take().unwrap().unmount().unwrap();
        self.mounted = Some(Mounted::image(&self.place, &self.image).unwrap());
    }
}

struct Last {
    acknowledged: u64,
    asked: u64,
}

/// Transactions one after the other, each from one state to the next.
fn edit_until_the_power_fails(scene: &Scene, disks: &[Disk], state: u64, moment: Duration) -> Last {
    let mut session = scene.start();
    let (begin, begun) = mpsc::channel();
    let disks: Vec<_> = disks.iter().map(|disk| File::open(&disk.place).unwrap()).collect();
    let cut = thread::spawn(move || {
        begun.recv().unwrap();
        thread::sleep(moment);
        disks.iter().for_each(|disk| cut_power(disk).unwrap());
    });
    let mut last = Last { acknowledged: state, asked: state };
    begin.send(()).unwrap();
    loop {
        last.asked += 1;
        let answer = session.ask("ploke/applyEdits", &transaction(scene, last.asked));
        match answer {
            Some(result) if result["applied"] == true && result["durability"] == "full" => {
                last.acknowledged = last.asked;
            }
            // Nothing is durable any more.
            Some(_) | None => break,
        }
    }
    cut.join().unwrap();
    session.kill();
    last
}

fn cut_power(disk: &File) -> io::Result<()> {
    use rustix::ioctl::{Setter, ioctl, opcode};
    const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    const WITHOUT_FLUSHING_THE_LOG: u32 = 2;
    // SAFETY: the call reads one number of 32 bits.
    Ok(unsafe { ioctl(disk, Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSHING_THE_LOG)) }?)
}

/// Different in each round and the same in each run.
fn moment(round: u64) -> Duration {
    let random = u64::from_le_bytes(blake3::hash(&round.to_le_bytes()).as_bytes()[..8].try_into().unwrap());
    Duration::from_micros(random % 120_000)
}

/// The files after so many transactions. Of three the first changes a single file, the second deletes another one, and the
/// third changes all the rest and makes that one again, elsewhere.
fn expected(state: u64) -> BTreeMap<String, String> {
    let (several, single) = (state / 3, state.div_ceil(3));
    let text = |name: &str, times: u64| format!("{name} after {times} changes\n").repeat(300);
    let edited = (0..EDITED).map(|index| format!("edited-{index}"));
    // Never the same place twice in a row.
    let created = format!("made/in-{}/created", several % 7);
    let created = Some(created).filter(|_| state % 3 != 2);
    let mut files: BTreeMap<_, _> = edited.chain(created).map(|name| (name.clone(), text(&name, several))).collect();
    // One file with two names.
    files.extend(["linked", "link"].map(|name| (name.to_owned(), text("linked", several))));
    files.insert(format!("renamed-{several}"), "always the same".into());
    files.insert("single".into(), text("single", single));
    files
}

fn transaction(scene: &Scene, state: u64) -> Value {
    let (old, new) = (expected(state - 1), expected(state));
    let guard = |name: &str| json!({"contentHash": hash(&old[name])});
    let mut changes = Vec::new();
    for (name, text) in new.iter().filter(|(name, _)| *name != "link") {
        if let Some(before) = old.get(name) {
            if before == text {
                continue;
            }
            let edits = [json!({"range": {"startByte": 0, "endByte": before.len()}, "newText": text})];
            changes.push(json!({"textDocument": {"uri": scene.uri(name)}, "expected": guard(name), "edits": edits}));
        } else if name.starts_with("made") {
            let options = json!({"createParents": true});
            changes.push(json!({"kind": "create", "uri": scene.uri(name), "text": text, "options": options}));
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        changes.push(if name.starts_with("renamed") {
            let to = scene.uri(&format!("renamed-{}", state / 3));
            json!({"kind": "rename", "oldUri": scene.uri(name), "newUri": to, "expected": guard(name)})
        } else {
            json!({"kind": "delete", "uri": scene.uri(name), "expected": guard(name)})
        });
    }
    json!({"documentChanges": changes})
}

fn texts(scene: &Scene) -> BTreeMap<String, String> {
    scene.tree().into_iter().map(|(name, file)| (name, file.text)).collect()
}

fn shown(files: &BTreeMap<String, String>) -> String {
    let lines = files.iter().map(|(name, text)| format!("{name}: {} bytes, {:?}", text.len(), text.lines().next()));
    lines.collect::<Vec<_>>().join("; ")
}
