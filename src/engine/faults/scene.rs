//! The files that the tests work on.

use super::*;

pub(super) struct NobodyWatches;

impl Observer for NobodyWatches {
    fn root_replaced(&self, _: &Path) {}
    fn will_write(&self, _: &Path, _: Option<ContentHash>, _: Uuid) {}
    fn did_write(&self, _: &Path, _: Option<ContentHash>) {}
    fn did_not_write(&self, _: &Path, _: Option<ContentHash>) {}
}

/// All files beneath a directory by their paths in it; two names of one file are one entry for each.
pub(super) type Tree = BTreeMap<String, FileState>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) content: String,
    /// Permissions; always the same where there are none.
    pub(super) mode: u32,
}

/// A tree with the files `0` to `3` and `link`, another name of `linked`, and a state directory.
pub(super) struct Scene {
    pub(super) dir: tempfile::TempDir,
    pub(super) state: tempfile::TempDir,
    pub(super) file_system: FileSystem,
    pub(super) undo: UndoLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    /// As it is.
    Able,
    /// Without exchanges and files that have no name.
    Plain,
    /// Without second names of files too.
    Plainest,
    /// Files that have no name cannot be given one.
    WithoutProc,
}

impl FileSystem {
    pub(super) const ALL: [Self; 4] = [Self::Able, Self::Plain, Self::Plainest, Self::WithoutProc];

    pub(super) fn unsupported(self) -> &'static [&'static str] {
        match self {
            Self::Able => &[],
            Self::Plain => &["create_unnamed", "exchange"],
            Self::Plainest => &["create_unnamed", "exchange", "link"],
            Self::WithoutProc => &["name"],
        }
    }
}

pub(super) fn old(name: &str) -> String {
    format!("old content of {name}")
}

pub(super) fn new(name: &str) -> String {
    format!("new content of {name}")
}

impl Scene {
    pub(super) fn new(file_system: FileSystem) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0", "1", "2", "3", "linked"] {
            fs::write(dir.path().join(name), old(name)).unwrap();
        }
        fs::hard_link(dir.path().join("linked"), dir.path().join("link")).unwrap();
        #[cfg(unix)]
        for (name, mode) in [("0", 0o640), ("1", 0o4755), ("2", 0o600), ("linked", 0o6751)] {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(dir.path().join(name), permissions).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        for part in ["transactions", "temporary", "undo"] {
            fs::create_dir(state.path().join(part)).unwrap();
        }
        Self { dir, state, file_system, undo: UndoLimits::default() }
    }

    pub(super) fn engine(&self, fault: Option<(usize, Fault)>) -> (Engine, Arc<FaultyDisk>) {
        self.engine_seen_by(Arc::new(NobodyWatches), fault)
    }

    pub(super) fn engine_seen_by(
        &self,
        observer: Arc<dyn Observer>,
        fault: Option<(usize, Fault)>,
    ) -> (Engine, Arc<FaultyDisk>) {
        let disk = Arc::new(FaultyDisk::without(self.file_system.unsupported(), fault));
        let engine = Engine::new(EngineConfig {
            symlink_policy: SymlinkPolicy::default(),
            // One thread, so that the operations come in the same order each time.
            permits: 1,
            open_dirs: 4,
            max_commit_dirs: 8,
            max_file_bytes: 2 << 20,
            cache: Arc::new(HashCache::new(CacheLimits::default())),
            locking: LockingPolicy::None,
            state_dir: Some(self.state.path().to_path_buf()),
            undo: self.undo,
            disk: disk.clone(),
            observer,
        });
        engine.add_root(self.dir.path()).unwrap();
        (engine, disk)
    }

    /// Starts anew, as after a crash, with a disk that may fail again.
    pub(super) fn restart(&self, fault: Option<(usize, Fault)>) -> (RecoveryReport, usize) {
        #[cfg(unix)]
        self.wait_for_locks();
        self.start_beside(fault)
    }

    /// Starts another one, be the first one dead or alive.
    pub(super) fn start_beside(&self, fault: Option<(usize, Fault)>) -> (RecoveryReport, usize) {
        let (engine, disk) = self.engine(fault);
        (engine.recovered(), disk.done.load(SeqCst))
    }

    /// A child process that another test starts has the locks of the dead too, until it runs its program.
    #[cfg(unix)]
    fn wait_for_locks(&self) {
        for part in ["transactions", "temporary", "undo"] {
            for entry in fs::read_dir(self.state.path().join(part)).unwrap() {
                let file = fs::File::open(entry.unwrap().path()).unwrap();
                rustix::fs::flock(file, rustix::fs::FlockOperation::LockExclusive).unwrap();
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn guard(&self, name: &str) -> Guard {
        let content_hash = Some(ContentHash::of(old(name).as_bytes()));
        Guard { content_hash, ..Guard::default() }
    }

    pub(super) fn edit(&self, name: &str) -> Change {
        let edit = TextChange {
            range: Some(TextRange::Bytes { start: 0, end: 3 }),
            new_text: "new".into(),
            expected_text: None,
        };
        Change::Edit(WriteSnippetData { path: self.path(name), expected: self.guard(name), edits: vec![edit] })
    }

    pub(super) fn create(&self, name: &str) -> Change {
        Change::Create(CreateFileData {
            path: self.path(name),
            text: new(name),
            options: CreateOptions { create_parents: true, ..CreateOptions::default() },
            expected: Guard::default(),
        })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Change {
        Change::Rename {
            old_path: self.path(from),
            new_path: self.path(to),
            overwrite: true,
            ignore_if_exists: false,
            expected: self.guard(from),
            expected_overwritten: self.guard(to),
        }
    }

    pub(super) fn rename_new(&self, from: &str, to: &str) -> Change {
        Change::Rename {
            old_path: self.path(from),
            new_path: self.path(to),
            overwrite: false,
            ignore_if_exists: false,
            expected: self.guard(from),
            expected_overwritten: Guard::default(),
        }
    }

    pub(super) fn delete(&self, name: &str) -> Change {
        let expected = self.guard(name);
        Change::Delete { path: self.path(name), ignore_if_not_exists: false, recursive: false, expected }
    }

    pub(super) fn apply(&self, engine: &Engine, scenario: &Scenario, atomicity: Atomicity) -> EditOutcome {
        let unguarded = scenario.name == "exchange two names";
        let changes = (scenario.changes)(self);
        let request = EditRequest { changes, atomicity, origin: ORIGIN, unguarded, ..EditRequest::default() };
        engine.apply(&request, &NoEditor, &CancelToken::new())
    }

    pub(super) fn undo(&self, engine: &Engine) -> EditOutcome {
        let undone = engine.undo(ORIGIN, Uuid::from_u128(2), Durability::Full, &NoEditor, &CancelToken::new());
        undone.ok().flatten().unwrap_or_else(|| EditOutcome {
            applied: false,
            failed_change: Some(0),
            durability: Durability::Full,
            files: Vec::new(),
            file_of_change: Vec::new(),
        })
    }

    pub(super) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(self.dir.path(), "", &mut tree);
        tree
    }

    pub(super) fn content(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// What is in the state directory but should not stay there.
    pub(super) fn left_in_state(&self) -> Vec<String> {
        let mut left = Tree::new();
        for part in ["transactions", "temporary"] {
            collect(&self.state.path().join(part), part, &mut left);
        }
        left.into_keys().collect()
    }
}

pub(super) fn collect(dir: &Path, prefix: &str, tree: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &name, tree);
        } else {
            let content = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            #[cfg(unix)]
            let mode = std::os::unix::fs::MetadataExt::mode(&entry.metadata().unwrap());
            #[cfg(not(unix))]
            let mode = 0;
            tree.insert(name, FileState { content, mode });
        }
    }
}
