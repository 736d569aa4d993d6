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
    events::{Author, FileChangeEvent},
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
    /// The latest last: what was written, and with which origin.
    writes: VecDeque<(Written, Uuid)>,
}

/// A path and what was left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written([u8; 16]);

/// A file of notes begins anew above this size.
const MOST_BYTES: u64 = 1 << 20;
/// Writes of one other process that are remembered.
const MOST_WRITES: usize = 10_000;
/// Events of a process that has ended have come by then.
const KEPT_AFTER_END: Duration = Duration::from_secs(3600);
const NOTE_BYTES: usize = 32;

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
        Ok(Self { directory, own: Mutex::new(own), own_name, others: Mutex::default() })
    }

    /// Notes a write before it can be seen.
    pub fn note(&self, path: &Path, content: Option<ContentHash>, origin: Uuid) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = [0; NOTE_BYTES];
        note[..16].copy_from_slice(&Written::new(path, content).0);
        note[16..].copy_from_slice(origin.as_bytes());
        // In one call, so that nobody reads half of it.
        if let Err(error) = own.write_all(&note).and_then(|()| self.begin_anew_if_large(&mut own)) {
            tracing::debug!(%error, "a write could not be noted for other sidecars");
        }
    }

    /// Says which of these changes another process has made, and with which origin.
    pub fn attribute(&self, changes: &mut [FileChangeEvent]) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.read_on(&mut others) {
            tracing::debug!(%error, "the writes of other sidecars are not known");
        }
        for change in changes {
            let wanted = Written::new(&change.path, change.content_hash);
            let author = others.values().find_map(|notes| {
                let (_, origin) = notes.writes.iter().rfind(|(written, _)| *written == wanted)?;
                Some((notes.author.clone(), *origin))
            });
            if let Some((author, origin)) = author {
                (change.by, change.origin) = (Some(author), Some(origin));
            }
        }
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

impl Written {
    fn new(path: &Path, content: Option<ContentHash>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(b"\0");
        hasher.update(content.as_ref().map_or(&[][..], |content| &content.as_bytes()[..]));
        let mut written = [0; 16];
        written.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(written)
    }
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
        for note in whole {
            let (mut written, mut origin) = ([0; 16], [0; 16]);
            written.copy_from_slice(&note[..16]);
            origin.copy_from_slice(&note[16..]);
            notes.writes.push_back((Written(written), Uuid::from_bytes(origin)));
        }
        let surplus = notes.writes.len().saturating_sub(MOST_WRITES);
        notes.writes.drain(..surplus);
    }
    Ok(Some(notes))
}

/// Others may do so at the same time.
fn remove_old(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
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
    use crate::events::FileEventKind;

    impl Authors {
        fn of(&self, path: &Path, content_hash: Option<ContentHash>) -> Option<(Author, Uuid)> {
            let (path, kind) = (path.to_path_buf(), FileEventKind::Modified);
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
        assert_eq!(b.of(Path::new("/r/a"), hash), Some((author.clone(), origin)));
        assert_eq!(b.of(Path::new("/r/b"), hash), None);
        assert_eq!(b.of(Path::new("/r/a"), None), None);
        assert_eq!(a.of(Path::new("/r/a"), hash), None, "its own are not asked for");
        a.note(Path::new("/r/a"), None, Uuid::from_u128(8));
        a.note(Path::new("/r/a"), hash, Uuid::from_u128(9));
        assert_eq!(b.of(Path::new("/r/a"), hash), Some((author, Uuid::from_u128(9))), "the latest counts");
        assert!(b.of(Path::new("/r/a"), None).is_some());
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
