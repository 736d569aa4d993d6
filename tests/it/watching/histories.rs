//! Sidecars that end in order or are killed, and roots that come and go: what `ploke/changes` tells adds up to the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::{Path, PathBuf},
};

use ploke_io::protocol::FileUri;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Random, on_disk};
use crate::support::client::Client;

/// How many sidecars there are, one after the other.
const LIVES: &str = "PLOKE_IO_TEST_LIVES";

#[test]
fn over_crashes_and_restarts_the_changes_since_the_last_clock_add_up_to_the_disk() {
    let lives = std::env::var(LIVES).map_or(120, |text| text.parse().unwrap());
    let mut story = Story::new(0x1157);
    for _ in 0..lives {
        story.live();
    }
    assert!(story.known > lives / 4, "only {} clocks were known", story.known);
}

/// What a client knows that asks for nothing but `ploke/changes`.
struct Story {
    home: TempDir,
    outer: PathBuf,
    /// Lies in the other one.
    inner: PathBuf,
    random: Random,
    roots: BTreeSet<PathBuf>,
    picture: BTreeMap<PathBuf, String>,
    clock: Value,
    /// Answers to clocks that were known.
    known: usize,
    rules_are_changed: bool,
    step: u64,
    log: Vec<String>,
}

const NAMES: [&str; 4] = ["a", "b", "inner", "c.log"];

impl Story {
    fn new(seed: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        let outer = home.path().canonicalize().unwrap().join("outer");
        let inner = outer.join("inner");
        fs::create_dir_all(&inner).unwrap();
        Self {
            home,
            outer,
            inner,
            random: Random(seed),
            roots: BTreeSet::new(),
            picture: BTreeMap::new(),
            clock: json!(""),
            known: 0,
            rules_are_changed: false,
            step: 0,
            log: Vec::new(),
        }
    }

    /// A sidecar from its start to its end, and what happens after that.
    fn live(&mut self) {
        let roots = match self.random.below(8) {
            0 => vec![&self.inner],
            1 => vec![&self.outer],
            2 => vec![&self.inner, &self.outer],
            _ => vec![&self.outer, &self.inner],
        };
        let mut client = self.begin(&roots);
        self.roots = roots.into_iter().cloned().collect();
        self.log.push(format!("begins with {:?}", self.roots));
        // Not each is asked before it ends.
        for _ in 0..self.random.below(5) {
            self.ask(&mut client);
            match self.random.below(4) {
                0 => self.change_roots(&mut client),
                _ => self.change_files(),
            }
        }
        match self.random.below(2) {
            0 => client.leave(),
            _ => client.kill(),
        }
        self.log.push("ends".into());
        self.change_files();
    }

    fn begin(&self, roots: &[&PathBuf]) -> Client {
        let folders: Vec<_> = roots.iter().map(|root| folder(root)).collect();
        let settings = json!({ "watch": { "enabled": true } });
        let patch = json!({ "workspaceFolders": folders, "initializationOptions": settings });
        Client::binary(self.home.path(), &self.outer, &patch)
    }

    fn change_roots(&mut self, client: &mut Client) {
        let root = if self.random.below(2) == 0 { &self.outer } else { &self.inner };
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        if self.roots.remove(root) {
            removed.push(folder(root));
        } else {
            self.roots.insert(root.clone());
            added.push(folder(root));
        }
        let event = json!({ "event": { "added": added, "removed": removed } });
        client.notify("workspace/didChangeWorkspaceFolders", event);
        self.log.push(format!("goes on with {:?}", self.roots));
    }

    /// What cannot be done is left.
    fn change_files(&mut self) {
        for _ in 0..self.random.below(12) {
            self.step += 1;
            let (path, other) = (self.path(), self.path());
            let done = match self.random.below(16) {
                0..=5 => fs::write(&path, self.step.to_string()).map(|()| "write"),
                6..=8 => fs::create_dir_all(&path).map(|()| "make"),
                9..=11 => fs::remove_file(&path).map(|()| "remove"),
                12..=13 => fs::rename(&path, &other).map(|()| "rename"),
                14 => fs::remove_dir_all(&path).map(|()| "remove all of"),
                // A file that goes while it is left out is not told, so that nothing is hidden and shown in between.
                _ if mem::replace(&mut self.rules_are_changed, true) => continue,
                _ if self.has_rules() => fs::remove_file(self.outer.join(RULES)).map(|()| "no rules, not of"),
                _ => fs::write(self.outer.join(RULES), "*.log\n").map(|()| "rules, not of"),
            };
            if let Ok(done) = done {
                self.log.push(format!("{done} {} {}", path.display(), other.display()));
            }
            if !self.inner.is_dir() {
                // A root that is missing is another story.
                drop(fs::remove_file(&self.inner));
                fs::create_dir(&self.inner).unwrap();
            }
        }
    }

    fn path(&mut self) -> PathBuf {
        let depth = 1 + self.random.below(3);
        (0..depth).fold(self.outer.clone(), |path, _| path.join(NAMES[self.random.below(NAMES.len() as u64) as usize]))
    }

    /// Asks what has changed, and fails unless the picture then is what is on disk.
    fn ask(&mut self, client: &mut Client) {
        let answer = client.request("ploke/changes", json!({ "since": self.clock }));
        self.log.push(format!("since {} told {answer}", self.clock));
        self.clock = answer["clock"].clone();
        self.rules_are_changed = false;
        match answer["freshInstance"] == true {
            true => self.picture.clear(),
            false => self.known += 1,
        }
        for change in answer["changes"].as_array().unwrap() {
            let path = change["uri"].as_str().unwrap().parse::<FileUri>().unwrap().path().to_path_buf();
            if change["kind"] == "deleted" {
                self.picture.remove(&path);
            } else {
                self.picture.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
        let mut picture = mem::take(&mut self.picture);
        picture.retain(|file, _| self.is_told(file));
        let disk = on_disk(&self.outer).into_keys().filter(|file| self.is_told(file));
        let disk = disk.map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect();
        assert_eq!(picture, disk, "after {:#?}", self.log);
        self.picture = picture;
    }

    /// Whether the client wants to know of a file by the roots and rules that there are now.
    fn is_told(&self, file: &Path) -> bool {
        let Some(root) = self.roots.iter().rfind(|root| file.starts_with(root)) else { return false };
        let has_rules = *root == self.outer && self.has_rules();
        let below = file.strip_prefix(root).unwrap();
        !(has_rules && below.iter().any(|name| Path::new(name).extension().is_some_and(|end| end == "log")))
    }

    fn has_rules(&self) -> bool {
        self.outer.join(RULES).exists()
    }
}

const RULES: &str = ".gitignore";

fn folder(root: &Path) -> Value {
    json!({ "uri": FileUri::from_path(root), "name": "root" })
}
