//! The project a demo works on: a temporary one, made from scratch or copied.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::hash::ContentHash;

/// A throwaway project; its directory goes when it is dropped.
#[derive(Debug)]
pub(super) struct Project {
    pub root: PathBuf,
    pub files: Vec<ProjectFile>,
    /// The file that is edited.
    pub target: Target,
    pub skipped: Skipped,
    temporary: TempDir,
}

#[derive(Debug, PartialEq)]
pub(super) struct ProjectFile {
    /// Relative to the root.
    pub path: PathBuf,
    pub hash: ContentHash,
}

/// A text file and two lines of it.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    /// Relative to the root.
    pub path: PathBuf,
    pub text: String,
    /// Byte ranges, without the line endings.
    pub lines: [Range<usize>; 2],
}

/// What of a directory was not copied.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Skipped {
    /// Repositories, build output and dependencies.
    pub directories: usize,
    pub links: usize,
    /// Neither file, directory nor link, or not readable.
    pub unreadable: usize,
    pub beyond_limit: bool,
}

/// How much is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub files: usize,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ProjectError {
    #[error("could not read {}: {source}", .path.display())]
    Source { path: PathBuf, source: io::Error },
    #[error("could not make a temporary project: {0}")]
    Temporary(#[from] io::Error),
    #[error("there is no text file with at least two lines in {}", .0.display())]
    NoTarget(PathBuf),
}

/// Larger texts are not edited: their diffs and messages are no good to look at.
const LARGEST_TARGET: usize = 1 << 20;
const SKIPPED_DIRECTORIES: [&str; 5] = [".git", ".hg", ".jj", "target", "node_modules"];

impl Project {
    pub(super) fn sample() -> Result<Self, ProjectError> {
        let temporary = TempDir::with_prefix("ploke-io-demo-")?;
        let root = temporary.path().join("sample");
        for (path, text) in SAMPLE {
            write(&root.join(path), text.as_bytes())?;
        }
        let paths = SAMPLE.iter().map(|(path, _)| PathBuf::from(path)).collect();
        Self::new(temporary, &root, paths, Skipped::default()).and_then(|project| project.ok_or(ProjectError::NoTarget(root)))
    }
}
