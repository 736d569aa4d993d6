//! What waits for the watcher's thread: a bounded queue of raw events, and the commands of its handle.

use std::{
    collections::VecDeque,
    mem,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::Instant,
};

use super::history::{ChangesSince, Clock};

/// Never blocks the one who puts something in; when it is full, raw events are dropped and [`Taken::lost`] says so.
#[derive(Debug)]
pub(super) struct Inbox {
    content: Mutex<Content>,
    filled: Condvar,
    capacity: usize,
}

/// What the source saw happen, not yet looked at. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(super) enum Raw {
    Created(PathBuf),
    /// Moved here from somewhere, or there by any other way.
    Appeared(PathBuf),
    Modified(PathBuf),
    Removed(PathBuf),
    /// Moved away; a [`Raw::Moved`] follows at once if the new place is watched as well.
    Left(PathBuf),
    Moved {
        from: PathBuf,
        to: PathBuf,
    },
    /// The directory itself was moved or removed; its parent tells the same, unless it is a root.
    SelfGone(PathBuf),
    /// The file system that this directory was on has been unmounted.
    Unmounted(PathBuf),
    /// Events were lost, nobody knows which.
    Lost(String),
}

#[derive(Debug)]
pub(super) enum Command {
    AddRoot(PathBuf),
    RemoveRoot(PathBuf),
    /// Another directory may stand where the root stood.
    RootReplaced(PathBuf),
    /// Something may have changed here.
    Hint(PathBuf),
    /// To be answered when all that happened before has been reported.
    Sync(SyncSender<()>),
    /// The same, then with what has changed since; without a clock, with the clock alone.
    Changes(Option<Clock>, SyncSender<ChangesSince>),
}

/// All that waited.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub commands: Vec<Command>,
    pub events: VecDeque<Raw>,
    /// Events were dropped because the queue was full.
    pub lost: bool,
    pub stop: bool,
}

#[derive(Debug, Default)]
struct Content {
    taken: Taken,
    dropped: u64,
    woken: bool,
}

impl Inbox {
    pub fn new(capacity: usize) -> Self {
        Self { content: Mutex::default(), filled: Condvar::new(), capacity }
    }

    #[cfg(any(test, not(target_os = "linux")))]
    pub fn event(&self, event: Raw) {
        self.events([event]);
    }

    pub fn events(&self, events: impl IntoIterator<Item = Raw>) {
        let mut content = self.lock();
        for event in events {
            let waiting = &mut content.taken.events;
            if matches!(event, Raw::Modified(_)) && waiting.back() == Some(&event) {
                continue;
            }
            if waiting.len() < self.capacity {
                waiting.push_back(event);
            } else {
                content.dropped += 1;
                content.taken.lost = true;
            }
        }
        if !content.is_idle() {
            self.filled.notify_one();
        }
    }

    pub fn command(&self, command: Command) {
        self.lock().taken.commands.push(command);
        self.filled.notify_one();
    }

    /// Makes the thread look at its deadlines again.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_one();
    }

    pub fn stop(&self) {
        self.lock().taken.stop = true;
        self.filled.notify_one();
    }

    /// How many raw events wait, and how many have been dropped.
    pub fn load(&self) -> (usize, u64) {
        let content = self.lock();
        (content.taken.events.len(), content.dropped)
    }

    /// Whether a root waits to be watched.
    pub fn has_new_root(&self) -> bool {
        self.lock().taken.commands.iter().any(|command| matches!(command, Command::AddRoot(_)))
    }

    /// Takes what there is, without waiting.
    pub fn take(&self) -> Taken {
        Self::empty(&mut self.lock())
    }

    /// Takes the events alone.
    pub fn take_events(&self) -> Taken {
        let taken = &mut self.lock().taken;
        Taken {
            events: mem::take(&mut taken.events),
            lost: mem::take(&mut taken.lost),
            stop: taken.stop,
            ..Taken::default()
        }
    }

    /// Blocks until something waits or the deadline has come.
    pub fn wait(&self, deadline: Option<Instant>) -> Taken {
        let mut content = self.lock();
        while content.is_idle() {
            content = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.filled.wait(content).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => self.filled.wait_timeout(content, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        Self::empty(&mut content)
    }

    fn empty(content: &mut Content) -> Taken {
        content.woken = false;
        // A stop stays one, whoever sees it first.
        let stop = content.taken.stop;
        mem::replace(&mut content.taken, Taken { stop, ..Taken::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn is_idle(&self) -> bool {
        let taken = &self.taken;
        !self.woken && !taken.stop && !taken.lost && taken.events.is_empty() && taken.commands.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_counts_and_says_so_but_keeps_what_it_has() {
        let inbox = Inbox::new(2);
        for name in ["a", "b", "c", "d"] {
            inbox.event(Raw::Created(name.into()));
        }
        assert_eq!(inbox.load(), (2, 2));

        let taken = inbox.wait(None);
        assert!(taken.lost);
        assert_eq!(taken.events, [Raw::Created("a".into()), Raw::Created("b".into())]);

        assert!(!inbox.take().lost, "told once");
        assert_eq!(inbox.load(), (0, 2), "dropped counts up");
    }

    #[test]
    fn the_same_modification_waits_only_once() {
        let inbox = Inbox::new(2);
        for _ in 0..100 {
            inbox.event(Raw::Modified("a".into()));
        }
        assert_eq!(inbox.load(), (1, 0));
    }

    #[test]
    fn commands_are_never_dropped() {
        let inbox = Inbox::new(0);
        for _ in 0..10 {
            inbox.command(Command::AddRoot("/a".into()));
        }
        assert_eq!(inbox.wait(None).commands.len(), 10);
    }

    #[test]
    fn a_stop_is_seen_by_everyone_who_looks() {
        let inbox = Inbox::new(1);
        inbox.stop();
        assert!(inbox.take().stop);
        assert!(inbox.wait(None).stop);
    }
}
