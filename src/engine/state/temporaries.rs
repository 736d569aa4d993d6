//! Notes of where temporary files may be, so that none stays behind for good.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::create_locked;
use crate::{
    disk::{Dir, Disk, write_all},
    encoding::{os_bytes, os_string},
};

/// The note of this session: a file with the directories it has made temporary files in, made with the first of them.
pub(super) struct Temporaries {
    disk: Arc<dyn Disk>,
    dir: Arc<Dir>,
    name: OsString,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Locked as long as the session lives.
    file: Option<File>,
    /// Each directory, and whether it is known to be on the disk.
    directories: HashSet<(PathBuf, bool)>,
    /// The note itself is known to be on the disk.
    is_named_on_disk: bool,
    left_behind: bool,
}

pub(super) const NOTE: &str = ".directories";

impl Temporaries {
    pub fn new(disk: Arc<dyn Disk>, dir: Arc<Dir>, session: &str) -> Self {
        Self { disk, dir, name: format!("{session}{NOTE}").into(), noted: Mutex::default() }
    }

    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// When this returns, the next start would look for temporary files in the directory.
    pub fn note(&self, directory: &Path, sync: bool) -> io::Result<()> {
        let mut noted = self.noted();
        let known = (directory.to_path_buf(), sync);
        if noted.directories.contains(&known) {
            return Ok(());
        }
        let file = match noted.file.take() {
            Some(file) => file,
            None => self.make()?,
        };
        // The first separator ends a line that a failure has torn.
        let line = [&[SEPARATOR], &*os_bytes(directory.as_os_str()), &[SEPARATOR]].concat();
        let written = write_all(&*self.disk, &file, &line);
        let synced = written.and_then(|()| if sync { self.disk.sync_file(&file) } else { Ok(()) });
        noted.file = Some(file);
        synced?;
        if sync && !noted.is_named_on_disk {
            self.disk.sync_dir(&self.dir)?;
            noted.is_named_on_disk = true;
        }
        noted.directories.insert(known);
        Ok(())
    }

    /// Remembers that something could not be removed, so that the next start tries it.
    pub fn left_behind(&self) {
        self.noted().left_behind = true;
    }

    fn make(&self) -> io::Result<File> {
        create_locked(&*self.disk, &self.dir, || self.name.clone()).map(|(file, _)| file)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directories of a note. A line that is torn at the end was never acted upon.
pub(super) fn directories(note: &[u8]) -> impl Iterator<Item = PathBuf> {
    let complete = note.iter().rposition(|byte| *byte == SEPARATOR).map_or(0, |end| end + 1);
    let lines = note[..complete].split(|byte| *byte == SEPARATOR).filter(|line| !line.is_empty());
    lines.filter_map(|line| os_string(line).ok().map(PathBuf::from))
}

/// No path contains it.
const SEPARATOR: u8 = 0;

impl Drop for Temporaries {
    /// A session that ends in order has left nothing behind.
    fn drop(&mut self) {
        let noted = self.noted();
        if noted.file.is_some() && !noted.left_behind {
            if let Err(error) = self.disk.remove(&self.dir, &self.name) {
                tracing::debug!(%error, "the note of temporary files is left to the next start");
            }
        }
    }
}
