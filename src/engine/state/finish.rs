//! Doing what is left of a step that a dead process has begun.
//!
//! A second time a step finds that nothing is left. Between a look and what follows from it somebody may change a file:
//! what a swap brings out is looked at too, and put back if it is not what the record says.

use std::{
    ffi::{OsStr, OsString},
    io, iter,
    path::{Component, Path},
    sync::Arc,
};

use super::{
    Action, OldFile, RecordedPath, RecoveryReport, StateDir, Step,
    recovery::Locking,
    target::{Target, is_gone, read},
};
use crate::{
    disk::{Dir, DirId, FileStat, Metadata, NewFileAccess, stat_file, write_all},
    engine::in_place::overwrite,
    roots::Place,
    temp_name::{is_foreign, kept_name},
};

/// What became of a step.
pub(super) enum End {
    Done,
    LeftAlone(String),
}

const CHANGED: &str = "it was changed after the crash";

impl End {
    fn changed() -> Self {
        Self::LeftAlone(CHANGED.into())
    }
}

impl StateDir {
    /// Does what is left of a step, so that it survives a power cut.
    pub(super) fn finish(&self, step: &Step, locking: Locking, report: &mut RecoveryReport) -> io::Result<End> {
        let makes_parents =
            matches!(step.action, Action::Write { old: None, .. } | Action::MoveFrom { overwritten: None, .. });
        let dir = match self.open_parent(&step.at, makes_parents) {
            Ok(dir) => dir,
            Err(error) if is_gone(&error) => return Ok(End::LeftAlone(format!("its directory: {error}"))),
            Err(error) => return Err(error),
        };
        let target = Target::new(dir, &step.at);
        let source = match &step.action {
            Action::MoveFrom { from, .. } => self.open_source(from)?,
            _ => None,
        };
        // A process that lives may be editing the same file.
        let mut places: Vec<_> = iter::once(&target).chain(&source).map(Target::place).collect();
        if let (Action::WriteInPlace { .. }, Some(now)) = (&step.action, target.look(target.name)?) {
            // By another name.
            places.push(Place::of_file(DirId { device: now.device, inode: now.inode }));
        }
        let _locks = locking.lock(&places)?;
        let end = match &step.action {
            Action::Write { old, new, temp, metadata } => {
                self.finish_write(&target, old.as_ref(), (new, metadata), temp, report)
            }
            Action::WriteInPlace { old, old_content, new } => self.finish_in_place(&target, old, old_content, new),
            Action::Delete { old, aside } => self.finish_delete(&target, old, aside, report),
            Action::MoveFrom { file, overwritten, aside, .. } => {
                self.finish_move(&target, source, (file, overwritten.as_ref()), aside, report)
            }
        };
        end.inspect_err(|_| self.left_behind())
    }

    fn finish_write(
        &self,
        target: &Target,
        old: Option<&OldFile>,
        (new, metadata): (&[u8], &Metadata),
        temp: &OsStr,
        report: &mut RecoveryReport,
    ) -> io::Result<End> {
        if target.holds(target.name, new)? {
            // What was exchanged with it has this name.
            self.discard(target, temp, report)?;
            self.sync(target, target.name)?;
            return Ok(End::Done);
        }
        let now = target.look(target.name)?;
        let is_ready = target.holds(temp, new)?;
        if !target.is(now.as_ref(), old, target.name)? {
            if is_ready {
                self.disk.remove(&target.dir, temp)?;
            }
            return Ok(End::changed());
        }
        let ready = if is_ready { temp.to_owned() } else { self.write_beside(target, now.as_ref(), (new, metadata))? };
        self.sync(target, &ready)?;
        let is_put = match old.zip(now) {
            Some((old, now)) => self.put_over(target, &ready, (old, &now))?,
            None => self.disk.rename_new((&target.dir, &ready), (&target.dir, target.name)).map(|()| true)?,
        };
        self.discard(target, &ready, report)?;
        self.disk.sync_dir(&target.dir)?;
        Ok(if is_put { End::Done } else { End::changed() })
    }

    /// Lets a new content and the old one change places, unless it is another one that comes out.
    fn put_over(&self, target: &Target, ready: &OsStr, (old, now): (&OldFile, &FileStat)) -> io::Result<bool> {
        let (here, beside) = ((&*target.dir, target.name), (&*target.dir, ready));
        match self.disk.exchange(beside, here) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return self.replace(target, ready, (old, now));
            }
            result => result?,
        }
        let is_old = target.is_at(ready, old)?;
        if !is_old {
            self.disk.exchange(beside, here)?;
        }
        Ok(is_old)
    }

    /// The same where that is impossible: what is here gets a second name before it loses this one.
    fn replace(&self, target: &Target, ready: &OsStr, (old, now): (&OldFile, &FileStat)) -> io::Result<bool> {
        self.note_temporaries(target.directory(), target.dir.id(), true)?;
        let second = self.temp_names.next(Some(now));
        match self.disk.link(&target.dir, target.name, &second) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return self.disk.replace(&target.dir, ready, target.name).map(|()| true);
            }
            result => result?,
        }
        if let Err(error) = self.disk.replace(&target.dir, ready, target.name) {
            self.disk.remove(&target.dir, &second)?;
            return Err(error);
        }
        let is_old = target.is_at(&second, old)?;
        if is_old {
            self.disk.remove(&target.dir, &second)?;
        } else {
            self.disk.replace(&target.dir, &second, target.name)?;
        }
        Ok(is_old)
    }

    /// Writes the content once more, for a target whose temporary file did not survive.
    fn write_beside(
        &self,
        target: &Target,
        now: Option<&FileStat>,
        (new, metadata): (&[u8], &Metadata),
    ) -> io::Result<OsString> {
        self.note_temporaries(target.directory(), target.dir.id(), true)?;
        let first_name = self.temp_names.next(None);
        let file = self.disk.create(&target.dir, &first_name, NewFileAccess::Private)?;
        let filled = write_all(&*self.disk, &file, new).and_then(|()| self.disk.set_metadata(&file, metadata));
        let named = filled.and_then(|lost| {
            if !lost.is_empty() {
                tracing::warn!(name = ?target.name, ?lost, "metadata could not be preserved");
            }
            let written = stat_file(&file)?;
            let name = self.temp_names.next(iter::once(&written).chain(now));
            self.disk.rename_new((&target.dir, &first_name), (&target.dir, &name)).map(|()| name)
        });
        named.or_else(|error| {
            self.disk.remove(&target.dir, &first_name)?;
            Err(error)
        })
    }

    fn finish_in_place(&self, target: &Target, old: &OldFile, old_content: &[u8], new: &[u8]) -> io::Result<End> {
        let file = match target.dir.open_to_write(target.name) {
            Err(error) if is_gone(&error) => return Ok(End::changed()),
            file => file?,
        };
        let stat = stat_file(&file)?;
        let longest = old_content.len().max(new.len()) as u64;
        if stat.inode != old.inode || stat.size > longest || !is_mixture(&read(&file)?, old_content, new) {
            return Ok(End::changed());
        }
        overwrite(&*self.disk, &file, new, old.mode, true)?;
        Ok(End::Done)
    }

    fn finish_delete(
        &self,
        target: &Target,
        old: &OldFile,
        aside: &OsStr,
        report: &mut RecoveryReport,
    ) -> io::Result<End> {
        let was_aside = self.discard(target, aside, report)?;
        let is_gone = match target.look(target.name)? {
            None => true,
            Some(now) if target.is(Some(&now), Some(old), target.name)? => self.remove_old(target, aside, old)?,
            // If so, somebody has made it again after it was gone.
            Some(_) => was_aside,
        };
        self.disk.sync_dir(&target.dir)?;
        Ok(if is_gone { End::Done } else { End::changed() })
    }

    /// Removes a file, unless it is seen to be another one when it has lost its name.
    fn remove_old(&self, target: &Target, aside: &OsStr, old: &OldFile) -> io::Result<bool> {
        let is_aside = self.set_aside(target, aside, old)?;
        if is_aside {
            self.disk.remove(&target.dir, aside)?;
        }
        Ok(is_aside)
    }

    /// Gives a file its temporary name, unless it turns out to be another one.
    fn set_aside(&self, target: &Target, aside: &OsStr, old: &OldFile) -> io::Result<bool> {
        let (here, beside) = ((&*target.dir, target.name), (&*target.dir, aside));
        self.disk.rename_new(here, beside)?;
        let is_old = target.is_at(aside, old)?;
        if !is_old {
            self.disk.rename_new(beside, here)?;
        }
        Ok(is_old)
    }

    fn finish_move(
        &self,
        target: &Target,
        source: Option<Target>,
        (file, overwritten): (&OldFile, Option<&OldFile>),
        aside: &OsStr,
        report: &mut RecoveryReport,
    ) -> io::Result<End> {
        let has_come = target.is_at(target.name, file)?;
        if !has_come && !self.bring(target, source.as_ref(), (file, overwritten), aside)? {
            if target.look(target.name)?.is_none() && target.look(aside)?.is_some() {
                // What was to make way for it comes back.
                self.disk.rename_new((&target.dir, aside), (&target.dir, target.name))?;
                self.disk.sync_dir(&target.dir)?;
            }
            return Ok(End::changed());
        }
        if let Some(overwritten) = overwritten {
            self.discard(target, aside, report)?;
            if let Some(source) = &source {
                self.discard(source, aside, report)?;
                if source.is_at(source.name, overwritten)? {
                    self.remove_old(source, aside, overwritten)?;
                }
            }
        }
        if let Some(source) = &source {
            self.disk.sync_dir(&source.dir)?;
        }
        self.sync(target, target.name)?;
        Ok(End::Done)
    }

    /// Lets a file come from its source, where the one that it overwrites, if any, then is.
    fn bring(
        &self,
        target: &Target,
        source: Option<&Target>,
        (file, overwritten): (&OldFile, Option<&OldFile>),
        aside: &OsStr,
    ) -> io::Result<bool> {
        let Some(source) = source else { return Ok(false) };
        let here = target.look(target.name)?;
        if !source.is_at(source.name, file)? {
            return Ok(false);
        }
        let (from, to) = ((&*source.dir, source.name), (&*target.dir, target.name));
        let Some(here) = here else {
            self.disk.rename_new(from, to)?;
            let is_right = target.is_at(target.name, file)?;
            if !is_right {
                self.disk.rename_new(to, from)?;
            }
            return Ok(is_right);
        };
        let Some(overwritten) = overwritten else { return Ok(false) };
        if !target.is(Some(&here), Some(overwritten), target.name)? {
            return Ok(false);
        }
        match self.disk.exchange(from, to) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(self.set_aside(target, aside, overwritten)?
                    && self.bring(target, Some(source), (file, None), aside)?);
            }
            result => result?,
        }
        let is_right = target.is_at(target.name, file)? && source.is_at(source.name, overwritten)?;
        if !is_right {
            self.disk.exchange(from, to)?;
        }
        Ok(is_right)
    }

    /// Removes what has a temporary name, if anything, unless it is somebody else's: a file that came in the moment of
    /// the exchange, or was written to since. That one is kept.
    fn discard(&self, target: &Target, name: &OsStr, report: &mut RecoveryReport) -> io::Result<bool> {
        self.discard_in(&target.dir, name, target.directory(), report)
    }

    pub(super) fn discard_in(
        &self,
        dir: &Dir,
        name: &OsStr,
        path: &Path,
        report: &mut RecoveryReport,
    ) -> io::Result<bool> {
        let stat = match dir.stat(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            stat => stat?,
        };
        if is_foreign(name, &stat) {
            let kept = kept_name(name);
            self.disk.rename_new((dir, name), (dir, &kept))?;
            report.kept.push(path.join(kept));
        } else {
            self.disk.remove(dir, name)?;
        }
        Ok(true)
    }

    /// Syncs a file and its name.
    fn sync(&self, target: &Target, name: &OsStr) -> io::Result<()> {
        self.disk.sync_file(&target.dir.open_to_sync(name)?)?;
        self.disk.sync_dir(&target.dir)
    }

    /// The place that a file comes from, unless its directory is gone.
    fn open_source<'s>(&self, from: &'s RecordedPath) -> io::Result<Option<Target<'s>>> {
        match self.open_parent(from, false) {
            Ok(dir) => Ok(Some(Target::new(dir, from))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory that a path lies in, beneath its root; fails at links.
    fn open_parent(&self, path: &RecordedPath, make: bool) -> io::Result<Arc<Dir>> {
        // It was recorded as a path without links, so one on it has come since.
        if std::fs::canonicalize(&path.root).map_err(io::Error::other)? != path.root {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the root leads somewhere else now"));
        }
        let mut dir = Arc::new(Dir::open_absolute(&path.root)?);
        let parent = path.relative.parent().unwrap_or(Path::new(""));
        for component in parent.components() {
            let Component::Normal(name) = component else { return Err(io::ErrorKind::InvalidData.into()) };
            let inner = match dir.open_dir(Path::new(name)) {
                Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                    self.disk.make_dir(&dir, name)?;
                    dir.open_dir(Path::new(name))
                }
                opened => opened,
            };
            if make {
                // Who has made it may have died before this.
                self.disk.sync_dir(&dir)?;
            }
            dir = Arc::new(inner?);
        }
        Ok(dir)
    }
}

/// Whether a crash in the middle of writing the new content over the old one may have left this: whatever order the
/// pieces came to the disk in.
fn is_mixture(now: &[u8], old: &[u8], new: &[u8]) -> bool {
    let at = |content: &[u8], index: usize| content.get(index).copied().unwrap_or(0);
    now.len() >= old.len().min(new.len())
        && now.iter().enumerate().all(|(index, byte)| *byte == at(old, index) || *byte == at(new, index))
}
