//! Barriers, what has changed since a clock, and keeping both across restarts.

use std::path::Path;

use super::{
    history::{ChangesSince, Clock, History, changes_since},
    worker::Worker,
};

/// Somebody who changes files without pause must not keep a barrier from ever being passed: what had happened before it
/// has been told after two rounds.
const MOST_ROUNDS: usize = 8;

impl Worker {
    /// Reports all that has happened up to now; `false` if the watcher is to stop before that is done.
    pub(super) fn sync(&mut self) -> bool {
        let told_by_system = self.source.drain();
        if told_by_system.is_none() {
            // The system may still keep something back, but it shows by comparing.
            self.recheck_all();
        }
        self.poll();
        for _ in 0..MOST_ROUNDS {
            self.take_in_events();
            while !self.stopping && self.source.drain() == Some(true) {
                self.take_in_events();
            }
            self.take_in_events();
            self.walk_all();
            if !self.stopping {
                self.finish_walk();
                self.flush(true);
            }
            if self.stopping {
                return false;
            }
            if self.todo.is_empty() && self.debouncer.len() == 0 {
                break;
            }
        }
        self.publish();
        true
    }

    /// Takes in what waits but commands.
    pub(super) fn take_in_events(&mut self) {
        let taken = self.inbox.take_events();
        self.take_in(taken);
    }

    pub(super) fn changes(&self, since: Option<&Clock>) -> ChangesSince {
        let forgotten = self.index.graves.from;
        let roots = self
            .histories
            .iter()
            .map(|(root, history)| (root.as_path(), History { from: history.from.max(forgotten), ..*history }));
        let is_in = |root: &Path, path: &Path| self.rules.root_of(path).is_some_and(|deepest| deepest == root);
        changes_since(&self.index, roots, is_in, since)
    }

    pub(super) fn save(&mut self) {
        for root in self.histories.keys().cloned().collect::<Vec<_>>() {
            self.save_root(&root);
        }
    }

    pub(super) fn save_root(&mut self, root: &Path) {
        let Some(history) = self.histories.get(root).filter(|_| !self.starting.iter().any(|starting| starting == root))
        else {
            return;
        };
        let is_in = |path: &Path| self.rules.root_of(path).is_some_and(|deepest| deepest == root);
        self.saved.save(root, history, &self.index, self.max_file_bytes, is_in);
    }
}
