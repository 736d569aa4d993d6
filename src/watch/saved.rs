//! The index on disk, so that the next process knows what was there when nobody watched.
//!
//! One file for each root in the state directory, written in full and renamed into place. It belongs to the process that
//! holds its lock; who comes second starts a history of its own that is not saved.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

use super::{
    history::History,
    index::{Entry, Index, Look},
    probe,
};
use crate::{
    encoding::{DecodeError, Decoder, Encoder, Kind},
    engine::try_lock,
};

/// Where indices are kept, and which of them are ours.
pub(super) struct Saved {
    directory: Option<PathBuf>,
    /// By root: the lock, and the tick at which the index was saved last.
    owned: BTreeMap<PathBuf, (File, u64)>,
    next: Option<Instant>,
}

/// Since a root was opened last.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A crash loses no more than what happened in this time: a later start tells it once more.
const EVERY: Duration = Duration::from_secs(60);

impl Saved {
    /// Nothing is saved without a state directory.
    pub fn new(state_dir: Option<PathBuf>) -> Self {
        Self { directory: state_dir.map(|state| state.join("index")), owned: BTreeMap::new(), next: None }
    }

    /// Takes over what was saved of a root. What is missing, damaged or somebody else's is no error: the history begins
    /// anew, and clients are told so.
    pub fn load(&mut self, root: &Path, index: &mut Index) -> History {
        let anew = |index: &mut Index| {
            index.tick += 1;
            History { id: Uuid::new_v4(), from: index.tick }
        };
        let Some(directory) = &self.directory else { return anew(index) };
        let (lock, run) = match lock(directory, root) {
            Ok(Some(owned)) => owned,
            Ok(None) => {
                tracing::info!("another process saves the index of this root");
                return anew(index);
            }
            Err(error) => {
                tracing::warn!(%error, "the index of a root cannot be saved");
                return anew(index);
            }
        };
        if self.next.is_none() {
            self.next = Some(Instant::now() + EVERY);
            remove_old(directory).unwrap_or_else(|error| tracing::warn!(%error, "old indices could not be removed"));
        }
        index.tick = index.tick.max(run.saturating_mul(RUN));
        let restored = match fs::read(file_of(directory, root)) {
            Ok(bytes) => restore(&bytes, root, index).inspect_err(|error| {
                tracing::warn!(%error, "the saved index of a root cannot be used; its history begins anew");
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DecodeError::Torn),
            Err(error) => {
                tracing::warn!(%error, "the saved index of a root cannot be read; its history begins anew");
                Err(DecodeError::Torn)
            }
        };
        let history = restored.unwrap_or_else(|_| anew(index));
        self.owned.insert(root.to_path_buf(), (lock, 0));
        history
    }

    pub fn release(&mut self, root: &Path) {
        self.owned.remove(root);
        if self.owned.is_empty() {
            self.next = None;
        }
    }

    /// When it is to be saved next.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.next = Some(now + EVERY);
        }
        is_due
    }

    /// Saves what is known of a root, unless it was saved before and nothing has changed.
    pub fn save(
        &mut self,
        root: &Path,
        history: &History,
        index: &Index,
        max_file_bytes: u64,
        is_in: impl Fn(&Path) -> bool,
    ) {
        let Some(directory) = &self.directory else { return };
        let Some((_, saved)) = self.owned.get_mut(root).filter(|(_, saved)| *saved != index.tick) else { return };
        let bytes = encode(root, history, index, max_file_bytes, is_in);
        match write(&file_of(directory, root), &bytes) {
            Ok(()) => *saved = index.tick,
            Err(error) => tracing::warn!(%error, "the index of a root could not be saved"),
        }
    }
}

fn encode(
    root: &Path,
    history: &History,
    index: &Index,
    max_file_bytes: u64,
    is_in: impl Fn(&Path) -> bool,
) -> Vec<u8> {
    let below = |path: &Path| path.strip_prefix(root).map(Path::to_path_buf).unwrap_or_default();
    let mut to = Encoder::new(Kind::Index);
    to.path(root);
    to.uuid(history.id);
    to.number(index.tick);
    to.number(history.from.max(index.graves.from));
    for (directory, files) in index.listings_below(root).filter(|(directory, _)| is_in(directory)) {
        to.tag(DIRECTORY);
        to.path(&below(directory));
        for (name, entry) in files {
            to.tag(FILE);
            to.name(name);
            let Look { device, inode, size, modified, status_changed, content, settled, is_link } =
                confirmed(&entry.look, directory, name, max_file_bytes);
            for number in [device, inode, size, modified as u64, status_changed as u64, content] {
                to.number(number);
            }
            to.tag(settled.into());
            to.tag(is_link.into());
            to.number(entry.born);
            to.number(entry.changed);
        }
    }
    for (path, lives) in index.graves.below(root).filter(|(path, _)| is_in(path)) {
        for (born, died) in lives {
            to.tag(GRAVE);
            to.path(&below(path));
            to.number(*born);
            to.number(*died);
        }
    }
    to.finish()
}

/// Each process that owns a root counts from its number times this: one that was killed has given out clocks that were
/// not saved, and what is found to have happened has to come after those too.
const RUN: u64 = 1 << 32;

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const GRAVE: u8 = 2;

/// A file that was written in the last moment is saved with its content, since its times may not tell a later change.
fn confirmed(look: &Look, directory: &Path, name: &OsStr, max_file_bytes: u64) -> Look {
    if look.settled || look.content != 0 {
        return *look;
    }
    match probe::look(&directory.join(name), max_file_bytes) {
        (_, Some(now)) if look.is_same(&now) != Some(false) => Look { content: now.content, ..*look },
        _ => *look,
    }
}

fn restore(bytes: &[u8], root: &Path, index: &mut Index) -> Result<History, DecodeError> {
    let mut from = Decoder::new(bytes, Kind::Index)?;
    if from.path()? != root {
        return Err(DecodeError::Torn);
    }
    let (id, tick) = (from.uuid()?, from.number()?);
    let history = History { id, from: from.number()? };
    let (mut directories, mut graves) = (Vec::<(PathBuf, Vec<(Box<OsStr>, Entry)>)>::new(), Vec::new());
    from.rest(|from| {
        match from.tag()? {
            DIRECTORY => directories.push((beneath(root, &from.path()?)?, Vec::new())),
            FILE => {
                let (_, files) = directories.last_mut().ok_or(DecodeError::Torn)?;
                let name = from.name()?.into_boxed_os_str();
                let mut number = || from.number();
                let (device, inode, size) = (number()?, number()?, number()?);
                let (modified, status_changed) = (number()? as i64, number()? as i64);
                let content = number()?;
                let (settled, is_link) = (from.tag()? != 0, from.tag()? != 0);
                let look = Look { device, inode, size, modified, status_changed, content, settled, is_link };
                files.push((name, Entry { look, born: from.number()?, changed: from.number()? }));
            }
            GRAVE => graves.push((beneath(root, &from.path()?)?, from.number()?, from.number()?)),
            _ => return Err(DecodeError::Torn),
        }
        Ok(())
    })?;
    index.tick = index.tick.max(tick);
    for (directory, files) in directories {
        index.restore(directory, files);
    }
    graves.sort_by_key(|(_, _, died)| *died);
    for (path, born, died) in graves {
        index.graves.dig(path, born, died);
    }
    Ok(history)
}

fn beneath(root: &Path, below: &Path) -> Result<PathBuf, DecodeError> {
    use std::path::Component;
    if !below.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(DecodeError::Torn);
    }
    Ok(if below.as_os_str().is_empty() { root.to_path_buf() } else { root.join(below) })
}

fn file_of(directory: &Path, root: &Path) -> PathBuf {
    let hash = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
    directory.join(format!("{}.index", &hash[..32]))
}

/// Takes possession of what is saved of a root and counts how often that was done; `None` if it is somebody else's.
fn lock(directory: &Path, root: &Path) -> io::Result<Option<(File, u64)>> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    let path = file_of(directory, root).with_extension("lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if !try_lock(&file)? {
        return Ok(None);
    }
    let mut number = String::new();
    file.read_to_string(&mut number)?;
    let run = number.trim().parse::<u64>().unwrap_or(0) + 1;
    if run == 1 {
        // It is the first time, or the number was lost: then nobody knows which clocks have been given out.
        match fs::remove_file(file_of(directory, root)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    file.seek(SeekFrom::Start(0))?;
    // As long each time, so that nothing is left of the number before.
    file.write_all(format!("{run:020}\n").as_bytes())?;
    file.sync_all()?;
    Ok(Some((file, run)))
}

/// Removes what was saved of roots that nobody has opened for long.
fn remove_old(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let file = File::open(&path)?;
        let age = SystemTime::now().duration_since(file.metadata()?.modified()?).unwrap_or_default();
        if age > KEPT && try_lock(&file)? {
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

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // A full disk is not filled further.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/r";

    #[test]
    fn what_is_saved_is_found_again_by_the_next_owner_and_by_nobody_else_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut saved) = (Index::default(), owner(dir.path()));
        let history = saved.load(Path::new(ROOT), &mut index);
        let look = Look { inode: 1, size: 2, modified: -3, status_changed: 4, settled: true, ..Look::default() };
        for name in ["a", "d/b", "gone"] {
            index.insert(&Path::new(ROOT).join(name), look, true);
        }
        index.remove(Path::new("/r/gone"));
        saved.save(Path::new(ROOT), &history, &index, 100, |_| true);
        let other = owner(dir.path()).load(Path::new(ROOT), &mut Index::default());
        assert_ne!(other.id, history.id, "it is in use");
        drop(saved);

        let (mut found, mut next) = (Index::default(), owner(dir.path()));
        assert_eq!(next.load(Path::new(ROOT), &mut found), history);
        assert_eq!(found.look(Path::new("/r/d/b")), Some(&look));
        assert_eq!(found.graves.died_since(0).collect::<Vec<_>>(), [Path::new("/r/gone")]);
        assert!(found.tick > index.tick, "clocks that were given out later and not saved come before");
    }

    #[test]
    fn any_damage_and_another_root_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut saved) = (Index::default(), owner(dir.path()));
        let history = saved.load(Path::new(ROOT), &mut index);
        index.insert(Path::new("/r/a"), Look { settled: true, ..Look::default() }, true);
        let bytes = encode(Path::new(ROOT), &history, &index, 100, |_| true);
        assert_eq!(restore(&bytes, Path::new(ROOT), &mut Index::default()), Ok(history));
        assert_eq!(restore(&bytes, Path::new("/s"), &mut Index::default()), Err(DecodeError::Torn));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(restore(&damaged, Path::new(ROOT), &mut Index::default()).is_err(), "byte {at}");
            assert!(restore(&bytes[..at], Path::new(ROOT), &mut Index::default()).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn what_nobody_has_opened_for_long_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut saved = owner(dir.path());
        for root in ["/old", "/used"] {
            let history = saved.load(Path::new(root), &mut Index::default());
            saved.save(Path::new(root), &history, &Index::default().at(1), 100, |_| true);
        }
        let directory = dir.path().join("index");
        let lock = file_of(&directory, Path::new("/old")).with_extension("lock");
        File::options().write(true).open(&lock).unwrap().set_modified(SystemTime::now() - 2 * KEPT).unwrap();
        remove_old(&directory).unwrap();
        assert!(lock.exists(), "it is in use");
        drop(saved);
        remove_old(&directory).unwrap();
        assert!(!lock.exists() && !file_of(&directory, Path::new("/old")).exists());
        assert!(file_of(&directory, Path::new("/used")).exists());
    }

    fn owner(state_dir: &Path) -> Saved {
        Saved::new(Some(state_dir.to_path_buf()))
    }
}
