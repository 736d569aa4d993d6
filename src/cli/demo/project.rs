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
    /// A small project with Rust, Markdown and a file with CRLF line endings.
    pub(super) fn sample() -> Result<Self, ProjectError> {
        let (temporary, root) = temporary_root("sample")?;
        for (path, text) in SAMPLE {
            write(&root.join(path), text.as_bytes())?;
        }
        let paths = SAMPLE.iter().map(|(path, _)| PathBuf::from(path)).collect();
        Self::at(root, temporary, paths, Skipped::default())
    }

    /// A copy of a directory, up to these limits; the directory itself is only read.
    pub(super) fn copy_of(dir: &Path, limits: Limits) -> Result<Self, ProjectError> {
        let dir = fs::canonicalize(dir).map_err(|source| ProjectError::Source { path: dir.into(), source })?;
        // Listed before the temporary directory is made, which may be inside.
        let mut listing = Listing::of(&dir, limits)?;
        let (temporary, root) = temporary_root(dir.file_name().unwrap_or(OsStr::new("root")))?;
        let mut copied = Vec::new();
        for path in listing.files {
            match fs::read(dir.join(&path)) {
                Ok(bytes) => {
                    write(&root.join(&path), &bytes)?;
                    copied.push(path);
                }
                Err(_) => listing.skipped.unreadable += 1,
            }
        }
        Self::at(root, temporary, copied, listing.skipped).map_err(|error| match error {
            ProjectError::NoTarget(_) => ProjectError::NoTarget(dir),
            error => error,
        })
    }

    /// Where the sidecar may put its log.
    pub(super) fn log_dir(&self) -> PathBuf {
        self.temporary.path().join("log")
    }

    fn at(root: PathBuf, temporary: TempDir, mut paths: Vec<PathBuf>, skipped: Skipped) -> Result<Self, ProjectError> {
        paths.sort();
        let (rust, other): (Vec<_>, Vec<_>) = paths.iter().partition(|path| is_rust(path));
        let mut candidates = rust.into_iter().chain(other);
        let Some(target) = candidates.find_map(|path| Target::new(path, fs::read(root.join(path)).ok()?)) else {
            return Err(ProjectError::NoTarget(root));
        };
        let mut files = Vec::new();
        for path in paths {
            let hash = ContentHash::of(&fs::read(root.join(&path))?);
            files.push(ProjectFile { path, hash });
        }
        Ok(Self { root, files, target, skipped, temporary })
    }
}

impl Target {
    fn new(path: &Path, bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= LARGEST_TARGET)?;
        let lines = text_lines(&text);
        let is_function = |line: &&Range<usize>| is_rust(path) && text[line.start..line.end].contains("fn ");
        let first = lines.iter().find(is_function).or(lines.first())?;
        let others = || lines.iter().filter(|line| *line != first);
        let second = others().find(is_function).or(others().next_back())?;
        let lines = [first.clone(), second.clone()];
        Some(Self { path: path.to_path_buf(), text, lines })
    }

    pub(super) fn is_rust(&self) -> bool {
        is_rust(&self.path)
    }
}

fn is_rust(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("rs"))
}

/// The lines that are not blank, without their endings.
fn text_lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end_matches(['\r', '\n']).len();
        if !line.trim().is_empty() {
            lines.push(start..end);
        }
        start += line.len();
    }
    lines
}

/// What there is to copy.
struct Listing {
    /// Relative paths, those near the root first.
    files: Vec<PathBuf>,
    skipped: Skipped,
}

impl Listing {
    fn of(dir: &Path, limits: Limits) -> Result<Self, ProjectError> {
        let mut listing = Self { files: Vec::new(), skipped: Skipped::default() };
        let mut bytes = 0;
        let mut entries: VecDeque<PathBuf> =
            entries(dir).map_err(|source| ProjectError::Source { path: dir.into(), source })?.into();
        while let Some(path) = entries.pop_front() {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                listing.skipped.unreadable += 1;
                continue;
            };
            if metadata.is_symlink() {
                listing.skipped.links += 1;
            } else if metadata.is_dir() {
                listing.enter(&path, &mut entries);
            } else if !metadata.is_file() {
                listing.skipped.unreadable += 1;
            } else if listing.files.len() == limits.files || bytes + metadata.len() > limits.bytes {
                listing.skipped.beyond_limit = true;
                break;
            } else if let Ok(path) = path.strip_prefix(dir) {
                bytes += metadata.len();
                listing.files.push(path.to_path_buf());
            }
        }
        Ok(listing)
    }

    fn enter(&mut self, dir: &Path, queue: &mut VecDeque<PathBuf>) {
        if SKIPPED_DIRECTORIES.iter().any(|name| dir.ends_with(name)) {
            self.skipped.directories += 1;
            return;
        }
        match entries(dir) {
            Ok(entries) => queue.extend(entries),
            Err(_) => self.skipped.unreadable += 1,
        }
    }
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// A directory of this name in a temporary one, by its real path: so it is named in what the sidecar pushes.
fn temporary_root(name: impl AsRef<OsStr>) -> io::Result<(TempDir, PathBuf)> {
    let temporary = TempDir::with_prefix("ploke-io-demo-")?;
    let root = fs::canonicalize(temporary.path())?.join(name.as_ref());
    fs::create_dir(&root)?;
    Ok((temporary, root))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}

const SAMPLE: [(&str, &str); 5] = [
    (
        "src/lib.rs",
        "//! Greetings.

mod words;

/// Greets somebody by name.
pub fn greet(name: &str) -> String {
    format!(\"{}, {name}!\", words::hello())
}

/// Says good-bye.
pub fn part(name: &str) -> String {
    format!(\"{}, {name}.\", words::good_bye())
}
",
    ),
    (
        "src/words.rs",
        "pub fn hello() -> &'static str {
    \"Hello\"
}

pub fn good_bye() -> &'static str {
    \"Good-bye\"
}
",
    ),
    (
        "src/main.rs",
        "fn main() {
    println!(\"{}\", sample::greet(\"world\"));
}
",
    ),
    ("README.md", "# Sample\n\nA project to try `ploke-io` on.\n"),
    ("windows.txt", "This file has\r\nCRLF line endings.\r\n"),
];

#[cfg(test)]
mod tests;
