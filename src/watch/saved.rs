//! The index on disk, so that the next process knows what was there when nobody watched.
//!
//! One file for each root in the state directory, written in full and renamed into place. It belongs to the process that
//! holds its lock; who comes second starts a history of its own that is not saved.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    history::History,
    index::{Entry, Index, Look, SavedFiles},
    owner::{create, lock, remove_old},
    probe,
};
use crate::encoding::{DecodeError, Decoder, Encoder, Kind};

/// Where indices are kept, and which of them are ours.
pub(super) struct Saved {
    directory: Option<PathBuf>,
    /// By root.
    owned: BTreeMap<PathBuf, Owned>,
    next: Option<Instant>,
}

struct Owned {
    _lock: File,
    /// The tick at which it was saved last.
    saved: u64,
    /// Syncing takes its time, which the watcher's thread does not have; says whether it was written.
    writing: Option<JoinHandle<bool>>,
}

/// After a crash clocks are not known that are younger than the last time.
const EVERY: Duration = Duration::from_secs(60);

impl Saved {
    /// Nothing is saved without a state directory.
    pub fn new(state_dir: Option<PathBuf>) -> Self {
        Self { directory: state_dir.map(|state| state.join("index")), owned: BTreeMap::new(), next: None }
    }

    /// Takes over what was saved of a root, but not of the roots inside it. What is missing, damaged or somebody else's is
    /// no error: the history begins anew, and clients are told so.
    pub fn load(&mut self, root: &Path, inner: &[PathBuf], index: &mut Index, max_file_bytes: u64) -> History {
        let restored = self.own(root).and_then(|file| read(&file, root, inner, index, max_file_bytes));
        restored.unwrap_or_else(|| {
            index.tick += 1;
            History::anew(index.tick)
        })
    }

    /// Takes possession of what is saved of a root, if that can be; says where it is.
    fn own(&mut self, root: &Path) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?;
        let file = file_of(directory, root);
        let lock = match create(directory).and_then(|()| lock(&file.with_extension("lock"))) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                tracing::info!("another process saves the index of this root");
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "the index of a root cannot be saved");
                return None;
            }
        };
        if self.next.is_none() {
            self.next = Some(Instant::now() + EVERY);
            remove_old(directory).unwrap_or_else(|error| tracing::warn!(%error, "old indices could not be removed"));
        }
        self.owned.insert(root.to_path_buf(), Owned { _lock: lock, saved: 0, writing: None });
        Some(file)
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

    /// Saves what is known of a root, unless it was saved before and nothing has changed; it is written in the background.
    pub fn save(
        &mut self,
        root: &Path,
        history: &History,
        index: &Index,
        max_file_bytes: u64,
        is_in: impl Fn(&Path) -> bool,
    ) {
        let Some(directory) = &self.directory else { return };
        let Some(owned) = self.owned.get_mut(root) else { return };
        owned.wait();
        if owned.saved == index.tick {
            return;
        }
        owned.saved = index.tick;
        let (file, bytes) = (file_of(directory, root), encode(root, history, index, max_file_bytes, is_in));
        let write = move || match write(&file, &bytes) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the index of a root could not be saved");
                false
            }
        };
        match thread::Builder::new().name("ploke-save".into()).spawn(write) {
            Ok(thread) => owned.writing = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "the index of a root could not be saved");
                owned.saved = 0;
            }
        }
    }
}

impl Owned {
    fn wait(&mut self) {
        if self.writing.take().is_some_and(|thread| !thread.join().unwrap_or(false)) {
            self.saved = 0;
        }
    }
}

impl Drop for Owned {
    /// It is given free when it has been written.
    fn drop(&mut self) {
        self.wait();
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
    for (owner, last) in history.before.iter().rev().take(MOST_OWNERS).rev() {
        to.tag(OWNER);
        to.uuid(*owner);
        to.number(*last);
    }
    for inner in &history.inner {
        to.tag(INNER);
        to.path(&below(inner));
    }
    for (directory, files) in index.listings_below(root).filter(|(directory, _)| is_in(directory)) {
        to.tag(DIRECTORY);
        to.path(&below(directory));
        for (name, entry) in files {
            to.tag(FILE);
            to.name(name);
            let Look { device, inode, size, modified, status_changed, content, settled, is_link, seen } =
                confirmed(&entry.look, directory, name, max_file_bytes);
            for number in [device, inode, size, modified as u64, status_changed as u64, content, seen as u64] {
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

/// Clocks of owners before these are not known any more.
const MOST_OWNERS: usize = 1000;

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const GRAVE: u8 = 2;
const OWNER: u8 = 3;
const INNER: u8 = 4;

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

fn read(file: &Path, root: &Path, inner: &[PathBuf], index: &mut Index, max_file_bytes: u64) -> Option<History> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "the saved index of a root cannot be read; its history begins anew");
            return None;
        }
    };
    let restored = restore(&bytes, root, inner, index, max_file_bytes);
    restored
        .inspect_err(
            |error| tracing::warn!(%error, "the saved index of a root cannot be used; its history begins anew"),
        )
        .ok()
}

fn restore(
    bytes: &[u8],
    root: &Path,
    inner: &[PathBuf],
    index: &mut Index,
    max_file_bytes: u64,
) -> Result<History, DecodeError> {
    let mut from = Decoder::new(bytes, Kind::Index)?;
    if from.path()? != root {
        return Err(DecodeError::Torn);
    }
    let (last_owner, tick) = (from.uuid()?, from.number()?);
    let mut history = History::anew(from.number()?);
    let (mut directories, mut graves) = (Vec::<(PathBuf, SavedFiles)>::new(), Vec::new());
    from.rest(|from| {
        match from.tag()? {
            OWNER => history.before.push((from.uuid()?, from.number()?)),
            INNER => history.inner.push(beneath(root, &from.path()?)?),
            DIRECTORY => directories.push((beneath(root, &from.path()?)?, Vec::new())),
            FILE => {
                let (_, files) = directories.last_mut().ok_or(DecodeError::Torn)?;
                let name = from.name()?.into_boxed_os_str();
                let mut number = || from.number();
                let (device, inode, size) = (number()?, number()?, number()?);
                let (modified, status_changed) = (number()? as i64, number()? as i64);
                let (content, seen) = (number()?, number()? as i64);
                let (settled, is_link) = (from.tag()? != 0, from.tag()? != 0);
                let look = Look { device, inode, size, modified, status_changed, content, settled, is_link, seen };
                files.push((name, Entry { look, born: from.number()?, changed: from.number()? }));
            }
            GRAVE => graves.push((beneath(root, &from.path()?)?, from.number()?, from.number()?)),
            _ => return Err(DecodeError::Torn),
        }
        Ok(())
    })?;
    history.before.push((last_owner, tick));
    graves.sort_by_key(|(_, _, died)| *died);
    // What happens from now on comes after all that was saved.
    index.tick = index.tick.max(tick) + 1;
    let is_in = |path: &Path| !inner.iter().any(|inner| path.starts_with(inner));
    index.restore(root, directories, graves, is_in, |path| probe::look(path, max_file_bytes).1);
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
    use uuid::Uuid;

    use super::*;

    const ROOT: &str = "/r";

    #[test]
    fn what_is_saved_is_found_again_by_the_next_owner_and_by_nobody_else_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut saved) = (Index::default(), owner(dir.path()));
        let mut history = saved.load(Path::new(ROOT), &[], &mut index, 100);
        history.inner.push("/r/inner".into());
        let look = Look { inode: 1, size: 2, modified: -3, status_changed: 4, settled: true, ..Look::default() };
        for name in ["a", "d/b", "gone"] {
            index.insert(&Path::new(ROOT).join(name), look, true);
        }
        index.remove(Path::new("/r/gone"));
        saved.save(Path::new(ROOT), &history, &index, 100, |_| true);
        let other = owner(dir.path()).load(Path::new(ROOT), &[], &mut Index::default(), 100);
        assert_eq!(other.before, [], "it is in use");
        drop(saved);

        let (mut found, mut next) = (Index::default(), owner(dir.path()));
        let loaded = next.load(Path::new(ROOT), &[], &mut found, 100);
        assert_eq!((loaded.from, &loaded.before), (history.from, &vec![(history.id, index.tick)]));
        assert_eq!(loaded.inner, [Path::new("/r/inner")]);
        assert_ne!(loaded.id, history.id, "each owner counts by itself");
        assert_eq!(found.look(Path::new("/r/d/b")), Some(&look));
        assert_eq!(found.graves.died_since(0).collect::<Vec<_>>(), [Path::new("/r/gone")]);
        assert!(found.tick > index.tick, "what is found to have changed comes after the clocks that were given out");

        let (mut found, mut next) = (Index::default(), {
            drop(next);
            owner(dir.path())
        });
        next.load(Path::new(ROOT), &["/r/d".into()], &mut found, 100);
        assert!(found.knows(Path::new("/r/a")) == Some(true) && !found.lists(Path::new("/r/d")));
    }

    #[test]
    fn clocks_of_so_many_owners_are_known_and_no_more() {
        let before: Vec<_> =
            (0..2 * MOST_OWNERS as u64).map(|number| (Uuid::from_u128(number.into()), number)).collect();
        let history = History { before: before.clone(), ..History::anew(1) };
        let bytes = encode(Path::new(ROOT), &history, &Index::default(), 100, |_| true);
        let last = restore(&bytes, Path::new(ROOT), &[], &mut Index::default(), 100).unwrap();
        assert_eq!(last.before, [&before[MOST_OWNERS..], &[(history.id, 0)]].concat());
    }

    #[test]
    fn any_damage_and_another_root_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut saved) = (Index::default(), owner(dir.path()));
        let history = saved.load(Path::new(ROOT), &[], &mut index, 100);
        index.insert(Path::new("/r/a"), Look { settled: true, ..Look::default() }, true);
        let bytes = encode(Path::new(ROOT), &history, &index, 100, |_| true);
        let restored = |bytes: &[u8], root| restore(bytes, Path::new(root), &[], &mut Index::default(), 100);
        assert!(restored(&bytes, ROOT).is_ok());
        assert_eq!(restored(&bytes, "/s"), Err(DecodeError::Torn));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(restored(&damaged, ROOT).is_err(), "byte {at}");
            assert!(restored(&bytes[..at], ROOT).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn what_could_not_be_written_is_written_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut saved) = (Index::default(), owner(dir.path()));
        let history = saved.load(Path::new(ROOT), &[], &mut index, 100);
        let file = file_of(&dir.path().join("index"), Path::new(ROOT));
        fs::create_dir(file.with_extension("new")).unwrap();
        saved.save(Path::new(ROOT), &history, &index, 100, |_| true);
        saved.owned.values_mut().for_each(Owned::wait);
        fs::remove_dir(file.with_extension("new")).unwrap();
        assert!(!file.exists());
        saved.save(Path::new(ROOT), &history, &index, 100, |_| true);
        drop(saved);
        assert!(file.exists());
    }

    fn owner(state_dir: &Path) -> Saved {
        Saved::new(Some(state_dir.to_path_buf()))
    }
}
