//! Following links by looking, from open directory to open directory.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::Root;
use crate::disk::{Dir, FileKind, is_link_refusal};

/// Links followed for one path before it counts as a loop, as in Linux.
const MAX_LINKS: usize = 40;

/// A walk from open directory to open directory that follows links.
pub(super) struct Walk {
    /// Path of the directory the walk stands on is `base` and the names of the stack.
    base: PathBuf,
    base_dir: Arc<Dir>,
    stack: Vec<(Arc<Dir>, OsString)>,
    /// Still to be walked; `None` is `..`.
    pending: VecDeque<Option<OsString>>,
    /// What does not exist, or is no directory: nothing follows behind it.
    tail: PathBuf,
    pub links: usize,
}

impl Walk {
    /// Walks from a root to the end of a path beneath it.
    pub fn of(root: &Root, rest: &Path) -> io::Result<Self> {
        let mut walk = Self {
            base: root.real.clone(),
            base_dir: root.dir()?.clone(),
            stack: Vec::new(),
            pending: VecDeque::new(),
            tail: PathBuf::new(),
            links: 0,
        };
        walk.prepend(rest);
        walk.run()?;
        Ok(walk)
    }

    pub fn real(&self) -> PathBuf {
        let mut real = self.base.clone();
        real.extend(self.stack.iter().map(|(_, name)| name));
        real.extend(&self.tail);
        real
    }

    fn run(&mut self) -> io::Result<()> {
        while let Some(step) = self.pending.pop_front() {
            let Some(name) = step else {
                self.step_up()?;
                continue;
            };
            let dir = self.stack.last().map_or(&self.base_dir, |(dir, _)| dir).clone();
            match dir.stat(&name) {
                Ok(stat) if stat.kind == FileKind::Link => {
                    self.links += 1;
                    if self.links > MAX_LINKS {
                        return Err(too_many_links());
                    }
                    let target = dir.read_link(&name)?;
                    if target.is_absolute() {
                        self.restart_at_top(&target)?;
                    }
                    self.prepend(&target);
                }
                Ok(stat) if stat.kind == FileKind::Directory => match dir.open_dir(Path::new(&name)) {
                    Ok(opened) => self.stack.push((Arc::new(opened), name)),
                    // Swapped since the look: look again.
                    Err(error) if is_link_refusal(&error) => self.pending.push_front(Some(name)),
                    Err(error) => return Err(error),
                },
                Ok(_) if !self.pending.is_empty() => return Err(io::ErrorKind::NotADirectory.into()),
                Ok(_) => self.tail.push(name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.tail.push(name);
                    while let Some(step) = self.pending.pop_front() {
                        // What is above a directory that does not exist is not known.
                        self.tail.push(step.ok_or(io::ErrorKind::NotFound)?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn step_up(&mut self) -> io::Result<()> {
        if self.stack.pop().is_none() {
            let base = self.base.clone();
            if let Some(parent) = base.parent() {
                self.restart_at_top(&base)?;
                self.prepend(parent);
            }
        }
        Ok(())
    }

    fn restart_at_top(&mut self, path: &Path) -> io::Result<()> {
        let top: PathBuf =
            path.components().take_while(|c| matches!(c, Component::Prefix(_) | Component::RootDir)).collect();
        self.base_dir = Arc::new(Dir::open_absolute(&top)?);
        self.base = top;
        self.stack.clear();
        Ok(())
    }

    fn prepend(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.pending.push_front(Some(name.to_os_string())),
                Component::ParentDir => self.pending.push_front(None),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
    }
}

#[cfg(unix)]
pub(super) fn too_many_links() -> io::Error {
    rustix::io::Errno::LOOP.into()
}

#[cfg(not(unix))]
pub(super) fn too_many_links() -> io::Error {
    io::Error::other("too many levels of symbolic links")
}
