//! Tests of the parts together; those of one part stand in its own file.

// What the system tells of, and how, differs elsewhere.
#[cfg(target_os = "linux")]
mod disk;
mod failures;
#[cfg(target_os = "linux")]
mod field;
#[cfg(target_os = "linux")]
mod histories;
mod model;
#[cfg(target_os = "linux")]
mod own;
#[cfg(target_os = "linux")]
mod random;
mod tables;
mod world;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::events::{FileChangeEvent, FileEventKind};

/// Far longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

pub fn describe(change: &FileChangeEvent, root: &Path) -> String {
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let kind = format!("{:?}", change.kind).to_lowercase();
    let directory = if change.directory { " directory" } else { "" };
    let from = change.old_path.as_deref().map(|old| format!("{} -> ", name(old))).unwrap_or_default();
    format!("{kind}{directory} {from}{}", name(&change.path))
}

/// What a client believes to be there, built from the reports alone.
#[derive(Debug)]
struct Picture<C> {
    files: BTreeMap<PathBuf, C>,
}

impl<C> Picture<C> {
    /// Applies one change; fails if it makes no sense for someone who knows what was reported so far.
    fn apply(&mut self, change: &FileChangeEvent, content: impl FnOnce() -> C) -> Result<(), String> {
        let FileChangeEvent { path, kind, old_path, directory, .. } = change;
        let known = self.files.contains_key(path);
        match (kind, directory) {
            (FileEventKind::Created, false) if !known => drop(self.files.insert(path.clone(), content())),
            (FileEventKind::Modified, false) if known => drop(self.files.insert(path.clone(), content())),
            (FileEventKind::Deleted, false) if known => drop(self.files.remove(path)),
            // A file may have stood at the very place of the directory before; it is not in it.
            (FileEventKind::Deleted, true) => self.files.retain(|file, _| file == path || !file.starts_with(path)),
            (FileEventKind::Renamed, false) => {
                let old = old_path.as_ref().and_then(|old| self.files.remove(old));
                old.ok_or("renamed what was not there")?;
                self.files.insert(path.clone(), content());
            }
            (FileEventKind::Renamed, true) => {
                let old = old_path.as_deref().ok_or("renamed from nowhere")?;
                for (file, content) in std::mem::take(&mut self.files) {
                    let moved = if file == old { None } else { super::index::rebase(&file, old, path) };
                    let file = moved.unwrap_or(file);
                    self.files.insert(file, content);
                }
            }
            _ => return Err(format!("{change:?} while the file is {}known", if known { "" } else { "not " })),
        }
        Ok(())
    }
}

/// Waits for something that nobody announces.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
