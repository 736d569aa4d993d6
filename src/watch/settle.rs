//! The net effect of what is due: what subscribers were told before, against what is on disk now.

use std::{
    iter,
    path::{Path, PathBuf},
};

use super::{
    debounce::{DirectoryChange, FileChange},
    index::{Index, Look},
};

/// What there is to tell about a path, true at the moment of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Net {
    Created,
    Modified,
    Deleted,
    Renamed { from: PathBuf },
}

/// The questions asked about the disk.
pub(super) trait Disk {
    fn is_file(&self, path: &Path) -> bool;
    fn is_directory(&self, path: &Path) -> bool;
}

/// Compares one file; the caller tells what comes out, and the index then knows of it.
///
/// Never says that something was created or modified that is not there, nor that something was deleted that is.
pub(super) fn settle_file(
    change: &FileChange,
    found: Option<Look>,
    index: &mut Index,
    disk: &impl Disk,
) -> Option<Net> {
    let path = &change.path;
    let was_there = index.knows(path).or(change.existed);
    let Some(look) = found else {
        index.remove(path);
        return (was_there == Some(true)).then_some(Net::Deleted);
    };
    let source = change.from.as_deref().filter(|from| index.knows(from) != Some(false) && !disk.is_file(from));
    if let Some(from) = source {
        index.insert(path, look, true);
        index.remove(from);
        return Some(Net::Renamed { from: from.to_path_buf() });
    }
    let before = index.look(path).copied();
    let is_same = before.is_some_and(|before| match before.is_same(&look) {
        Some(is_same) => is_same,
        // Without its content only its times can tell, and not yet: the next look will.
        None => !change.touched && before.content == 0 && look.content == 0 && !look.after(&before).settled,
    });
    index.insert(path, look, !is_same);
    match was_there {
        Some(false) => Some(Net::Created),
        _ if is_same => None,
        Some(true) | None => (change.touched || before.is_some()).then_some(Net::Modified),
    }
}

/// What a directory's change comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DirectoryNet {
    /// The directories and the changes that stand for all the files in them, in this order.
    pub tell: Vec<(PathBuf, Net)>,
    /// Files may have come and gone below these directories while they were not watched.
    pub check: Vec<PathBuf>,
}

pub(super) fn settle_directory(change: DirectoryChange, index: &mut Index, disk: &impl Disk) -> DirectoryNet {
    let mut tell = Vec::new();
    let gone = match change {
        DirectoryChange::Moved { from, to } if disk.is_directory(&to) => {
            // One that is back where it was needs no word, but may have been away while its files were looked at.
            if from != to {
                // Whatever was there has gone before, or it could not have been moved there.
                if index.remove_directory(&to) {
                    tell.push((to.clone(), Net::Deleted));
                }
                if index.move_directory(&from, &to) {
                    tell.push((to.clone(), Net::Renamed { from: from.clone() }));
                }
            }
            // Two may have changed places.
            let other = (from != to && disk.is_directory(&from)).then_some(from);
            return DirectoryNet { tell, check: iter::once(to).chain(other).collect() };
        }
        DirectoryChange::Moved { from: gone, .. } | DirectoryChange::Gone(gone) => gone,
    };
    if disk.is_directory(&gone) {
        // Another one has taken its place: each file has to speak for itself.
        return DirectoryNet { tell, check: vec![gone] };
    }
    if index.remove_directory(&gone) {
        tell.push((gone, Net::Deleted));
    }
    DirectoryNet { tell, check: Vec::new() }
}
