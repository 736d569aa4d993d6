//! Putting a step in place in one go, and taking it back.

use std::{io, path::PathBuf};

use uuid::Uuid;

use super::prepare::{Ctime, Ready, check_same, supported};
use crate::{
    disk::{Dir, FileStat, stat_file},
    engine::{
        Engine,
        file::hash_open_file,
        in_place::overwrite,
        plan::{Action, Original, PlannedStep},
        state::StateDir,
    },
    error::{IoError, IoErrorKind},
    hash::ContentHash,
    roots::RootedPath,
    temp_name::kept_name,
};

/// How a step was put in place, which says how it is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// New and old content have changed places.
    Exchanged,
    /// The old content is gone, where the file system has neither exchanges nor second names.
    Replaced,
    /// There was nothing before.
    Named,
    /// The file has another name until it is removed.
    SetAside,
    /// The file has come from another place; what was here, if anything, is set aside there.
    Moved,
    /// The same where two files cannot change places: what was here is set aside here.
    MovedAfterSettingAside,
    WrittenInPlace,
}

impl Engine {
    pub(super) fn put_in_place(
        &self,
        step: &PlannedStep,
        ready: &mut Ready,
        (origin, sync): (Uuid, bool),
    ) -> Result<Put, IoError> {
        self.announce(step, origin);
        let result = match (&step.action, &step.original) {
            (Action::Write { new, in_place: true, .. }, Some(original)) => {
                self.write_in_place(step, original, &ready.dir, new, sync).map(|()| Put::WrittenInPlace)
            }
            (Action::Write { .. }, Some(original)) => self.put_over(step, original, ready),
            (Action::Write { .. }, None) => {
                let renamed = self.disk.rename_new((&ready.dir, &ready.name), (&ready.dir, step.path.name()));
                renamed.map_err(|error| failed(step, error)).map(|()| {
                    ready.surplus = None;
                    Put::Named
                })
            }
            (Action::Delete, Some(original)) => self.set_aside(step, original, ready),
            (Action::MoveFrom { .. }, overwritten) => self.move_here(step, overwritten.as_ref(), ready),
            (Action::Delete, None) => Err(IoError::new(step.path.relative(), IoErrorKind::NotFound)),
        };
        match result {
            Ok(_) => self.confirm(step),
            Err(_) => self.withdraw(step),
        }
        result
    }

    /// Takes a step back; returns where it has kept what somebody has written meanwhile, if anything.
    pub(super) fn take_back_step(&self, step: &PlannedStep, ready: &mut Ready, how: Put) -> io::Result<Option<String>> {
        let (dir, name) = (ready.dir.clone(), ready.name.clone());
        let (here, aside) = ((&*dir, step.path.name()), (&*dir, name.as_os_str()));
        let mut kept = None;
        match (how, &step.action) {
            (Put::Exchanged, _) => {
                let written = ready.written.ok_or(io::ErrorKind::InvalidInput)?;
                self.exchange(step, ready, &written)?;
                kept = self.keep_foreign(step, ready);
            }
            (Put::Replaced, _) => return Err(io::ErrorKind::Unsupported.into()),
            (Put::Named, _) => {
                self.disk.rename_new(here, aside)?;
                ready.surplus = Some((dir.clone(), name.clone()));
                kept = self.keep_foreign(step, ready);
            }
            (Put::SetAside, _) => {
                self.disk.rename_new(aside, here)?;
                ready.surplus = None;
            }
            (Put::Moved, Action::MoveFrom { from, .. }) => {
                let dir = ready.from.as_deref().ok_or(io::ErrorKind::InvalidInput)?;
                let there = (dir, from.name());
                if step.original.is_some() {
                    self.disk.rename_new((dir, &ready.name), there)?;
                    ready.surplus = None;
                    self.disk.exchange(there, here)?;
                } else {
                    self.disk.rename_new(here, there)?;
                }
            }
            (Put::MovedAfterSettingAside, Action::MoveFrom { from, .. }) => {
                let dir = ready.from.as_deref().ok_or(io::ErrorKind::InvalidInput)?;
                self.disk.rename_new(here, (dir, from.name()))?;
                self.disk.rename_new(aside, here)?;
                ready.surplus = None;
            }
            (Put::WrittenInPlace, Action::Write { hash, .. }) => {
                let original = step.original.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
                self.write_back(step, original, &ready.dir, *hash)?;
            }
            (Put::Moved | Put::MovedAfterSettingAside | Put::WrittenInPlace, _) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        self.withdraw(step);
        Ok(kept)
    }

    /// Lets the new content take the place of the old one and looks at what has come out.
    fn put_over(&self, step: &PlannedStep, original: &Original, ready: &mut Ready) -> Result<Put, IoError> {
        let exchanged = supported(self.exchange(step, ready, &original.stat));
        if exchanged.map_err(|error| failed(step, error))?.is_none() {
            self.check_same(original, &ready.dir, step.path.name(), &step.path, Ctime::Same)?;
            self.disk.replace(&ready.dir, &ready.name, step.path.name()).map_err(|error| failed(step, error))?;
            ready.surplus = None;
            return Ok(Put::Replaced);
        }
        let written = ready.written.unwrap_or(original.stat);
        match self.check_same(original, &ready.dir, &ready.name, &step.path, Ctime::Renamed) {
            Ok(()) => Ok(Put::Exchanged),
            Err(error) => {
                Err(self.give_back(step, ready, error, |engine, ready| engine.exchange(step, ready, &written)))
            }
        }
    }

    /// Lets the file at a step's path, which is this one by its stat data, and the one beside it change places.
    fn exchange(&self, step: &PlannedStep, ready: &mut Ready, at_path: &FileStat) -> io::Result<()> {
        let (dir, here) = (ready.dir.clone(), step.path.name());
        if supported(self.disk.exchange((&dir, here), (&dir, &ready.name)))?.is_some() {
            return Ok(());
        }
        // Where that is impossible, what is here gets a second name before it loses this one.
        let second = self.temp_names.next(Some(at_path));
        self.disk.link(&dir, here, &second)?;
        if let Err(error) = self.disk.replace(&dir, &ready.name, here) {
            self.remove_temporary(&dir, &second);
            return Err(error);
        }
        ready.surplus = Some((dir, second.clone()));
        ready.name = second;
        Ok(())
    }

    fn set_aside(&self, step: &PlannedStep, original: &Original, ready: &mut Ready) -> Result<Put, IoError> {
        let (here, aside) = ((&*ready.dir, step.path.name()), (&*ready.dir, ready.name.as_os_str()));
        self.disk.rename_new(here, aside).map_err(|error| failed(step, error))?;
        if let Err(error) = self.check_same(original, &ready.dir, &ready.name, &step.path, Ctime::Renamed) {
            return Err(self.give_back(step, ready, error, |engine, ready| {
                engine.disk.rename_new((&ready.dir, &ready.name), (&ready.dir, step.path.name()))
            }));
        }
        ready.surplus = Some((ready.dir.clone(), ready.name.clone()));
        Ok(Put::SetAside)
    }

    fn move_here(&self, step: &PlannedStep, overwritten: Option<&Original>, ready: &mut Ready) -> Result<Put, IoError> {
        let (Action::MoveFrom { from, file, .. }, Some(dir)) = (&step.action, ready.from.clone()) else {
            return Err(IoError::new(step.path.relative(), IoErrorKind::Internal("a move from nowhere".into())));
        };
        let (there, here) = ((&*dir, from.name()), (&*ready.dir, step.path.name()));
        let moved = match overwritten {
            Some(_) => self.disk.exchange(there, here),
            None => self.disk.rename_new(there, here),
        };
        match (moved, overwritten) {
            (Err(error), Some(overwritten)) if error.kind() == io::ErrorKind::Unsupported => {
                return self.move_after_setting_aside(step, overwritten, (from, file, &dir), ready);
            }
            (moved, _) => moved.map_err(|error| failed(step, error))?,
        }
        let moved = self.check_same(file, &ready.dir, step.path.name(), from, Ctime::Renamed);
        let left = overwritten
            .map_or(Ok(()), |overwritten| self.check_same(overwritten, &dir, from.name(), &step.path, Ctime::Renamed));
        let cleared = moved.and(left).and_then(|()| match overwritten {
            Some(_) => self.disk.rename_new(there, (&dir, &ready.name)).map_err(|error| failed(step, error)),
            None => Ok(()),
        });
        if let Err(error) = cleared {
            return Err(self.give_back(step, ready, error, |engine, ready| match overwritten {
                Some(_) => engine.disk.exchange((&dir, from.name()), (&ready.dir, step.path.name())),
                None => engine.disk.rename_new((&ready.dir, step.path.name()), (&dir, from.name())),
            }));
        }
        if overwritten.is_some() {
            ready.surplus = Some((dir, ready.name.clone()));
        }
        Ok(Put::Moved)
    }

    fn move_after_setting_aside(
        &self,
        step: &PlannedStep,
        overwritten: &Original,
        (from, file, dir): (&RootedPath, &Original, &Dir),
        ready: &mut Ready,
    ) -> Result<Put, IoError> {
        self.set_aside(step, overwritten, ready)?;
        let moved = self
            .disk
            .rename_new((dir, from.name()), (&ready.dir, step.path.name()))
            .map_err(|error| failed(step, error))
            .and_then(|()| {
                let same = self.check_same(file, &ready.dir, step.path.name(), from, Ctime::Renamed);
                same.map_err(|error| {
                    self.give_back(step, ready, error, |engine, ready| {
                        engine.disk.rename_new((&ready.dir, step.path.name()), (dir, from.name()))
                    })
                })
            });
        match moved {
            Ok(()) => Ok(Put::MovedAfterSettingAside),
            Err(error) => {
                ready.surplus = None;
                Err(self.give_back(step, ready, error, |engine, ready| {
                    engine.disk.rename_new((&ready.dir, &ready.name), (&ready.dir, step.path.name()))
                }))
            }
        }
    }

    /// Undoes a swap that failed half way or has brought out another file than was expected. If that fails, nothing is
    /// removed: what came out may be somebody's content.
    fn give_back(
        &self,
        step: &PlannedStep,
        ready: &mut Ready,
        error: IoError,
        back: impl FnOnce(&Self, &mut Ready) -> io::Result<()>,
    ) -> IoError {
        let Err(not_taken_back) = back(self, ready) else {
            let Some(kept) = self.keep_foreign(step, ready) else { return error };
            return IoError::new(step.path.relative(), IoErrorKind::KeptBeside { cause: error.kind.to_string(), kept });
        };
        let kept = self.keep(step, ready).map(|kept| format!("; what came out is kept beside the file as {kept}"));
        let not_taken_back = format!("{not_taken_back}{}", kept.unwrap_or_default());
        tracing::error!(
            path = %step.path.absolute().display(), cause = %error, error = %not_taken_back,
            "a file could not be given its name back"
        );
        // Somebody else's change must not be overwritten by going on.
        let recorded = !matches!(error.kind, IoErrorKind::ContentMismatch { .. });
        let cause = error.kind.to_string();
        let kind = IoErrorKind::Unfinished { cause, not_taken_back, recorded };
        IoError::new(step.path.relative(), kind)
    }

    /// Keeps a new content that was taken back if somebody has written to it while it was in place, and returns where.
    fn keep_foreign(&self, step: &PlannedStep, ready: &mut Ready) -> Option<String> {
        let written = ready.written?;
        let now = ready.dir.stat(&ready.name).ok()?;
        if (now.inode, now.size, now.modified) == (written.inode, written.size, written.modified) {
            return None;
        }
        self.keep(step, ready)
    }

    /// Gives what has the temporary name, if anything, one by which it stays, and returns that.
    fn keep(&self, step: &PlannedStep, ready: &mut Ready) -> Option<String> {
        let kept = kept_name(&ready.name);
        ready.surplus = None;
        let kept = match self.disk.rename_new((&ready.dir, &ready.name), (&ready.dir, &kept)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => {
                // The next start sees by the name that it is to be kept.
                self.state.iter().for_each(StateDir::left_behind);
                &ready.name
            }
            Ok(()) => &kept,
        };
        tracing::error!(path = %step.path.absolute().display(), ?kept, "a change from outside is kept beside the file");
        Some(step.path.relative().with_file_name(kept).to_string_lossy().into_owned())
    }

    /// Writes over the old content; if that fails, the old content is written back. What is compared is what is written
    /// to, whatever becomes of its name.
    fn write_in_place(
        &self,
        step: &PlannedStep,
        original: &Original,
        dir: &Dir,
        new: &[u8],
        sync: bool,
    ) -> Result<(), IoError> {
        let relative = step.path.relative();
        let file = dir.open_to_write(step.path.name()).map_err(|error| IoError::os(relative, "open", error))?;
        let now = stat_file(&file).map_err(|error| IoError::os(relative, "look at", error))?;
        check_same(original, &now, Ctime::Same, &step.path, || hash_open_file(&file))?;
        let mode = original.stat.mode;
        let Err(error) = overwrite(&*self.disk, &file, new, mode, sync) else { return Ok(()) };
        match overwrite(&*self.disk, &file, step.old_bytes(), mode, sync) {
            Ok(()) => Err(IoError::os(relative, "write", error)),
            Err(again) => {
                let (cause, not_taken_back) = (error.to_string(), again.to_string());
                Err(IoError::new(relative, IoErrorKind::Unfinished { cause, not_taken_back, recorded: true }))
            }
        }
    }

    /// Writes the old content back where the new one still is.
    fn write_back(&self, step: &PlannedStep, original: &Original, dir: &Dir, new: ContentHash) -> io::Result<()> {
        let file = dir.open_to_write(step.path.name())?;
        let (now, before) = (stat_file(&file)?, &original.stat);
        if (now.device, now.inode) != (before.device, before.inode) || hash_open_file(&file)? != new {
            return Err(io::Error::other("it was changed meanwhile"));
        }
        overwrite(&*self.disk, &file, step.old_bytes(), before.mode, true)
    }

    /// Tells beforehand what will be seen.
    fn announce(&self, step: &PlannedStep, origin: Uuid) {
        for (path, content) in left_by(step) {
            self.observer.will_write(&path, content, origin);
        }
        self.forget(step);
    }

    fn confirm(&self, step: &PlannedStep) {
        for (path, content) in left_by(step) {
            self.observer.did_write(&path, content);
        }
        self.forget(step);
    }

    fn withdraw(&self, step: &PlannedStep) {
        for (path, content) in left_by(step).into_iter().rev() {
            self.observer.did_not_write(&path, content);
        }
        self.forget(step);
    }

    fn forget(&self, step: &PlannedStep) {
        self.last_reading.forget();
        self.cache.forget(&step.path.absolute());
        if let Action::MoveFrom { from, .. } = &step.action {
            self.cache.forget(&from.absolute());
        }
    }
}

/// The places that a step changes, in this order, and the content that each has then.
fn left_by(step: &PlannedStep) -> Vec<(PathBuf, Option<ContentHash>)> {
    let here = step.path.absolute();
    match &step.action {
        Action::Write { hash, .. } => vec![(here, Some(*hash))],
        Action::Delete => vec![(here, None)],
        Action::MoveFrom { from, file, .. } => vec![(from.absolute(), None), (here, Some(file.hash))],
    }
}

fn failed(step: &PlannedStep, error: io::Error) -> IoError {
    let operation = match step.action {
        Action::Write { .. } => "put the new content in place",
        Action::Delete => "delete the file",
        Action::MoveFrom { .. } => "rename the file",
    };
    IoError::os(step.path.relative(), operation, error)
}
