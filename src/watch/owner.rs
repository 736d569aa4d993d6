//! Who owns what is saved of a root: the process that holds the lock of the file beside it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::engine::try_lock;

/// Since a root was opened last.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Makes the directory where indices are kept.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Locks what is saved of a root, and says that it was used now; `None` if somebody else has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match take(&file, path)? {
            Hold::Ours => {
                file.set_modified(SystemTime::now())?;
                return Ok(Some(file));
            }
            Hold::Others => return Ok(None),
            Hold::Gone => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Hold {
    Ours,
    Others,
    /// Somebody has removed the file as an old one after it was opened.
    Gone,
}

fn take(file: &File, path: &Path) -> io::Result<Hold> {
    Ok(match try_lock(file)? {
        true if stands_at(file, path)? => Hold::Ours,
        true => Hold::Gone,
        false => Hold::Others,
    })
}

#[cfg(unix)]
fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let file = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn stands_at(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// Removes what was saved of roots that nobody has opened for long. Others may do so at the same time.
pub(super) fn remove_old(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let age = SystemTime::now().duration_since(file.metadata()?.modified()?).unwrap_or_default();
        if age > KEPT && take(&file, &path)? == Hold::Ours {
            // The lock last: who finds it has all or nothing.
            for extension in ["index", "new", "lock"] {
                match fs::remove_file(path.with_extension(extension)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_lock_of_a_file_that_has_been_removed_meanwhile_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let opened = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(take(&opened, &path).unwrap(), Hold::Gone);
        let _new = lock(&path).unwrap().unwrap();
        assert_eq!(take(&opened, &path).unwrap(), Hold::Gone, "another stands there");
        assert_eq!(take(&File::open(&path).unwrap(), &path).unwrap(), Hold::Others);
    }

    #[test]
    fn what_nobody_has_opened_for_long_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["old", "used"] {
            fs::write(path(name).with_extension("index"), "").unwrap();
        }
        let (old, _used) = (lock(&path("old.lock")).unwrap().unwrap(), lock(&path("used.lock")).unwrap().unwrap());
        old.set_modified(SystemTime::now() - 2 * KEPT).unwrap();
        remove_old(dir.path()).unwrap();
        assert!(path("old.lock").exists(), "it is in use");
        drop(old);
        remove_old(dir.path()).unwrap();
        assert!(!path("old.lock").exists() && !path("old.index").exists());
        assert!(path("used.lock").exists() && path("used.index").exists());
    }
}
