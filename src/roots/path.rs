//! Paths that have been resolved, and the places they name.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{Root, budget::HeldDir};
use crate::disk::{Dir, DirId, FileKind, FileStat};

/// A path beneath a root that led through no link when it was resolved; what it names may not exist.
#[derive(Debug, Clone)]
pub(crate) struct RootedPath {
    pub(super) root: Arc<Root>,
    /// Not empty; normal components only.
    pub(super) relative: PathBuf,
    /// The directory the last component is looked up in, if it is there and the budget of open directories allows.
    pub(super) dir: Option<Arc<HeldDir>>,
    /// What was there, and when it was looked at.
    pub(super) look: Option<(FileStat, SystemTime)>,
}

impl RootedPath {
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    pub fn absolute(&self) -> PathBuf {
        self.root.real.join(&self.relative)
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What was there when the path was resolved.
    pub fn stat(&self) -> Option<&FileStat> {
        self.look.as_ref().map(|(stat, _)| stat)
    }

    /// The same with the time of the look.
    pub fn look(&self) -> Option<&(FileStat, SystemTime)> {
        self.look.as_ref()
    }

    pub fn name(&self) -> &OsStr {
        self.relative.file_name().unwrap_or_default()
    }

    /// The directory that holds the last component.
    pub fn dir(&self) -> io::Result<Arc<Dir>> {
        match &self.dir {
            Some(held) => Ok(held.dir.clone()),
            None => self.root.open_dir(self.parent()),
        }
    }

    /// The same path, which no longer holds its directory open.
    pub fn without_dir(self) -> Self {
        Self { dir: None, ..self }
    }

    /// Path of the directory that holds the last component, relative to the root; empty for the root itself.
    pub fn parent(&self) -> &Path {
        self.relative.parent().unwrap_or(Path::new(""))
    }

    /// Opens the file for reading; fails rather than following a link.
    pub fn open(&self) -> io::Result<File> {
        self.dir()?.open_file(self.name())
    }

    /// The file itself as a place, if it has other names too; then its place alone does not say which file it is.
    pub fn shared_file(&self) -> Option<Place> {
        self.stat().filter(|stat| stat.links > 1 && stat.kind == FileKind::File).map(|stat| {
            let FileStat { device, inode, .. } = *stat;
            Place::of_file(DirId { device, inode })
        })
    }

    /// Identity of the place, the same for all spellings of the path.
    pub fn place(&self) -> io::Result<Place> {
        let mut missing = PathBuf::from(self.name());
        let mut ancestor = self.parent();
        loop {
            let opened = match &self.dir {
                Some(held) if ancestor == self.parent() => Ok(held.dir.id()),
                _ => self.root.open_dir(ancestor).map(|dir| dir.id()),
            };
            match (opened, ancestor.file_name(), ancestor.parent()) {
                (Ok(dir), ..) => return Ok(Place { dir, rest: missing }),
                (Err(error), Some(name), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                    missing = Path::new(name).join(missing);
                    ancestor = parent;
                }
                (Err(error), ..) => return Err(error),
            }
        }
    }
}

/// A place in the tree: the innermost directory that exists, and what is named in it. Of a file with several names, also
/// the file itself, with no name in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    dir: DirId,
    rest: PathBuf,
}

impl Place {
    /// A name in a directory that is there.
    pub fn in_directory(dir: DirId, name: &OsStr) -> Self {
        Self { dir, rest: name.into() }
    }

    /// A file under whatever name.
    pub fn of_file(file: DirId) -> Self {
        Self { dir: file, rest: PathBuf::new() }
    }

    /// The same in all processes.
    pub fn bytes(&self) -> Vec<u8> {
        let Self { dir: DirId { device, inode }, rest } = self;
        [&device.to_le_bytes(), &inode.to_le_bytes(), rest.as_os_str().as_encoded_bytes()].concat()
    }
}
