//! Barriers, what has changed since a clock, and keeping both across restarts.

use std::path::{Path, PathBuf};

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

    pub(super) fn changes(&mut self, since: Option<&Clock>) -> ChangesSince {
        self.check_inner_roots();
        let roots = self.histories.iter().map(|(root, history)| (root.as_path(), history));
        let is_in = |root: &Path, path: &Path| self.rules.root_of(path).is_some_and(|deepest| deepest == root);
        changes_since(&self.index, roots, is_in, since)
    }

    /// A root that is there already is added once more under another name.
    pub(super) fn begin_root(&mut self, root: PathBuf) {
        if self.histories.contains_key(&root) {
            return;
        }
        let history = self.saved.load(&root, &self.inner_roots(&root), &mut self.index, self.max_file_bytes);
        self.histories.insert(root.clone(), history);
        self.starting.push(root.clone());
        self.add_root(root);
    }

    pub(super) fn end_root(&mut self, root: &Path) {
        self.save_root(root);
        self.histories.remove(root);
        self.starting.retain(|starting| starting != root);
        self.saved.release(root);
        self.remove_root(root);
        let outer = self.rules.root_of(root).and_then(|outer| self.histories.get_mut(&outer));
        if let Some(outer) = outer {
            // Its clocks do not speak of the files that are its own from now on.
            self.index.tick += 1;
            *outer = History::anew(self.index.tick);
        }
    }

    /// Where a root inside another is none any more, its files count for the outer one, whose history they are not in.
    fn check_inner_roots(&mut self) {
        for history in self.histories.values_mut() {
            if !history.inner.iter().all(|inner| self.rules.is_root(inner)) {
                history.forget_before();
            }
        }
    }

    pub(super) fn save(&mut self) {
        for root in self.histories.keys().cloned().collect::<Vec<_>>() {
            self.save_root(&root);
        }
    }

    pub(super) fn save_root(&mut self, root: &Path) {
        self.check_inner_roots();
        let inner = self.inner_roots(root);
        let Some(history) =
            self.histories.get_mut(root).filter(|_| !self.starting.iter().any(|starting| starting == root))
        else {
            return;
        };
        history.inner = inner;
        let is_in = |path: &Path| self.rules.root_of(path).is_some_and(|deepest| deepest == root);
        self.saved.save(root, history, &self.index, self.max_file_bytes, is_in);
    }

    pub(super) fn inner_roots(&self, root: &Path) -> Vec<PathBuf> {
        self.histories.keys().filter(|inner| *inner != root && inner.starts_with(root)).cloned().collect()
    }
}
