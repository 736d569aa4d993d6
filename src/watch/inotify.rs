//! The source of events on Linux.
//!
//! notify's own asks for an event whenever a file is opened: every read of ours would wake a thread for nothing.

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr},
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::{
    inbox::{Inbox, Raw},
    probe,
    source::WatchFailure,
};
use crate::temp_name::is_temp_name;

/// Watches single directories; dropping it ends its thread.
pub(super) struct Inotify {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    events: OwnedFd,
    end: OwnedFd,
    watches: Mutex<Watches>,
    translator: Mutex<Translator>,
}

#[derive(Default)]
struct Watches {
    by_path: HashMap<PathBuf, i32>,
    by_number: HashMap<i32, PathBuf>,
}

/// What could be a change of a file's content or place. Links are not followed.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

const BUFFER_BYTES: usize = 64 << 10;

/// Short beside any debounce time.
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

impl Inotify {
    pub fn start(inbox: Arc<Inbox>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            events: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            watches: Mutex::default(),
            translator: Mutex::new(Translator { inbox, left: None, buffer: vec![MaybeUninit::uninit(); BUFFER_BYTES] }),
        });
        let reader = shared.clone();
        let thread = thread::Builder::new().name("ploke-io-inotify".into()).spawn(move || reader.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Translates a part of what has happened up to now, all of which is in the queue; `false` if that was all.
    pub fn drain(&self) -> bool {
        self.shared.read()
    }

    pub fn watch(&self, directory: &Path) -> Result<(), WatchFailure> {
        // Held meanwhile, so that no event comes from a watch that is not known yet.
        let mut watches = self.shared.watches();
        let number = inotify::add_watch(&self.shared.events, directory, WANTED).map_err(|error| match error {
            Errno::NOSPC => WatchFailure::Limit,
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => WatchFailure::Gone,
            error => WatchFailure::Other(error.to_string()),
        })?;
        if let Some(before) = watches.by_number.insert(number, directory.to_path_buf()) {
            // The same directory under another name: it can have one watch only.
            watches.by_path.remove(&before);
        }
        watches.by_path.insert(directory.to_path_buf(), number);
        Ok(())
    }

    pub fn unwatch(&self, directory: &Path) {
        let mut watches = self.shared.watches();
        let Some(number) = watches.by_path.remove(directory) else { return };
        watches.by_number.remove(&number);
        // It may have gone with its directory.
        let _ = inotify::remove_watch(&self.shared.events, number);
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        if let Err(error) = rustix::io::write(&self.shared.end, &1_u64.to_ne_bytes()) {
            tracing::error!(%error, "the thread that waits for file events could not be ended");
            return;
        }
        if self.thread.take().map(JoinHandle::join).is_some_and(|joined| joined.is_err()) {
            tracing::error!("the thread that waits for file events panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut fds = [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return self.translator().inbox.events([Raw::Lost(error.to_string())]),
            }
            // What comes in a burst is read at once: waking for each event costs those who make them.
            let mut end = [PollFd::new(&self.end, PollFlags::IN)];
            let _ = poll(&mut end, Some(&GATHER));
            while self.read() {}
        }
    }

    /// Reads a part of the queue; `false` if it is empty.
    fn read(&self) -> bool {
        let mut translator = self.translator();
        let Translator { inbox, left, buffer } = &mut *translator;
        let mut events = Reader::new(&self.events, buffer);
        let mut raw = Vec::new();
        let more = loop {
            match events.next() {
                Ok(event) => {
                    raw.extend(self.translate(left, event.wd(), event.events(), event.cookie(), event.file_name()));
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break false,
                Err(error) => {
                    raw.push(Raw::Lost(error.to_string()));
                    break false;
                }
            }
            if events.is_buffer_empty() {
                break true;
            }
        };
        inbox.events(raw);
        more
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn translator(&self) -> MutexGuard<'_, Translator> {
        self.translator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn translate(
        &self,
        left: &mut Option<(u32, PathBuf)>,
        number: i32,
        events: ReadFlags,
        mark: u32,
        name: Option<&CStr>,
    ) -> Option<Raw> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Raw::Lost("the system's queue of file events was full".into()));
        }
        let name = name.map(|name| OsStr::from_bytes(name.to_bytes()));
        // Nobody asks what becomes of a temporary file, but what becomes a file comes from one and goes to one.
        if !events.intersects(ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO) && name.is_some_and(is_temp_name) {
            return None;
        }
        let mut watches = self.watches();
        let directory = watches.by_number.get(&number).cloned()?;
        if events.contains(ReadFlags::IGNORED) {
            watches.by_number.remove(&number);
            // The directory may have a new watch already.
            if watches.by_path.get(&directory) == Some(&number) {
                watches.by_path.remove(&directory);
            }
            return None;
        }
        drop(watches);
        let Some(name) = name else {
            return if events.contains(ReadFlags::MOVE_SELF) {
                Some(Raw::SelfGone(directory))
            } else if events.contains(ReadFlags::DELETE_SELF) {
                Some(Raw::Removed(directory))
            } else if events.contains(ReadFlags::UNMOUNT) {
                Some(Raw::Unmounted(directory))
            } else {
                None
            };
        };
        let path = directory.join(name);
        if events.contains(ReadFlags::MOVED_FROM) {
            *left = Some((mark, path.clone()));
            Some(Raw::Left(path))
        } else if events.contains(ReadFlags::MOVED_TO) {
            match left.take() {
                Some((left, from)) if left == mark => Some(Raw::Moved { from, to: path }),
                _ => Some(Raw::Appeared(path)),
            }
        } else if events.contains(ReadFlags::CREATE) {
            Some(Raw::Created(path))
        } else if events.contains(ReadFlags::DELETE) {
            Some(Raw::Removed(path))
        } else if events.contains(ReadFlags::MODIFY) && !(may_be_unnamed(name) && probe::glance(&path).is_none()) {
            Some(Raw::Modified(path))
        } else {
            None
        }
    }
}

/// What the thread that reads and those who drain have in common.
struct Translator {
    inbox: Arc<Inbox>,
    /// What was just moved away, with the mark that its new name will carry.
    left: Option<(u32, PathBuf)>,
    buffer: Vec<MaybeUninit<u8>>,
}

/// Whether the system may call a file so that was made without a name: `#` and its number.
fn may_be_unnamed(name: &OsStr) -> bool {
    name.as_bytes().strip_prefix(b"#").is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}
