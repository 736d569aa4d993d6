//! Everything that touches the disk: open directories to read from, and the trait [`Disk`] for what changes or syncs it.
//!
//! What differs between systems is in `unix.rs` and `other.rs`.

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io,
    time::SystemTime,
};

#[cfg(not(unix))]
pub(crate) use other::{Dir, OsDisk, is_link_refusal, keeps_trustworthy_times, metadata_of, read_more, stat_file};
#[cfg(unix)]
pub(crate) use unix::{Dir, OsDisk, is_link_refusal, keeps_trustworthy_times, metadata_of, read_more, stat_file};

/// The operations that change or sync anything, each a single step that can fail or be the last one before a crash.
pub(crate) trait Disk: Send + Sync {
    /// Makes a new, empty file for writing; fails if the name is taken.
    fn create(&self, dir: &Dir, name: &OsStr, access: NewFileAccess) -> io::Result<File>;
    /// Makes a new, empty file that has no name yet, so that nothing stays behind if it never gets one; fails with
    /// [`io::ErrorKind::Unsupported`] where there is no such thing.
    fn create_unnamed(&self, dir: &Dir, access: NewFileAccess) -> io::Result<File>;
    /// Gives a name to a file that has none; fails if the name is taken, and with [`io::ErrorKind::Unsupported`] where the
    /// system lacks what it needs for that.
    fn name(&self, file: &File, dir: &Dir, name: &OsStr) -> io::Result<()>;
    /// Writes some of the bytes and says how many.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts a file off or extends it with zeros.
    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Gives a file its metadata; returns what it could not.
    fn set_metadata(&self, file: &File, metadata: &Metadata) -> io::Result<Vec<String>>;
    /// The same with those of another file.
    fn copy_metadata(&self, from: &File, to: &File) -> io::Result<Vec<String>> {
        self.set_metadata(to, &metadata_of(from)?)
    }
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()>;
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Renames within one directory, over an existing file.
    fn replace(&self, dir: &Dir, from: &OsStr, to: &OsStr) -> io::Result<()>;
    /// Lets two names that exist change places in one step; fails with [`io::ErrorKind::Unsupported`] where that is
    /// impossible.
    fn exchange(&self, one: (&Dir, &OsStr), other: (&Dir, &OsStr)) -> io::Result<()>;
    /// Gives a file of a directory a second name; fails if the name is taken, and with [`io::ErrorKind::Unsupported`] where
    /// files have one name only.
    fn link(&self, dir: &Dir, name: &OsStr, second: &OsStr) -> io::Result<()>;
    /// Renames within one file system; fails if the new name is taken.
    fn rename_new(&self, from: (&Dir, &OsStr), to: (&Dir, &OsStr)) -> io::Result<()>;
    fn remove(&self, dir: &Dir, name: &OsStr) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()>;
    fn make_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()>;
    fn sync_dir(&self, dir: &Dir) -> io::Result<()>;
}

/// Who may open a file while it is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewFileAccess {
    /// The owner alone: the content may be meant for few.
    Private,
    /// Whoever the umask and the directory's default ACL allow.
    Default,
}

/// Identity of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DirId {
    pub device: u64,
    pub inode: u64,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub kind: FileKind,
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified: SystemTime,
    /// Time of the last change of content or metadata; no program can set it.
    pub changed: SystemTime,
    pub links: u64,
    pub mode: u32,
}

impl FileStat {
    /// No permission bit lets anyone write.
    pub fn is_read_only(&self) -> bool {
        self.mode & 0o222 == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code))]
pub(crate) enum FileKind {
    File,
    Directory,
    Link,
    Fifo,
    Socket,
    Device,
}

impl FileKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "symbolic link",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
            Self::Device => "device",
        }
    }
}

/// What a file has beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub mode: u32,
    pub owner: u32,
    pub group: u32,
    /// Extended attributes, ACLs and labels among them; those without a value could not be read.
    pub attributes: Vec<(CString, Option<Vec<u8>>)>,
}

/// Writes all of it, however often the system takes only a part or is interrupted.
pub(crate) fn write_all(disk: &dyn Disk, file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
