//! Real source to measure with: pinned crates, fetched once through cargo.

use std::{
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use ploke_io::hash::ContentHash;

use crate::Result;

const MANIFEST: &str = include_str!("corpus.toml");
/// Files younger than this are never answered from a cache, since their times cannot be trusted yet.
const SETTLED: Duration = Duration::from_secs(3);

/// The sources of the pinned crates.
pub struct Corpus {
    /// Without links.
    pub root: PathBuf,
    pub files: Vec<SourceFile>,
}

pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
    pub hash: ContentHash,
}

impl Corpus {
    /// Takes the corpus from cargo's target directory, and fetches it if it is not there or not of this manifest.
    pub fn fetched() -> Result<Self> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("corpus");
        if !fs::read_to_string(target.join("Cargo.toml")).is_ok_and(|manifest| manifest == MANIFEST) {
            eprintln!("fetching the corpus into {} ...", target.display());
            fetch(&target)?;
        }
        let root = target.canonicalize()?;
        let mut paths = Vec::new();
        collect_sources(&root, &mut paths)?;
        paths.sort_unstable();
        let files = paths.into_iter().map(SourceFile::read).collect::<Result<_>>()?;
        Ok(Self { root, files })
    }

    pub fn paths(&self) -> Vec<&Path> {
        self.files.iter().map(|file| file.path.as_path()).collect()
    }

    /// So many files that have room for ten pieces, from all over the corpus.
    pub fn sample(&self, count: usize) -> Vec<&SourceFile> {
        let usable: Vec<_> = self.files.iter().filter(|file| file.text.len() >= 10 * PIECE).collect();
        (0..count).map(|index| usable[index * usable.len() / count]).collect()
    }
}

/// Bytes of a piece: about a function of ten lines.
const PIECE: usize = 400;

impl fmt::Display for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.files.iter().map(|file| file.text.len()).sum();
        write!(f, "{} files with {:.1} MB of Rust", self.files.len(), bytes as f64 / 1e6)
    }
}

impl SourceFile {
    fn read(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path)?;
        let hash = ContentHash::of(text.as_bytes());
        Ok(Self { path, text, hash })
    }

    /// Ten pieces, from all over the file.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let share = self.text.len() / 10;
        let boundary = |offset: usize| (0..=offset).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
        (0..10).map(move |index| boundary(index * share)..boundary(index * share + share.min(PIECE)))
    }
}

/// Lets cargo download the crates and all they depend on, and keeps the sources of those that the manifest names.
fn fetch(target: &Path) -> Result<()> {
    let project = target.with_file_name("corpus.fetch");
    let unfinished = target.with_file_name("corpus.unfinished");
    for old in [&project, &unfinished, target] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), "")?;
    fs::write(project.join("Cargo.toml"), MANIFEST)?;
    let vendor = Command::new(env!("CARGO"))
        .args(["vendor", "--quiet", "--versioned-dirs", "vendor"])
        .current_dir(&project)
        .stdout(Stdio::null())
        .status()?;
    if !vendor.success() {
        return Err(format!("the corpus could not be fetched: `cargo vendor` ended with {vendor}").into());
    }
    fs::create_dir(&unfinished)?;
    for (name, version) in MANIFEST.lines().filter_map(|line| line.strip_suffix('"')?.split_once(" = \"=")) {
        let folder = format!("{name}-{version}");
        fs::rename(project.join("vendor").join(&folder), unfinished.join(&folder))?;
    }
    fs::write(unfinished.join("Cargo.toml"), MANIFEST)?;
    fs::remove_dir_all(project)?;
    thread::sleep(SETTLED);
    Ok(fs::rename(unfinished, target)?)
}

fn collect_sources(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect_sources(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}
