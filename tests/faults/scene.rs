//! A tree to edit, and sessions with the built binary on it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{
    connection::{Connection, binary_command},
    peer::{Peer, initialize_params},
    values::file_uri,
};

/// Two directories: the root that is edited, and the home of what the server keeps.
pub struct Scene {
    pub root: PathBuf,
    pub home: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

/// What a file is, as far as an edit must keep or change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    pub text: String,
    mode: u32,
    links: u64,
}

/// All files of a tree by their path below its root.
pub type Tree = BTreeMap<String, FileState>;

impl Scene {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().canonicalize().unwrap();
        Self { _temporary: Some(temporary), ..Self::in_directory(&directory) }
    }

    /// A scene that stays when this is dropped; what is there already is used.
    pub fn in_directory(directory: &Path) -> Self {
        Self::with(directory.join("root"), directory.join("home"))
    }

    pub fn with(root: PathBuf, home: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&home).unwrap();
        Self { root, home, _temporary: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn uri(&self, name: &str) -> String {
        file_uri(&self.path(name))
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self) -> Command {
        binary_command(&self.home)
    }

    /// A session that is initialized, so that what a crash had left is recovered.
    pub fn start(&self) -> Session {
        let mut session = Session::spawn(self.command());
        assert!(session.initialize(&self.root, &json!({})), "the server died");
        session
    }

    /// All files but those that only a write in progress may have.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(&self.root, &self.root, &mut tree);
        tree.retain(|path, _| !is_temporary(path));
        tree
    }

    /// The temporary files of writes that are in the tree, and the records of transactions.
    pub fn debris(&self) -> Vec<String> {
        let mut tree = Tree::new();
        collect(&self.root, &self.root, &mut tree);
        let temporary = tree.into_keys().filter(|path| is_temporary(path));
        temporary.chain(self.records().into_iter().map(|name| format!("record {name}"))).collect()
    }

    fn records(&self) -> Vec<String> {
        let transactions = self.home.join("state/ploke-io/transactions");
        let Ok(entries) = fs::read_dir(transactions) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

fn collect(root: &Path, directory: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            collect(root, &path, tree);
        } else if meta.is_file() {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            tree.insert(name, FileState { text, mode: meta.mode(), links: meta.nlink() });
        }
    }
}

fn is_temporary(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(".ploke-io."))
}

/// A session that may end at any moment.
pub struct Session {
    peer: Peer,
    pub process_id: u32,
    next_id: i64,
}

impl Session {
    pub fn spawn(command: Command) -> Self {
        let (connection, process_id) = Connection::spawn(command);
        Self { peer: Peer::new(connection), process_id, next_id: 1 }
    }

    /// `false` if it ended before it answered.
    pub fn initialize(&mut self, root: &Path, options: &Value) -> bool {
        let patch = json!({"initializationOptions": options});
        let params = initialize_params(&file_uri(root), &patch);
        let answered = self.ask("initialize", &params).is_some();
        answered && self.peer.notify("initialized", Some(&json!({}))).is_ok()
    }

    /// The result of a request; `None` if the session ended before it came. An error response is a panic.
    pub fn ask(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.try_to_ask(method, params).unwrap_or_else(|problem| panic!("{method}: {problem}"))
    }

    /// The same, but an error response, or none at all while the session goes on, is an error.
    pub fn try_to_ask(&mut self, method: &str, params: &Value) -> Result<Option<Value>, String> {
        let id = json!(self.next_id);
        self.next_id += 1;
        self.peer.request(&id, method, Some(params))?;
        match self.peer.response(&id) {
            Ok(mut response) if response.get("result").is_some() => Ok(Some(response["result"].take())),
            Ok(response) => Err(response.to_string()),
            Err(error) if error.contains("nothing came") => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Ends its input and waits for its end.
    pub fn end(mut self) {
        self.peer.close_input();
        self.wait();
    }

    pub fn kill(self) {
        kill(self.process_id);
        self.wait();
    }

    fn wait(mut self) {
        match self.peer.end() {
            Err(error) if error.contains("nothing came") || error.contains("did not end") => panic!("{error}"),
            // What nobody claimed are notifications, and the code is that of a signal.
            Ok(_) | Err(_) => {}
        }
    }
}

pub fn kill(process_id: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    let process_id = Pid::from_raw(process_id as i32).unwrap();
    // It may have ended by itself.
    let _ = kill_process(process_id, Signal::KILL);
}

/// Says so that nobody overlooks it, whatever the test runner does with the output of tests that pass.
pub fn say(text: &str) {
    // A print macro would be caught.
    io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

pub fn skipped(test: &str, missing: &str) {
    let first_line = missing.lines().next().unwrap_or_default();
    say(&format!("SKIPPED {test}: {first_line}"));
}

/// Runs a program to its end; its error output if it fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {error}")) }
}

pub fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
