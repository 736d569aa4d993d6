//! Open directories and changes of the disk on Unix.
//!
//! Linux opens beneath a directory with one `openat2`, which refuses every link on the way; elsewhere, and where a sandbox
//! forbids that call, the path is walked from open directory to open directory with `O_NOFOLLOW`: the guarantee is the same.

mod metadata;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStringExt, unix::fs::MetadataExt},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

pub(crate) use metadata::metadata_of;

use super::{DirId, Disk, FileKind, FileStat, Metadata, NewFileAccess};

/// An open directory: what is opened through it lies beneath it, whatever happens to the names above it.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    id: DirId,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const OPEN_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a directory by its absolute path, following links.
    pub fn open_absolute(path: &Path) -> io::Result<Self> {
        Self::from_fd(fs::open(path, OPEN_DIR, Mode::empty())?)
    }

    /// Opens a directory beneath this one; fails (see [`is_link_refusal`]) if there is a link on the way.
    pub fn open_dir(&self, relative: &Path) -> io::Result<Self> {
        if relative.as_os_str().is_empty() {
            return Ok(Self { fd: self.fd.try_clone()?, id: self.id });
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            loop {
                match fs::openat2(&self.fd, relative, OPEN_DIR, Mode::empty(), resolve) {
                    Ok(fd) => return Self::from_fd(fd),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::NOSYS | Errno::PERM) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.walk(relative)
    }

    fn walk(&self, relative: &Path) -> io::Result<Self> {
        let mut current = self.fd.try_clone()?;
        for component in relative.components() {
            let Component::Normal(name) = component else { return Err(Errno::XDEV.into()) };
            current = match fs::openat(&current, name, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(fd) => fd,
                // A link that is not followed is no directory.
                Err(Errno::NOTDIR) if is_link(&current, name)? => return Err(Errno::LOOP.into()),
                Err(error) => return Err(error.into()),
            };
        }
        Self::from_fd(current)
    }

    fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let stat = fs::fstat(&fd)?;
        Ok(Self { fd, id: DirId { device: stat.st_dev as u64, inode: stat.st_ino as u64 } })
    }

    pub fn id(&self) -> DirId {
        self.id
    }

    /// Whether it is this directory that an absolute path leads to.
    pub fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|meta| DirId { device: meta.dev(), inode: meta.ino() } == self.id)
    }

    /// Opens a file of this directory for reading, without following a link and without waiting for a FIFO's writer.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(fs::openat(&self.fd, name, flags, Mode::empty())?.into())
    }

    /// Opens a file of this directory for writing what is there already, without following a link.
    pub fn open_to_write(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(fs::openat(&self.fd, name, flags, Mode::empty())?.into())
    }

    /// Opens a file of this directory for nothing but to sync it.
    pub fn open_to_sync(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name)
    }

    /// The names in this directory, in no order.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let entries = fs::Dir::new(self.syncable()?)?;
        let names = entries.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())));
        let names: Vec<OsString> = names.collect::<io::Result<_>>()?;
        Ok(names.into_iter().filter(|name| name != "." && name != "..").collect())
    }

    /// Looks at an entry of this directory, without following a link.
    pub fn stat(&self, name: &OsStr) -> io::Result<FileStat> {
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileStat {
            kind: match fs::FileType::from_raw_mode(stat.st_mode as _) {
                fs::FileType::RegularFile => FileKind::File,
                fs::FileType::Directory => FileKind::Directory,
                fs::FileType::Symlink => FileKind::Link,
                fs::FileType::Fifo => FileKind::Fifo,
                fs::FileType::Socket => FileKind::Socket,
                _ => FileKind::Device,
            },
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: system_time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: system_time(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            links: stat.st_nlink as u64,
            mode: stat.st_mode as u32,
        })
    }

    pub fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = fs::readlinkat(&self.fd, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Whether another file is mounted over this entry, which then cannot be renamed or replaced.
    pub fn is_mount_point(&self, name: &OsStr) -> bool {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{StatxAttributes, StatxFlags};
            let stat = fs::statx(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE);
            stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = name;
            false
        }
    }

    /// Fails if the caller may not write to the file: by its mode, an immutable flag, or a read-only file system.
    pub fn check_writable(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::accessat(&self.fd, name, fs::Access::WRITE_OK, AtFlags::EACCESS)?)
    }

    /// Fails if the caller may not make and replace entries of this directory.
    pub fn check_changeable(&self) -> io::Result<()> {
        let needed = fs::Access::WRITE_OK | fs::Access::EXEC_OK;
        Ok(fs::accessat(&self.fd, c".", needed, AtFlags::EACCESS)?)
    }

    /// Room for anybody's files on the file system; quotas do not count.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// A descriptor that can be synced; the one held may be good for look-ups alone.
    fn syncable(&self) -> io::Result<OwnedFd> {
        Ok(fs::openat(&self.fd, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// Looks at an open file.
pub(crate) fn stat_file(file: &File) -> io::Result<FileStat> {
    let meta = file.metadata()?;
    let kind = match fs::FileType::from_raw_mode(meta.mode() as _) {
        fs::FileType::RegularFile => FileKind::File,
        fs::FileType::Directory => FileKind::Directory,
        fs::FileType::Fifo => FileKind::Fifo,
        fs::FileType::Socket => FileKind::Socket,
        _ => FileKind::Device,
    };
    Ok(FileStat {
        kind,
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: system_time(meta.mtime(), meta.mtime_nsec()),
        changed: system_time(meta.ctime(), meta.ctime_nsec()),
        links: meta.nlink(),
        mode: meta.mode(),
    })
}

/// Reads as much as is there and finds room in the capacity; 0 at the end of the file.
pub(crate) fn read_more(file: &File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    Ok(rustix::io::read(file, rustix::buffer::spare_capacity(bytes))?)
}

/// Whether opening failed because a link is on the way.
pub(crate) fn is_link_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Whether the times of a file's system come from this machine's clock, so that they can be compared with it.
pub(crate) fn keeps_trustworthy_times(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        const EXT: u64 = 0xef53;
        const XFS: u64 = 0x5846_5342;
        const BTRFS: u64 = 0x9123_683e;
        const TMPFS: u64 = 0x0102_1994;
        const F2FS: u64 = 0xf2f5_2010;
        const OVERLAY: u64 = 0x794c_7630;
        const ZFS: u64 = 0x2fc1_2fc1;
        const BCACHEFS: u64 = 0xca45_1a4e;
        const LOCAL: [u64; 8] = [EXT, XFS, BTRFS, TMPFS, F2FS, OVERLAY, ZFS, BCACHEFS];
        // The type is a signed or unsigned word of varying width; these magic numbers have 32 bits.
        fs::fstatfs(file).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u64 & 0xffff_ffff)))
    }
    // Not known elsewhere, and a wrong answer is worse than a slow one.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

fn is_link(dir: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(fs::FileType::from_raw_mode(stat.st_mode as _) == fs::FileType::Symlink)
}

fn system_time(seconds: i64, nanos: i64) -> SystemTime {
    let whole = match seconds {
        0.. => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()),
        _ => SystemTime::UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()),
    };
    whole + Duration::from_nanos(nanos.unsigned_abs())
}

/// The real disk.
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, dir: &Dir, name: &OsStr, access: NewFileAccess) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&dir.fd, name, flags, mode_of(access))?.into())
    }

    #[cfg(target_os = "linux")]
    fn create_unnamed(&self, dir: &Dir, access: NewFileAccess) -> io::Result<File> {
        match fs::openat(&dir.fd, c".", OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC, mode_of(access)) {
            Ok(fd) => Ok(fd.into()),
            // What a file system or kernel says that does not know the flag.
            Err(Errno::NOTSUP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn create_unnamed(&self, _: &Dir, _: NewFileAccess) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    fn name(&self, file: &File, dir: &Dir, name: &OsStr) -> io::Result<()> {
        match fs::linkat(file, c"", &dir.fd, name, AtFlags::EMPTY_PATH) {
            result @ (Ok(()) | Err(Errno::EXIST)) => Ok(result?),
            // Older kernels, and some sandboxes, let nobody do this without a capability.
            Err(_) => name_by_path(file, dir, name),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn name(&self, _: &File, _: &Dir, _: &OsStr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        Ok(fs::fchmod(file, Mode::from_raw_mode(mode as _))?)
    }

    fn set_metadata(&self, file: &File, metadata: &Metadata) -> io::Result<Vec<String>> {
        metadata::set(file, metadata)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn replace(&self, dir: &Dir, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&dir.fd, from, &dir.fd, to)?)
    }

    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn exchange(&self, one: (&Dir, &OsStr), other: (&Dir, &OsStr)) -> io::Result<()> {
        match fs::renameat_with(&one.0.fd, one.1, &other.0.fd, other.1, fs::RenameFlags::EXCHANGE) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
            result => Ok(result?),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    fn exchange(&self, _: (&Dir, &OsStr), _: (&Dir, &OsStr)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn link(&self, dir: &Dir, name: &OsStr, second: &OsStr) -> io::Result<()> {
        match fs::linkat(&dir.fd, name, &dir.fd, second, AtFlags::empty()) {
            Err(Errno::NOSYS | Errno::NOTSUP | Errno::PERM | Errno::MLINK) => Err(io::ErrorKind::Unsupported.into()),
            result => Ok(result?),
        }
    }

    fn rename_new(&self, from: (&Dir, &OsStr), to: (&Dir, &OsStr)) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        match fs::renameat_with(&from.0.fd, from.1, &to.0.fd, to.1, fs::RenameFlags::NOREPLACE) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
        // A link is as exclusive as the rename would be; until the second name is gone the file has two.
        fs::linkat(&from.0.fd, from.1, &to.0.fd, to.1, AtFlags::empty())?;
        fs::unlinkat(&from.0.fd, from.1, AtFlags::empty()).map_err(|error| {
            // Back to one name; if that fails too, the first error says why.
            let _ = fs::unlinkat(&to.0.fd, to.1, AtFlags::empty());
            error.into()
        })
    }

    fn remove(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&dir.fd, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&dir.fd, name, AtFlags::REMOVEDIR)?)
    }

    fn make_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        Ok(fs::mkdirat(&dir.fd, name, Mode::from_raw_mode(0o777))?)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        Ok(fs::fsync(dir.syncable()?)?)
    }
}

#[cfg(target_os = "linux")]
fn name_by_path(file: &File, dir: &Dir, name: &OsStr) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    match fs::linkat(fs::CWD, link, &dir.fd, name, AtFlags::SYMLINK_FOLLOW) {
        // Where `/proc` is missing, is not Linux's own, or must not be used like this.
        Err(Errno::NOENT | Errno::XDEV | Errno::PERM) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}

fn mode_of(access: NewFileAccess) -> Mode {
    match access {
        NewFileAccess::Private => Mode::RUSR | Mode::WUSR,
        NewFileAccess::Default => Mode::from_raw_mode(0o666),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
