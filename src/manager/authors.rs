//! Who wrote what, for the other sidecars of the same user: each notes its writes in a file of its own in the state
//! directory, and reads those of the others when it sees a change that it did not make.
//!
//! Notes are hints for people, not a record: what cannot be noted or read is a change from outside.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    engine::try_lock,
    events::{Author, FileChangeEvent, FileEventKind},
    hash::ContentHash,
};

pub(super) struct Authors {
    directory: PathBuf,
    /// Locked while this process lives.
    own: Mutex<File>,
    own_name: String,
    others: Mutex<HashMap<PathBuf, Notes>>,
}

/// What was read of another's notes.
struct Notes {
    author: Author,
    read_to: u64,
    /// What may still be seen of what was written, the latest last.
    writes: VecDeque<Note>,
}

/// A write that was announced; path and content are told by the beginnings of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    path: [u8; 16],
    /// Zeros where no file was left.
    content: [u8; 16],
    origin: Uuid,
}

/// A file of notes begins anew above this size.
const MOST_BYTES: u64 = 1 << 20;
/// Writes of one other process that are remembered.
const MOST_WRITES: usize = 10_000;
/// Events of a process that has ended have come by then.
const KEPT_AFTER_END: Duration = Duration::from_secs(3600);
const NOTE_BYTES: usize = 48;

impl Authors {
    /// Opens the notes of this process, and removes those of processes that have ended long ago.
    pub fn open(state_dir: &Path, client: &str) -> io::Result<Self> {
        let directory = state_dir.join("authors");
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        remove_old(&directory)?;
        let own_name = format!("{}-{}", std::process::id(), Uuid::new_v4().simple());
        let mut own = OpenOptions::new().append(true).create_new(true).open(directory.join(&own_name))?;
        try_lock(&own)?;
        own.write_all(&head(client))?;
        let authors = Self { directory, own: Mutex::new(own), own_name, others: Mutex::default() };
        authors.pass_over_old()?;
        Ok(authors)
    }

    /// Notes a write before it can be seen.
    pub fn note(&self, path: &Path, content: Option<ContentHash>, origin: Uuid) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let note = Note { path: path_mark(path), content: content_mark(content), origin };
        // In one call, so that nobody reads half of it.
        if let Err(error) = own.write_all(&note.to_bytes()).and_then(|()| self.begin_anew_if_large(&mut own)) {
            tracing::debug!(%error, "a write could not be noted for other sidecars");
        }
    }

    /// Says which of these changes another process has made, and with which origin.
    ///
    /// Each write is seen once: what brings the same content again is not that write. Another content says that all writes
    /// noted for its path are over.
    pub fn attribute(&self, changes: &mut [FileChangeEvent]) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.read_on(&mut others) {
            tracing::debug!(%error, "the writes of other sidecars are not known");
        }
        for change in changes.iter_mut().filter(|change| !change.directory) {
            if let Some(old_path) = &change.old_path {
                let left = path_mark(old_path);
                others.values_mut().for_each(|notes| notes.forget(left));
            }
            let path = path_mark(&change.path);
            // A file whose content is not known is none that was noted, and not the absence of one either.
            let is_told = change.content_hash.is_some() || change.kind == FileEventKind::Deleted;
            let content = is_told.then(|| content_mark(change.content_hash));
            let author = content.and_then(|content| {
                others.values_mut().find_map(|notes| Some((notes.use_up(path, content)?, notes.author.clone())))
            });
            match author {
                Some((origin, author)) => (change.by, change.origin) = (Some(author), Some(origin)),
                None => others.values_mut().for_each(|notes| notes.forget(path)),
            }
        }
    }

    /// What was noted before this process watches is none of what it will see.
    fn pass_over_old(&self) -> io::Result<()> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_on(&mut others)?;
        others.values_mut().for_each(|notes| notes.writes.clear());
        Ok(())
    }

    fn begin_anew_if_large(&self, own: &mut File) -> io::Result<()> {
        if own.metadata()?.len() <= MOST_BYTES {
            return Ok(());
        }
        let mut old = Vec::new();
        File::open(self.directory.join(&self.own_name))?.take(HEAD_BYTES as u64).read_to_end(&mut old)?;
        own.set_len(0)?;
        own.write_all(&old)
    }

    fn read_on(&self, others: &mut HashMap<PathBuf, Notes>) -> io::Result<()> {
        let mut here = HashMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| *name != self.own_name)
            else {
                continue;
            };
            let pid = name.split_once('-').and_then(|(pid, _)| pid.parse().ok());
            let known = others.remove(&path);
            if let Some(notes) = pid.and_then(|pid| read_notes(&path, pid, known).ok().flatten()) {
                here.insert(path, notes);
            }
        }
        *others = here;
        Ok(())
    }
}

impl Drop for Authors {
    fn drop(&mut self) {
        // The next one to start finds it unlocked and old enough, but without writes nobody needs it.
        let path = self.directory.join(&self.own_name);
        if fs::metadata(&path).is_ok_and(|found| found.len() <= HEAD_BYTES as u64) {
            let _ = fs::remove_file(path);
        }
    }
}

impl Notes {
    /// The origin of the latest such write; it and those before it at its path are over.
    fn use_up(&mut self, path: [u8; 16], content: [u8; 16]) -> Option<Uuid> {
        let position = self.writes.iter().rposition(|note| (note.path, note.content) == (path, content))?;
        let origin = self.writes[position].origin;
        let mut index = 0;
        self.writes.retain(|note| {
            index += 1;
            index > position + 1 || note.path != path
        });
        Some(origin)
    }

    fn forget(&mut self, path: [u8; 16]) {
        self.writes.retain(|note| note.path != path);
    }
}

impl Note {
    fn to_bytes(self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        bytes[..16].copy_from_slice(&self.path);
        bytes[16..32].copy_from_slice(&self.content);
        bytes[32..].copy_from_slice(self.origin.as_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let (path, content, origin) = (part(bytes, 0), part(bytes, 16), part(bytes, 32));
        Self { path, content, origin: Uuid::from_bytes(origin) }
    }
}

fn path_mark(path: &Path) -> [u8; 16] {
    part(blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes(), 0)
}

fn content_mark(content: Option<ContentHash>) -> [u8; 16] {
    content.map_or([0; 16], |content| part(content.as_bytes(), 0))
}

/// The 16 bytes from here on.
fn part(bytes: &[u8], start: usize) -> [u8; 16] {
    let mut part = [0; 16];
    part.copy_from_slice(&bytes[start..start + 16]);
    part
}

/// The client's name, of fixed length.
const HEAD_BYTES: usize = 64;

fn head(client: &str) -> [u8; HEAD_BYTES] {
    let mut end = client.len().min(HEAD_BYTES);
    while !client.is_char_boundary(end) {
        end -= 1;
    }
    let mut head = [0; HEAD_BYTES];
    head[..end].copy_from_slice(&client.as_bytes()[..end]);
    head
}

/// Reads what was added; `None` as long as there is not even a head.
fn read_notes(path: &Path, pid: u32, known: Option<Notes>) -> io::Result<Option<Notes>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut notes = match known.filter(|known| known.read_to <= length) {
        Some(known) => known,
        None => {
            let mut head = [0; HEAD_BYTES];
            if length < HEAD_BYTES as u64 {
                return Ok(None);
            }
            file.read_exact(&mut head)?;
            let name = head.split(|byte| *byte == 0).next().unwrap_or_default();
            let author = Author { client: String::from_utf8_lossy(name).into_owned(), pid };
            Notes { author, read_to: HEAD_BYTES as u64, writes: VecDeque::new() }
        }
    };
    if notes.read_to < length {
        let mut added = Vec::new();
        file.seek(SeekFrom::Start(notes.read_to))?;
        file.take(MOST_BYTES).read_to_end(&mut added)?;
        let whole = added.chunks_exact(NOTE_BYTES);
        notes.read_to += (whole.len() * NOTE_BYTES) as u64;
        notes.writes.extend(whole.map(Note::of_bytes));
        let surplus = notes.writes.len().saturating_sub(MOST_WRITES);
        notes.writes.drain(..surplus);
    }
    Ok(Some(notes))
}

/// Others may do so at the same time.
fn remove_old(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Some file systems let only who may write take the lock.
        let Ok(file) = File::options().write(true).open(&path) else { continue };
        let changed = file.metadata()?.modified()?;
        let is_old = SystemTime::now().duration_since(changed).is_ok_and(|age| age > KEPT_AFTER_END);
        if is_old && try_lock(&file)? {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Authors {
        fn of(&self, path: &Path, content_hash: Option<ContentHash>) -> Option<(Author, Uuid)> {
            let kind = if content_hash.is_some() { FileEventKind::Modified } else { FileEventKind::Deleted };
            self.of_change(path, kind, content_hash)
        }

        fn of_change(
            &self,
            path: &Path,
            kind: FileEventKind,
            content_hash: Option<ContentHash>,
        ) -> Option<(Author, Uuid)> {
            let path = path.to_path_buf();
            let change =
                FileChangeEvent { path, kind, old_path: None, content_hash, directory: false, origin: None, by: None };
            let mut changes = [change];
            self.attribute(&mut changes);
            let [change] = changes;
            Some((change.by?, change.origin?))
        }
    }

    #[test]
    fn a_write_is_known_to_the_others_with_its_author() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Authors::open(dir.path(), "editor").unwrap(), Authors::open(dir.path(), "agent").unwrap());
        let (hash, origin) = (Some(ContentHash::of(b"x")), Uuid::from_u128(7));
        a.note(Path::new("/r/a"), hash, origin);
        let author = Author { client: "editor".into(), pid: std::process::id() };
        assert_eq!(b.of(Path::new("/r/b"), hash), None);
        assert_eq!(b.of(Path::new("/r/a"), hash), Some((author.clone(), origin)));
        assert_eq!(a.of(Path::new("/r/a"), hash), None, "its own are not asked for");
        a.note(Path::new("/r/a"), None, Uuid::from_u128(8));
        a.note(Path::new("/r/a"), hash, Uuid::from_u128(9));
        assert_eq!(b.of(Path::new("/r/a"), hash), Some((author, Uuid::from_u128(9))), "the latest counts");
    }

    #[test]
    fn a_write_is_seen_once_and_over_when_another_content_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let early = Authors::open(dir.path(), "early").unwrap();
        let path = Path::new("/r/a");
        let [a, b] = [b"a", b"b"].map(|content| Some(ContentHash::of(content)));
        early.note(path, a, Uuid::nil());
        let reader = Authors::open(dir.path(), "reader").unwrap();
        assert_eq!(reader.of(path, a), None, "it was written before the reader came");

        early.note(path, a, Uuid::nil());
        assert!(reader.of(path, a).is_some());
        assert_eq!(reader.of(path, a), None, "somebody else has put it back");

        early.note(path, a, Uuid::nil());
        assert_eq!(reader.of(path, b), None);
        assert_eq!(reader.of(path, a), None, "as here, where it was never told in between");

        early.note(path, b, Uuid::nil());
        early.note(path, a, Uuid::nil());
        assert!(reader.of(path, a).is_some());
        assert_eq!(reader.of(path, b), None, "what was written before it has been replaced by it");

        for kind in [FileEventKind::Created, FileEventKind::Modified] {
            early.note(path, None, Uuid::nil());
            assert_eq!(reader.of_change(path, kind, None), None, "a link or large file is no deletion");
            assert_eq!(reader.of(path, None), None);
        }
        early.note(path, None, Uuid::nil());
        assert!(reader.of(path, None).is_some());
        assert_eq!(reader.of(path, None), None, "a later deletion");
    }

    #[test]
    fn notes_begin_anew_when_they_grow_large_and_are_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Authors::open(dir.path(), &"é".repeat(40)).unwrap(), Authors::open(dir.path(), "b").unwrap());
        let many = MOST_BYTES as usize / NOTE_BYTES + 10;
        for number in 0..many {
            a.note(Path::new(&format!("/r/{number}")), None, Uuid::nil());
            if number == 5 {
                assert!(b.of(Path::new("/r/5"), None).is_some());
            }
        }
        let (author, _) = b.of(Path::new(&format!("/r/{}", many - 1)), None).unwrap();
        assert_eq!(author.client, "é".repeat(HEAD_BYTES / 2));
        assert!(b.others.lock().unwrap().values().all(|notes| notes.writes.len() <= MOST_WRITES));
    }

    #[test]
    fn what_is_no_notes_is_passed_over_and_what_nobody_needs_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let a = Authors::open(dir.path(), "a").unwrap();
        fs::write(dir.path().join("authors/strange"), "x").unwrap();
        fs::write(dir.path().join("authors/12-short"), "x").unwrap();
        assert_eq!(a.of(Path::new("/r/a"), None), None);
        drop(a);
        let old = File::open(dir.path().join("authors/strange")).unwrap();
        old.set_modified(SystemTime::now() - 2 * KEPT_AFTER_END).unwrap();
        let _b = Authors::open(dir.path(), "b").unwrap();
        let left = fs::read_dir(dir.path().join("authors")).unwrap().count();
        assert_eq!(left, 2, "the short one, which is not old, and that of b");
    }

    #[test]
    fn many_may_start_at_the_same_time_and_remove_what_nobody_needs() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            for number in 0..50 {
                let old = dir.path().join(format!("authors/{number}-old"));
                fs::create_dir_all(old.parent().unwrap()).unwrap();
                let old = File::create(old).unwrap();
                old.set_modified(SystemTime::now() - 2 * KEPT_AFTER_END).unwrap();
            }
            std::thread::scope(|scope| {
                let starting: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| Authors::open(dir.path(), "a").map(drop))).collect();
                starting.into_iter().for_each(|start| start.join().unwrap().unwrap());
            });
        }
    }
}
