//! What outlives the process: records of transactions, old contents for an undo, and where temporary files may be.
//!
//! All of it is in one directory that the processes of a user share. Each file belongs to the process that holds its
//! lock; what nobody holds is taken over by the next start. Where there are no locks (not on Unix), a second process that
//! starts while another one commits may finish that transaction too.

mod finish;
mod record;
mod recovery;
mod target;
mod temporaries;
mod undo_entry;
mod undo_store;

use std::{
    ffi::{OsStr, OsString},
    fs::{DirBuilder, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

pub(super) use record::{Action, OldFile, Record, RecordedPath, RecordedRoot, Step};
pub(super) use recovery::Locking;
pub use recovery::RecoveryReport;
use temporaries::Temporaries;
pub(super) use undo_entry::{Before, UndoEntry, UndoStep};
#[cfg(fuzzing)]
use undo_store::Entries;
pub use undo_store::UndoLimits;
pub(super) use undo_store::{KeptAt, UndoStore};

use super::os_locks::try_lock;
use crate::{
    disk::{Dir, DirId, Disk, FileKind, NewFileAccess, stat_file, write_all},
    temp_name::TempNames,
};

pub(crate) struct StateDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    transactions: Arc<Dir>,
    temporaries: Temporaries,
    undo: UndoStore,
    temp_names: Arc<TempNames>,
}

const RECORD: &str = ".record";

impl StateDir {
    /// Opens the directory; it is made, for its owner alone, when it is missing.
    pub fn open(path: &Path, disk: Arc<dyn Disk>, limits: UndoLimits, temp_names: Arc<TempNames>) -> io::Result<Self> {
        let open = |name: &str| -> io::Result<Arc<Dir>> {
            let path = path.join(name);
            make_private_dirs(&*disk, &path)?;
            Dir::open_absolute(&path).map(Arc::new)
        };
        Ok(Self {
            transactions: open("transactions")?,
            temporaries: Temporaries::new(disk.clone(), open("temporary")?, temp_names.session()),
            undo: UndoStore::new(disk.clone(), open("undo")?, limits),
            path: path.to_path_buf(),
            disk,
            temp_names,
        })
    }

    /// Records a transaction. When this returns it is committed: whatever happens, its steps are done, if not by its
    /// owner then by the next start.
    pub fn begin(&self, record: &Record, sync: bool) -> Result<OpenRecord, BeginError> {
        let session = self.temp_names.session();
        let new_name = || OsString::from(format!("{session}.{}{RECORD}", Uuid::new_v4().simple()));
        let created = create_locked(&*self.disk, &self.transactions, new_name);
        let (file, name) = created.map_err(BeginError::NotRecorded)?;
        let open = self.open_record(file, name, sync);
        let written = write_all(&*self.disk, &open.file, &record.encode());
        let is_whole = written.is_ok();
        match written.and_then(|()| open.sync()) {
            Ok(()) => Ok(open),
            Err(cause) => Err(match open.finish() {
                Err(not_removed) if is_whole => BeginError::Recorded { cause, not_removed },
                _ => BeginError::NotRecorded(cause),
            }),
        }
    }

    fn open_record(&self, file: File, name: OsString, sync: bool) -> OpenRecord {
        OpenRecord { disk: self.disk.clone(), dir: self.transactions.clone(), name, file, sync }
    }

    /// Says where a temporary file may stay behind if this process dies; once for each directory.
    pub fn note_temporaries(&self, directory: &Path, id: DirId, sync: bool) -> io::Result<()> {
        self.temporaries.note(directory, id, sync)
    }

    /// Remembers that a temporary file could not be removed, so that the next start tries it.
    pub fn left_behind(&self) {
        self.temporaries.left_behind();
    }

    pub fn undo(&self) -> &UndoStore {
        &self.undo
    }
}

/// Why a transaction was not begun.
#[derive(Debug)]
pub(crate) enum BeginError {
    NotRecorded(io::Error),
    /// The record may not survive a power cut, but it stays: the next start finishes the transaction.
    Recorded {
        cause: io::Error,
        not_removed: io::Error,
    },
}

/// The record of a transaction that is being carried out; locked by its owner. Dropped, it is left to the next start.
pub(crate) struct OpenRecord {
    disk: Arc<dyn Disk>,
    dir: Arc<Dir>,
    name: OsString,
    file: File,
    sync: bool,
}

impl OpenRecord {
    /// Removes the record of a transaction that is finished, or that nothing came of, so that no crash brings it back.
    ///
    /// An empty record is as good as none: the next start removes it. Unlike the removal of the name, which the disk may
    /// learn of much later, emptying it is durable at once.
    pub fn finish(&self) -> io::Result<()> {
        let emptied = self.disk.set_len(&self.file, 0).and_then(|()| self.sync_if(|disk| disk.sync_file(&self.file)));
        let removed = self.disk.remove(&self.dir, &self.name);
        emptied.or_else(|_| removed.and_then(|()| self.sync_if(|disk| disk.sync_dir(&self.dir))))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_if(|disk| disk.sync_file(&self.file).and_then(|()| disk.sync_dir(&self.dir)))
    }

    fn sync_if(&self, sync: impl FnOnce(&dyn Disk) -> io::Result<()>) -> io::Result<()> {
        if self.sync { sync(&*self.disk) } else { Ok(()) }
    }
}

/// Makes what is missing of a path of directories, for the owner alone, so that it survives a power cut.
fn make_private_dirs(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path)?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(|parent| disk.sync_dir(&Dir::open_absolute(parent)?))
}

/// Makes a file that belongs to this process. A start that comes between making and locking it takes it for an abandoned
/// one and removes it; then another one is made.
fn create_locked(disk: &dyn Disk, dir: &Dir, name: impl Fn() -> OsString) -> io::Result<(File, OsString)> {
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        let name = name();
        let file = match disk.create(dir, &name, NewFileAccess::Private) {
            // It has been taken and is not removed yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::thread::yield_now();
                continue;
            }
            file => file?,
        };
        match lock_at(&file, dir, &name) {
            Ok(true) => return Ok((file, name)),
            Ok(false) => {}
            Err(error) => {
                disk.remove(dir, &name)?;
                return Err(error);
            }
        }
    }
    Err(io::Error::other("starting processes take each new file for an abandoned one"))
}

/// Takes the lock of an open file unless somebody else has it, or the file has been removed or moved meanwhile.
fn lock_at(file: &File, dir: &Dir, name: &OsStr) -> io::Result<bool> {
    if !try_lock(file)? {
        return Ok(false);
    }
    let opened = stat_file(file)?;
    match dir.stat(name) {
        Ok(named) => Ok((named.device, named.inode) == (opened.device, opened.inode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a file that nobody holds, and holds it from now on; `None` if somebody does, or it has gone.
fn take_over(dir: &Dir, name: &OsStr) -> io::Result<Option<File>> {
    let file = match dir.open_to_write(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if stat_file(&file)?.kind != FileKind::File {
        return Ok(None);
    }
    Ok(lock_at(&file, dir, name)?.then_some(file))
}

/// Decodes bytes as they are, and as fields behind a right head and checksum.
#[cfg(fuzzing)]
pub(crate) fn decode_any(bytes: &[u8]) {
    use std::io::{BufReader, Cursor};

    use crate::encoding::{Encoder, Kind};
    let left = bytes.len() as u64;
    let mut entries = Entries { from: BufReader::new(Cursor::new(bytes)), left, offset: 0 };
    while let Ok(Some((_, _, offset))) = entries.next() {
        assert!(offset < entries.offset && entries.offset + entries.left == left);
    }
    assert!(Record::decode(bytes).is_err() || bytes.len() > 40);
    for kind in [Kind::Transaction, Kind::Undo] {
        let mut encoder = Encoder::new(kind);
        bytes.iter().for_each(|byte| encoder.tag(*byte));
        let bytes = encoder.finish();
        if let Ok(record) = Record::decode(&bytes) {
            assert_eq!(record.encode(), bytes);
        }
        if let Ok(entry) = UndoEntry::decode(&bytes) {
            assert_eq!(entry.encode_behind(0), bytes);
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
