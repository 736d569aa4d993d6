//! From what the places hold in the end to what is to be done at each of them.

use std::io;

use super::{
    Action, Like, Original, PlannedStep,
    draft::{Now, Slot, in_file},
};
use crate::{
    engine::Engine,
    error::{IoError, IoErrorKind},
    hash::ContentHash,
    roots::RootedPath,
};

const COPY_OF_HARD_LINK: &str = "renaming a file that has several hard links in one request with an edit of it, or so that files exchange their names,";

impl Engine {
    /// The steps in the order in which they can be done, each with the index of its place; or the error of a place.
    pub(in crate::engine) fn steps(&self, slots: &[Slot]) -> Result<Vec<(usize, PlannedStep)>, (usize, IoError)> {
        let moves = Moves::of(slots);
        let mut order = Vec::with_capacity(slots.len());
        let mut seen = vec![false; slots.len()];
        for first in 0..slots.len() {
            // A file must have left its place before another one comes there.
            let mut waiting = Vec::new();
            let mut next = Some(first);
            while let Some(slot) = next.filter(|slot| !seen[*slot]) {
                seen[slot] = true;
                waiting.push(slot);
                next = moves.to[slot];
            }
            order.extend(waiting.into_iter().rev());
        }
        let steps = order.into_iter().filter_map(|slot| match self.step(slots, slot, &moves) {
            Ok(step) => step.map(|step| Ok((slot, step))),
            Err(error) => Some(Err((slot, error))),
        });
        steps.enumerate().map(|(order, step)| step.map(|(slot, step)| (slot, PlannedStep { order, ..step }))).collect()
    }

    /// What is to be done at a place, if anything.
    fn step(&self, slots: &[Slot], index: usize, moves: &Moves) -> Result<Option<PlannedStep>, IoError> {
        let Slot { path, create_parents, now, before, .. } = &slots[index];
        let create_parents = *create_parents;
        let in_cycle = moves.in_cycle[index];
        // Of files that change places in a circle none can leave first: they are copied.
        let leaves = moves.to[index].is_some() && !in_cycle;
        let original = before.as_ref().filter(|_| !leaves).map(Original::of);
        if loses_links(slots, index, in_cycle) {
            return Err(in_file(path)(IoErrorKind::NotSupported(COPY_OF_HARD_LINK)));
        }
        let action = match now {
            Now::Original(from) if *from == index => return Ok(None),
            Now::Nothing if original.is_none() => return Ok(None),
            Now::Nothing => Action::Delete,
            Now::Original(from) => {
                let source = &slots[*from];
                let moved = source.before.as_ref().ok_or_else(|| in_file(path)(not_read()))?;
                if are_on_different_devices(source.path, path) {
                    return Err(in_file(path)(IoErrorKind::AcrossFileSystems));
                }
                if !in_cycle {
                    Action::MoveFrom { from: source.path.clone(), file: Original::of(moved), create_parents }
                } else if moved.whole {
                    let (new, hash) = (moved.content.bytes.clone(), moved.content.hash);
                    let like = Like::File(source.path.clone());
                    Action::Write { new, hash, like, create_parents, in_place: false }
                } else {
                    let (bytes, limit) = (moved.content.stat.size, self.max_file_bytes);
                    return Err(in_file(path)(IoErrorKind::TooLarge { bytes, limit }));
                }
            }
            Now::Text { text, like } => {
                let like_file = like.map(|like| slots[like].path);
                let new = text.clone().into_bytes();
                write(new, like_file.map_or(Like::New, |path| Like::File(path.clone())), create_parents)
                    .in_place_if(*like == Some(index) && keeps_its_inode(path))
            }
            Now::Bytes { bytes, metadata } => {
                let like = metadata.clone().map_or_else(|| Like::File((*path).clone()), Like::Gone);
                write(bytes.clone(), like, create_parents).in_place_if(original.is_some() && keeps_its_inode(path))
            }
        };
        if let (Action::Write { hash, .. }, Some(original)) = (&action, &original) {
            let same_file = match now {
                Now::Text { like, .. } => like.is_none_or(|like| like == index),
                Now::Bytes { .. } => true,
                Now::Nothing | Now::Original(_) => false,
            };
            if same_file && original.hash == *hash {
                return Ok(None);
            }
        }
        let step = PlannedStep { order: 0, path: (*path).clone(), original, action };
        self.check_writable(&step)?;
        Ok(Some(step))
    }

    /// Refuses, before anything is touched, what could not or must not be written.
    fn check_writable(&self, step: &PlannedStep) -> Result<(), IoError> {
        let PlannedStep { path, original, action, .. } = step;
        let refuse = |kind| Err(in_file(path)(kind));
        if let Action::MoveFrom { from, .. } = action {
            check_directory(from)?;
        }
        let dir = match (path.dir(), action) {
            (
                Err(error),
                Action::Write { create_parents: true, .. } | Action::MoveFrom { create_parents: true, .. },
            ) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            (Err(error), _) => return Err(IoError::os(path.relative(), "open the parent directory", error)),
            (Ok(dir), _) => dir,
        };
        let in_place = matches!(action, Action::Write { in_place: true, .. });
        if !in_place {
            check_directory(path)?;
        }
        let Some(original) = original else { return Ok(()) };
        if original.stat.is_read_only() {
            return refuse(IoErrorKind::ReadOnly);
        }
        if in_place && self.state.is_none() {
            return refuse(IoErrorKind::NotSupported(
                "writing a file that has several hard links or is a mount point, without a state directory,",
            ));
        }
        if !in_place && dir.is_mount_point(path.name()) {
            return Err(IoError::os(path.relative(), "replace a mount point", io::ErrorKind::ResourceBusy.into()));
        }
        dir.check_writable(path.name()).map_err(|error| IoError::os(path.relative(), "write", error))
    }
}

fn check_directory(path: &RootedPath) -> Result<(), IoError> {
    let dir = path.dir().map_err(|error| IoError::os(path.relative(), "open the parent directory", error))?;
    #[cfg(unix)]
    dir.check_changeable().map_err(|error| IoError::os(path.relative(), "change the directory", error))?;
    let _ = dir;
    Ok(())
}

/// Where the originals of the places are in the end.
struct Moves {
    /// The other place; there is at most one.
    to: Vec<Option<usize>>,
    /// The places that change their files in a circle.
    in_cycle: Vec<bool>,
}

impl Moves {
    fn of(slots: &[Slot]) -> Self {
        let mut to = vec![None; slots.len()];
        for (index, slot) in slots.iter().enumerate() {
            match slot.now {
                Now::Original(from) if from != index => to[from] = Some(index),
                _ => {}
            }
        }
        let mut in_cycle = vec![false; slots.len()];
        let mut seen = vec![false; slots.len()];
        for first in 0..slots.len() {
            if seen[first] {
                continue;
            }
            let mut next = Some(first);
            while let Some(slot) = next.filter(|slot| !seen[*slot]) {
                seen[slot] = true;
                next = to[slot];
            }
            // As no two files come to one place, a way can only close where it began.
            if next == Some(first) {
                let mut at = first;
                while !std::mem::replace(&mut in_cycle[at], true) {
                    at = to[at].unwrap_or(at);
                }
            }
        }
        Self { to, in_cycle }
    }
}

/// Hash of what a place holds in the end.
pub(super) fn hash_at(slots: &[Slot], index: usize) -> Option<ContentHash> {
    match &slots[index].now {
        Now::Nothing => None,
        Now::Original(original) => slots[*original].before.as_ref().map(|before| before.content.hash),
        Now::Text { text, .. } => Some(ContentHash::of(text.as_bytes())),
        Now::Bytes { bytes, .. } => Some(ContentHash::of(bytes)),
    }
}

fn are_on_different_devices(one: &RootedPath, other: &RootedPath) -> bool {
    let device = |path: &RootedPath| path.dir().map(|dir| dir.id().device);
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one != other)
}

/// Whether replacing the file would lose a hard link or is impossible.
fn keeps_its_inode(path: &RootedPath) -> bool {
    let links = path.stat().map_or(0, |stat| stat.links);
    links > 1 || (links == 1 && path.dir().is_ok_and(|dir| dir.is_mount_point(path.name())))
}

/// Whether a file with several names would be copied to the place, where none of the others follows.
fn loses_links(slots: &[Slot], index: usize, in_cycle: bool) -> bool {
    let copied = match &slots[index].now {
        Now::Original(from) if in_cycle => Some(*from),
        Now::Text { like, .. } => like.filter(|like| *like != index),
        Now::Original(_) | Now::Nothing | Now::Bytes { .. } => None,
    };
    let before = copied.and_then(|from| slots[from].before.as_ref());
    before.is_some_and(|before| before.content.stat.links > 1)
}

fn write(new: Vec<u8>, like: Like, create_parents: bool) -> Action {
    let hash = ContentHash::of(&new);
    Action::Write { new, hash, like, create_parents, in_place: false }
}

impl Action {
    fn in_place_if(self, condition: bool) -> Self {
        match self {
            Self::Write { new, hash, like, create_parents, .. } => {
                Self::Write { new, hash, like, create_parents, in_place: condition }
            }
            other => other,
        }
    }
}

fn not_read() -> IoErrorKind {
    IoErrorKind::Internal("a file that was not read".into())
}
