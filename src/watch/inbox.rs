//! What waits for the watcher's thread: a bounded queue of raw events, and the commands of its handle.

use std::{
    collections::{BTreeSet, VecDeque},
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
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    SelfGone(PathBuf),
    /// The file system that this directory was on has been unmounted.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
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
    /// To be answered when all that happened before has been reported.
    Sync(SyncSender<()>),
    /// The same, then with what has changed since; without a clock, with the clock alone.
    Changes(Option<Clock>, SyncSender<ChangesSince>),
}

/// Where something may have changed that no event has told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hints {
    /// At these paths or below them.
    At(BTreeSet<PathBuf>),
    /// At too many paths to keep them all.
    Everywhere,
}

/// All that waited.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub commands: Vec<Command>,
    pub hints: Hints,
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
    closed: bool,
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

    /// Puts in a command; one that nobody will carry out any more is dropped.
    pub fn command(&self, command: Command) {
        let mut content = self.lock();
        if !content.closed {
            content.taken.commands.push(command);
            self.filled.notify_one();
        }
    }

    pub fn hint(&self, path: PathBuf) {
        let mut content = self.lock();
        if content.closed {
            return;
        }
        match &mut content.taken.hints {
            Hints::At(paths) if paths.len() < self.capacity => drop(paths.insert(path)),
            hints => *hints = Hints::Everywhere,
        }
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

    /// Whether the thread is to stop.
    pub fn is_stopped(&self) -> bool {
        self.lock().taken.stop
    }

    /// Says that nothing is taken out any more: who waits for an answer, now or later, will have none.
    pub fn close(&self) {
        let mut content = self.lock();
        content.closed = true;
        content.taken = Taken { stop: true, ..Taken::default() };
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
        let is_empty = taken.events.is_empty() && taken.commands.is_empty() && taken.hints == Hints::default();
        !self.woken && !taken.stop && !taken.lost && is_empty
    }
}

impl Default for Hints {
    /// None.
    fn default() -> Self {
        Self::At(BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

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
    fn hints_are_kept_once_and_too_many_are_one_for_all() {
        let inbox = Inbox::new(3);
        for path in ["/r/b", "/r/a", "/r/b", "/r/b"] {
            inbox.hint(path.into());
        }
        assert_eq!(inbox.wait(None).hints, Hints::At(BTreeSet::from(["/r/a".into(), "/r/b".into()])));
        for number in 0..10_000 {
            inbox.hint(format!("/r/{number}").into());
        }
        assert_eq!(inbox.take().hints, Hints::Everywhere);
        assert_eq!(inbox.take().hints, Hints::default());
    }

    #[test]
    fn a_closed_inbox_keeps_nobody_waiting_and_takes_nothing_in() {
        let inbox = Inbox::new(3);
        let (reply, answer) = mpsc::sync_channel(1);
        inbox.command(Command::Sync(reply.clone()));
        inbox.close();
        inbox.command(Command::Sync(reply));
        inbox.hint("/r/a".into());
        assert_eq!(answer.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        let taken = inbox.take();
        assert!(taken.stop && taken.commands.is_empty() && taken.hints == Hints::default());
    }

    #[test]
    fn a_stop_is_seen_by_everyone_who_looks() {
        let inbox = Inbox::new(1);
        inbox.stop();
        assert!(inbox.take().stop);
        assert!(inbox.wait(None).stop);
    }
}
