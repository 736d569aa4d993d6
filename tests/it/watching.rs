//! What a client believes that knows nothing but the notifications, against what is on disk.

mod bursts;
mod histories;
#[cfg(target_os = "linux")]
mod limits;
mod others;
mod soak;
mod tools;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ploke_io::{hash::ContentHash, protocol::FileUri};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;

/// A watched directory, the sidecar that watches it, and the picture of it that the notifications add up to.
pub struct Watched {
    /// Ends before the directory goes.
    pub client: Option<Client>,
    pub home: TempDir,
    pub root: PathBuf,
    /// Content hash of each file; of a link or a file without a hash, nothing.
    picture: BTreeMap<PathBuf, Option<String>>,
    seq: u64,
    /// All changes that were told, in short.
    pub told: Vec<String>,
}

impl Watched {
    pub fn new(settings: Value, prepare: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let mut watched = Self { client: None, home, root, picture: BTreeMap::new(), seq: 0, told: Vec::new() };
        watched.start(settings);
        watched
    }

    /// Starts a sidecar; what is there now is where the picture begins.
    pub fn start(&mut self, mut settings: Value) {
        settings["enabled"] = json!(true);
        let patch = json!({ "initializationOptions": { "watch": settings }, "clientInfo": { "name": "tests" } });
        self.client = Some(Client::binary(self.home.path(), &self.root, &patch));
        self.seq = 0;
        self.request("ploke/sync", json!({}));
        self.picture = on_disk(&self.root);
    }

    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.client.as_mut().unwrap().request(method, params)
    }

    /// Takes in everything that has happened.
    pub fn sync(&mut self) {
        let last = self.request("ploke/sync", json!({}))["seq"].as_u64().unwrap();
        self.hear_until(last);
    }

    pub fn hear_until(&mut self, last: u64) {
        while self.seq < last {
            self.hear();
        }
    }

    /// Waits until so many changes have been told.
    pub fn hear_until_told(&mut self, changes: usize) {
        while self.told.len() < changes {
            self.hear();
        }
    }

    fn hear(&mut self) {
        let note = self.client.as_mut().unwrap().next_notification("ploke/fileChanged");
        self.seq += 1;
        assert_eq!(note["seq"], self.seq);
        assert!(note.get("rescan").is_none(), "a rescan after {:?}", self.told.last());
        for change in note["changes"].as_array().unwrap() {
            self.apply(change);
        }
    }

    /// Fails unless the picture is what is on disk, once everything has been told.
    pub fn assert_true(&mut self) {
        self.sync();
        let disk = on_disk(&self.root);
        let mut paths: Vec<_> = self.picture.keys().chain(disk.keys()).collect();
        paths.dedup();
        let different = paths.into_iter().filter(|path| self.picture.get(*path) != disk.get(*path));
        let different: Vec<_> = different
            .map(|path| {
                let name = path.strip_prefix(&self.root).unwrap().display().to_string();
                let about = self.told.iter().filter(|line| line.contains(&name)).collect::<Vec<_>>();
                format!("{name}: told {:?}, on disk {:?}, by {about:?}", self.picture.get(path), disk.get(path))
            })
            .collect();
        assert!(different.is_empty(), "{}", different.join("\n"));
    }

    /// The changes of a path that were told, such as `modified`.
    pub fn told_of(&self, name: &str) -> Vec<&str> {
        let told = self.told.iter().filter_map(|line| line.split_once(' ')).filter(|(_, path)| *path == name);
        told.map(|(kind, _)| kind).collect()
    }

    fn apply(&mut self, change: &Value) {
        let path = |field: &str| change[field].as_str().unwrap().parse::<FileUri>().unwrap().path().to_path_buf();
        let (uri, hash) = (path("uri"), change["contentHash"].as_str().map(str::to_owned));
        let kind = change["kind"].as_str().unwrap();
        let is_directory = change["directory"] == true;
        self.told.push(format!("{kind} {}", uri.strip_prefix(&self.root).unwrap_or(&uri).display()));
        match (kind, is_directory) {
            ("created" | "modified", _) => drop(self.picture.insert(uri, hash)),
            ("deleted", false) => drop(self.picture.remove(&uri)),
            ("deleted", true) => self.picture.retain(|file, _| file == &uri || !file.starts_with(&uri)),
            ("renamed", false) => {
                assert!(self.picture.remove(&path("oldUri")).is_some(), "{change}");
                self.picture.insert(uri, hash);
            }
            ("renamed", true) => {
                let old = path("oldUri");
                for (file, hash) in std::mem::take(&mut self.picture) {
                    let moved = file.strip_prefix(&old).ok().filter(|rest| !rest.as_os_str().is_empty());
                    self.picture.insert(moved.map_or(file.clone(), |rest| uri.join(rest)), hash);
                }
            }
            _ => panic!("{change}"),
        }
    }
}

/// All that is watched: not `.git`, nor what the tests call `target`.
pub fn on_disk(root: &Path) -> BTreeMap<PathBuf, Option<String>> {
    let mut files = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if entry.file_name() == ".git" || entry.file_name() == "target" {
                continue;
            }
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                let hash = ContentHash::of(&fs::read(&path).unwrap()).to_string();
                files.insert(path, Some(hash));
            } else {
                files.insert(path, None);
            }
        }
    }
    files
}

/// Small, and the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
