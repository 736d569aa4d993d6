//! Open directories and changes of the disk where there are no calls relative to an open directory.
//!
//! A directory is held by its path here: a name on the way that is swapped for a link between a check and its use is not
//! noticed. Links are refused whenever they are seen.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{DirId, Disk, FileKind, FileStat, Metadata, NewFileAccess};

/// A directory.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Opens a directory by its absolute path, following links.
    pub fn open_absolute(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path })
    }

    /// Opens a directory beneath this one; fails (see [`is_link_refusal`]) if there is a link on the way.
    pub fn open_dir(&self, relative: &Path) -> io::Result<Self> {
        let mut path = self.path.clone();
        for component in relative.components() {
            path.push(component);
            let kind = fs::symlink_metadata(&path)?.file_type();
            if kind.is_symlink() {
                return Err(link_refusal());
            }
            if !kind.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(Self { path })
    }

    /// The hash of its path stands for its identity, which std does not tell.
    pub fn id(&self) -> DirId {
        let mut hasher = DefaultHasher::new();
        self.path.hash(&mut hasher);
        DirId { device: 0, inode: hasher.finish() }
    }

    /// Whether an absolute path leads to a directory; whether it is this one is not known here.
    pub fn is_at(&self, path: &Path) -> bool {
        path.is_dir()
    }

    /// Opens a file of this directory for reading, without following a link.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let path = self.path.join(name);
        if fs::symlink_metadata(&path)?.file_type().is_symlink() {
            return Err(link_refusal());
        }
        File::open(path)
    }

    /// Opens a file of this directory for writing what is there already, without following a link.
    pub fn open_to_write(&self, name: &OsStr) -> io::Result<File> {
        let path = self.path.join(name);
        if fs::symlink_metadata(&path)?.file_type().is_symlink() {
            return Err(link_refusal());
        }
        OpenOptions::new().read(true).write(true).open(path)
    }

    /// Opens a file of this directory for nothing but to sync it, which needs the right to write.
    pub fn open_to_sync(&self, name: &OsStr) -> io::Result<File> {
        self.open_to_write(name)
    }

    /// The names in this directory, in no order.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Looks at an entry of this directory, without following a link.
    pub fn stat(&self, name: &OsStr) -> io::Result<FileStat> {
        Ok(from_metadata(&fs::symlink_metadata(self.path.join(name))?))
    }

    /// Fails if the caller may not write to the file.
    pub fn check_writable(&self, name: &OsStr) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(name)).map(drop)
    }

    /// Mounts of single files are not known here.
    pub fn is_mount_point(&self, _: &OsStr) -> bool {
        false
    }

    /// Not known.
    pub fn free_bytes(&self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        fs::read_link(self.path.join(name))
    }
}

/// Looks at an open file.
pub(crate) fn stat_file(file: &File) -> io::Result<FileStat> {
    Ok(from_metadata(&file.metadata()?))
}

/// Reads as much as is there and finds room in the capacity; 0 at the end of the file.
pub(crate) fn read_more(mut file: &File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let filled = bytes.len();
    bytes.resize(bytes.capacity(), 0);
    let read = file.read(&mut bytes[filled..]);
    bytes.truncate(filled + *read.as_ref().unwrap_or(&0));
    read
}

/// All that there is to a file here is whether it may be written.
pub(crate) fn metadata_of(file: &File) -> io::Result<Metadata> {
    Ok(Metadata { mode: stat_file(file)?.mode, owner: 0, group: 0, attributes: Vec::new() })
}

/// Whether opening failed because a link is on the way.
pub(crate) fn is_link_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<LinkRefusal>())
}

/// Whether the times of a file's system come from this machine's clock: not known here.
pub(crate) fn keeps_trustworthy_times(_: &File) -> bool {
    false
}

#[derive(Debug, thiserror::Error)]
#[error("a link is on the way")]
struct LinkRefusal;

fn link_refusal() -> io::Error {
    io::Error::other(LinkRefusal)
}

fn from_metadata(meta: &fs::Metadata) -> FileStat {
    let kind = if meta.is_file() {
        FileKind::File
    } else if meta.is_dir() {
        FileKind::Directory
    } else if meta.file_type().is_symlink() {
        FileKind::Link
    } else {
        FileKind::Device
    };
    FileStat {
        kind,
        device: 0,
        inode: 0,
        size: meta.len(),
        modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        changed: meta.created().unwrap_or(SystemTime::UNIX_EPOCH),
        links: 1,
        mode: if meta.permissions().readonly() { 0o444 } else { 0o644 },
    }
}

/// The real disk.
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, dir: &Dir, name: &OsStr, _: NewFileAccess) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(dir.path.join(name))
    }

    fn create_unnamed(&self, _: &Dir, _: NewFileAccess) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn name(&self, _: &File, _: &Dir, _: &OsStr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    /// Permissions are inherited from the directory; a file's own ones are not set.
    fn set_metadata(&self, file: &File, metadata: &Metadata) -> io::Result<Vec<String>> {
        let mut permissions = file.metadata()?.permissions();
        permissions.set_readonly(metadata.mode & 0o222 == 0);
        file.set_permissions(permissions)?;
        Ok(Vec::new())
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    /// There are no modes here.
    fn set_mode(&self, _: &File, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn replace(&self, dir: &Dir, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::rename(dir.path.join(from), dir.path.join(to))
    }

    fn exchange(&self, _: (&Dir, &OsStr), _: (&Dir, &OsStr)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn link(&self, dir: &Dir, name: &OsStr, second: &OsStr) -> io::Result<()> {
        fs::hard_link(dir.path.join(name), dir.path.join(second))
    }

    fn rename_new(&self, from: (&Dir, &OsStr), to: (&Dir, &OsStr)) -> io::Result<()> {
        let from = from.0.path.join(from.1);
        fs::hard_link(&from, to.0.path.join(to.1))?;
        fs::remove_file(from)
    }

    fn remove(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        fs::remove_file(dir.path.join(name))
    }

    fn remove_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        fs::remove_dir(dir.path.join(name))
    }

    fn make_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        fs::create_dir(dir.path.join(name))
    }

    /// Directories cannot be synced here; renames are journaled by the file system.
    fn sync_dir(&self, _: &Dir) -> io::Result<()> {
        Ok(())
    }
}
