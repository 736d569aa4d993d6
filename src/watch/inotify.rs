//! The source of events on Linux.
//!
//! notify's own asks for an event whenever a file is opened: every read of ours would wake a thread for nothing.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::SystemTime,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::{
    inbox::{Inbox, Raw},
    source::WatchFailure,
};

/// Watches single directories; dropping it ends its thread.
pub(super) struct Inotify {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    events: OwnedFd,
    end: OwnedFd,
    watches: Mutex<Watches>,
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

impl Inotify {
    pub fn start(inbox: Arc<Inbox>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            events: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            watches: Mutex::default(),
        });
        let reader = Translator { shared: shared.clone(), inbox, left: None };
        let thread = thread::Builder::new().name("ploke-io-inotify".into()).spawn(move || reader.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub fn watch(&mut self, directory: &Path) -> Result<(), WatchFailure> {
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

    pub fn unwatch(&mut self, directory: &Path) {
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
    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts into the inbox what the system tells.
struct Translator {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    /// What was just moved away, with the mark that its new name will carry.
    left: Option<(u32, PathBuf)>,
}

impl Translator {
    fn run(mut self) {
        let shared = self.shared.clone();
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        loop {
            let mut fds = [PollFd::new(&shared.events, PollFlags::IN), PollFd::new(&shared.end, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return self.inbox.event(Raw::Lost(error.to_string())),
            }
            let mut events = Reader::new(&shared.events, &mut buffer);
            loop {
                match events.next() {
                    Ok(event) => self.translate(event.wd(), event.events(), event.cookie(), event.file_name()),
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    Err(error) => return self.inbox.event(Raw::Lost(error.to_string())),
                }
                if events.is_buffer_empty() {
                    break;
                }
            }
        }
    }

    fn translate(&mut self, number: i32, events: ReadFlags, mark: u32, name: Option<&std::ffi::CStr>) {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.inbox.event(Raw::Lost("the system's queue of file events was full".into()));
        }
        let mut watches = self.shared.watches();
        let Some(directory) = watches.by_number.get(&number).cloned() else { return };
        if events.contains(ReadFlags::IGNORED) {
            watches.by_number.remove(&number);
            watches.by_path.remove(&directory);
            return;
        }
        drop(watches);
        let raw = match name {
            Some(name) => {
                let path = directory.join(OsStr::from_bytes(name.to_bytes()));
                if events.contains(ReadFlags::MOVED_FROM) {
                    self.left = Some((mark, path.clone()));
                    Raw::Left(path, SystemTime::now())
                } else if events.contains(ReadFlags::MOVED_TO) {
                    match self.left.take() {
                        Some((left, from)) if left == mark => Raw::Moved { from, to: path },
                        _ => Raw::Appeared(path),
                    }
                } else if events.contains(ReadFlags::CREATE) {
                    Raw::Created(path)
                } else if events.contains(ReadFlags::DELETE) {
                    Raw::Removed(path)
                } else if events.contains(ReadFlags::MODIFY) {
                    Raw::Modified(path)
                } else {
                    return;
                }
            }
            None if events.contains(ReadFlags::MOVE_SELF) => Raw::SelfGone(directory),
            None if events.contains(ReadFlags::DELETE_SELF) => Raw::Removed(directory),
            None if events.contains(ReadFlags::UNMOUNT) => {
                Raw::Failed { path: directory, message: "its file system was unmounted".into() }
            }
            None => return,
        };
        self.inbox.event(raw);
    }
}
