//! Looking at the places of a transaction.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{OldFile, RecordedPath};
use crate::{
    disk::{Dir, FileKind, FileStat},
    engine::file::hash_open_file,
    hash::ContentHash,
    roots::Place,
};

/// A place that recovery looks at.
pub(super) struct Target<'s> {
    pub dir: Arc<Dir>,
    pub name: &'s OsStr,
    path: PathBuf,
}

impl<'s> Target<'s> {
    pub fn new(dir: Arc<Dir>, path: &'s RecordedPath) -> Self {
        Self { dir, name: path.relative.file_name().unwrap_or_default(), path: path.absolute() }
    }

    /// What has this name; something else than a file is nothing that a transaction has touched.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match self.dir.stat(name) {
            Ok(stat) if stat.kind == FileKind::File => Ok(Some(stat)),
            Ok(stat) => Ok(Some(FileStat { inode: 0, size: u64::MAX, ..stat })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn place(&self) -> Place {
        Place::in_directory(self.dir.id(), self.name)
    }

    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn hash(&self, name: &OsStr) -> io::Result<Option<ContentHash>> {
        match self.dir.open_file(name) {
            Ok(file) => hash_open_file(&file).map(Some),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn holds(&self, name: &OsStr, content: &[u8]) -> io::Result<bool> {
        let has_size = self.look(name)?.is_some_and(|stat| stat.size == content.len() as u64);
        Ok(has_size && self.hash(name)? == Some(ContentHash::of(content)))
    }

    pub fn is_at(&self, name: &OsStr, old: &OldFile) -> io::Result<bool> {
        let now = self.look(name)?;
        Ok(now.is_some() && self.is(now.as_ref(), Some(old), name)?)
    }

    /// Whether what is there is what was there before the transaction.
    pub fn is(&self, now: Option<&FileStat>, old: Option<&OldFile>, name: &OsStr) -> io::Result<bool> {
        match (now, old) {
            (None, None) => Ok(true),
            (Some(now), Some(old)) => Ok(old.is(now) && self.hash(name)? == Some(old.hash)),
            _ => Ok(false),
        }
    }
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || crate::disk::is_link_refusal(error)
}

pub(super) fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
