//! The library through its public interface, on a real disk.

mod buffers;
mod edits;
#[cfg(unix)]
mod hard_links;
mod manager;
mod metadata;
mod reads;
#[cfg(unix)]
mod roots;
mod scans;

use std::{
    fs,
    path::{Path, PathBuf},
};

use ploke_io::{
    CancelToken,
    engine::{
        Change, ChangedFileData, EditOutcome, EditRequest, EmbeddingData, FileData, Guard, Snippet, TextChange,
        TextRange, WriteSnippetData,
    },
    error::IoError,
    hash::ContentHash,
    manager::{IoManagerBuilder, IoManagerHandle},
};

/// A temporary directory with a manager whose only root is its folder `root`.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub manager: IoManagerHandle,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(|builder, root| builder.with_roots([root]))
    }

    pub fn with(configure: impl FnOnce(IoManagerBuilder, &Path) -> IoManagerBuilder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let manager = configure(IoManagerBuilder::new(), &root).build().unwrap();
        Self { dir, manager }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Names in the root and below, sorted; directories end with a slash.
    pub fn names(&self) -> Vec<String> {
        fn collect(dir: &Path, prefix: &str, names: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_type().unwrap().is_dir() {
                    collect(&entry.path(), &format!("{name}/"), names);
                    names.push(format!("{name}/"));
                } else {
                    names.push(name);
                }
            }
        }
        let mut names = Vec::new();
        collect(&self.root(), "", &mut names);
        names.sort();
        names
    }

    pub fn snippet(&self, request: EmbeddingData) -> Result<Snippet, IoError> {
        self.manager.snippets(&[request], &CancelToken::new()).unwrap().remove(0)
    }

    pub fn read_whole(&self, path: impl Into<PathBuf>) -> Result<String, IoError> {
        self.snippet(EmbeddingData { path: path.into(), ..EmbeddingData::default() }).map(|snippet| snippet.text)
    }

    pub fn scan(&self, request: FileData) -> Result<ChangedFileData, IoError> {
        self.manager.scan(&[request], &CancelToken::new()).unwrap().remove(0)
    }

    pub fn apply(&self, request: &EditRequest) -> EditOutcome {
        self.manager.apply(request, &CancelToken::new()).unwrap()
    }

    /// Replaces a range of a file that is expected to have this content.
    pub fn edit(&self, path: impl Into<PathBuf>, expected: &str, range: (u64, u64), new_text: &str) -> EditOutcome {
        self.apply(&request([edit(path, guard(expected), [(range, new_text)])]))
    }
}

pub fn guard(content: impl AsRef<[u8]>) -> Guard {
    Guard { content_hash: Some(ContentHash::of(content.as_ref())), ..Guard::default() }
}

pub fn request(changes: impl IntoIterator<Item = Change>) -> EditRequest {
    EditRequest { changes: changes.into_iter().collect(), ..EditRequest::default() }
}

pub fn edit<'t>(
    path: impl Into<PathBuf>,
    expected: Guard,
    edits: impl IntoIterator<Item = ((u64, u64), &'t str)>,
) -> Change {
    let edits = edits.into_iter().map(|((start, end), new_text)| TextChange {
        range: Some(TextRange::Bytes { start, end }),
        new_text: new_text.into(),
        expected_text: None,
    });
    Change::Edit(WriteSnippetData { path: path.into(), expected, edits: edits.collect() })
}

/// The error of the first file that has one, as text.
pub fn error_of(outcome: &EditOutcome) -> String {
    let error = outcome.files.iter().find_map(|file| file.error.as_ref());
    error.map_or_else(|| "no error".into(), |error| format!("{:?}", error.kind))
}
