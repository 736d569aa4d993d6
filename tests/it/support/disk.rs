//! What a transcript does to the files below its root, and what it says of them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::parse::{Step, Transcript};

/// The files below the root of a run.
#[derive(Clone, Copy)]
pub struct Disk<'a> {
    pub root: &'a Path,
}

impl Disk<'_> {
    /// Makes the change a step describes, or checks what it says; does nothing for other steps.
    pub fn change(self, step: &Step) -> io::Result<()> {
        let at = |name: &PathBuf| self.root.join(name);
        match step {
            Step::File { name, content } => {
                fs::create_dir_all(at(name).parent().unwrap_or(self.root))?;
                fs::write(at(name), content)
            }
            Step::Write { name, content } => fs::write(at(name), content),
            Step::Append { name, content } => {
                io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(at(name))?, content)
            }
            Step::Dir(name) => fs::create_dir_all(at(name)),
            Step::Mkdir(name) => fs::create_dir(at(name)),
            Step::Link { name, target } => symlink(&target.replace("$DIR", &self.root.to_string_lossy()), &at(name)),
            Step::Chmod { name, mode } => set_mode(&at(name), *mode),
            Step::Mode { name, mode } => match self::mode(&at(name))? {
                actual if actual == *mode => Ok(()),
                actual => Err(io::Error::other(format!("the mode is {actual:o}"))),
            },
            Step::Rename { from, to } => fs::rename(at(from), at(to)),
            Step::Remove(name) if at(name).is_dir() => fs::remove_dir_all(at(name)),
            Step::Remove(name) => fs::remove_file(at(name)),
            Step::Absent(name) if at(name).symlink_metadata().is_ok() => Err(io::Error::other("it is there")),
            _ => Ok(()),
        }
    }

    /// A file that no block names was left behind by the server.
    pub fn check_nothing_else(self, transcript: &Transcript) -> Result<(), String> {
        let mut named = BTreeSet::new();
        for block in &transcript.blocks {
            match &block.step {
                Step::File { name, .. } | Step::Disk { name, .. } | Step::Write { name, .. } => named.insert(name),
                Step::Link { name, .. } | Step::Rename { to: name, .. } => named.insert(name),
                _ => false,
            };
        }
        let mut files = Vec::new();
        list_files(self.root, Path::new(""), &mut files).map_err(|error| error.to_string())?;
        match files.iter().find(|file| !named.contains(file)) {
            Some(file) => Err(format!("a file is left that no block names: {}", file.display())),
            None => Ok(()),
        }
    }
}

fn list_files(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list_files(root, &name, files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(unix)]
fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions()) & 0o7777)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}
