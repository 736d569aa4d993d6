//! What is told of the watcher itself and of the changes it has found.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{
    Backend, WatchState,
    index::Look,
    walk::Attention,
    worker::{Failure, Worker},
};
use crate::events::{FileChangeEvent, FileEventKind};

/// A change that may be told, and how the file looked when it was there.
pub(super) struct Told {
    pub event: FileChangeEvent,
    /// The look of a file that was only suspected to have come or gone, which may be the other end of a rename.
    pub end: Option<Look>,
}

impl Worker {
    pub(super) fn publish(&self) {
        let mut status = self.shared.status();
        status.state = match self.backend {
            _ if !self.starting.is_empty() || self.inbox.has_new_root() => WatchState::Starting,
            Backend::Native => WatchState::Watching,
            Backend::Poll => WatchState::Polling,
        };
        status.watches = self.directories.values().filter(|known| **known == Attention::Watched).count();
        status.pending = self.debouncer.len();
        status.overflows = self.overflows;
        status.reason = self.reason(status.limit);
    }

    fn reason(&self, limit: Option<usize>) -> Option<String> {
        if let Some(notice) = self.limit_notice_for(limit) {
            return Some(notice);
        }
        let (path, failure) = self.failed.first_key_value()?;
        let count = self.failed.len();
        let root = self.rules.root_of(path).unwrap_or_default();
        let name = match path.strip_prefix(&root) {
            Ok(below) if !below.as_os_str().is_empty() => below.display().to_string(),
            _ => root.file_name().map_or("/".into(), |name| name.to_string_lossy().into_owned()),
        };
        let what = match failure {
            Failure::Limit => return None,
            Failure::RootGone => format!("the workspace root is not there; it is looked for {}", self.every()),
            Failure::Other(message) => format!("{message}: allow reading it, or leave it out with watch.ignore"),
        };
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        Some(format!("not watched: {name}{others}; {what}"))
    }

    pub(super) fn limit_notice(&self) -> Option<String> {
        let limit = self.shared.status().limit;
        self.limit_notice_for(limit)
    }

    fn limit_notice_for(&self, limit: Option<usize>) -> Option<String> {
        let polled = self.failed.values().filter(|failure| **failure == Failure::Limit).count();
        if polled == 0 {
            return None;
        }
        let needed = self.directories.len();
        let allowed = limit.map(|limit| format!(" (now {limit} for all processes of the user)")).unwrap_or_default();
        Some(format!(
            "the system allows no more file watches: {polled} of {needed} directories are polled {} instead; raise \
             fs.inotify.max_user_watches{allowed}, or leave out directories with watch.ignore",
            self.every()
        ))
    }

    fn every(&self) -> String {
        format!("every {} s", self.poll_interval.as_secs_f32())
    }

    pub(super) fn is_limited(&self) -> bool {
        self.failed.values().any(|failure| *failure == Failure::Limit)
    }
}

/// Takes files that have gone here and come there, which nobody saw happen, for renamed.
pub(super) fn pair_renames(told: Vec<Told>) -> Vec<FileChangeEvent> {
    let mut gone: HashMap<(u64, u64), (Look, PathBuf)> = told
        .iter()
        .filter(|told| told.event.kind == FileEventKind::Deleted)
        .filter_map(|told| told.end.map(|look| ((look.device, look.inode), (look, told.event.path.clone()))))
        .collect();
    let mut renamed = HashSet::new();
    let mut changes: Vec<FileChangeEvent> = Vec::with_capacity(told.len());
    for Told { mut event, end } in told {
        let look = end.filter(|_| event.kind == FileEventKind::Created);
        let from = look.and_then(|look| {
            let (before, from) = gone.get(&(look.device, look.inode))?;
            (*from != event.path && before.may_be_renamed(&look)).then(|| gone.remove(&(look.device, look.inode)))?
        });
        if let Some((_, from)) = from {
            renamed.insert(from.clone());
            event = FileChangeEvent { kind: FileEventKind::Renamed, old_path: Some(from), ..event };
        }
        changes.push(event);
    }
    changes.retain(|change| change.kind != FileEventKind::Deleted || !renamed.contains(&change.path));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{settle::Net, worker::event};

    #[test]
    fn a_file_that_has_gone_and_come_is_renamed_if_it_is_the_same_and_elsewhere() {
        let look = |inode, modified| Some(Look { inode, modified, ..Look::default() });
        let told = |kind: FileEventKind, path: &str, end| Told {
            event: FileChangeEvent { kind, ..event(path.into(), Net::Modified) },
            end,
        };
        use FileEventKind::{Created, Deleted, Renamed};
        let paired = |told: Vec<Told>| {
            let changes = pair_renames(told);
            changes.into_iter().map(|change| (change.kind, change.path, change.old_path)).collect::<Vec<_>>()
        };
        let gone = || told(Deleted, "/r/a", look(1, 1));
        assert_eq!(
            paired(vec![gone(), told(Created, "/r/b", look(1, 1))]),
            [(Renamed, "/r/b".into(), Some("/r/a".into()))]
        );
        for there in [
            told(Created, "/r/b", look(2, 1)),
            told(Created, "/r/b", look(1, 2)),
            told(Created, "/r/b", None),
            told(Created, "/r/a", look(1, 1)),
        ] {
            let path = there.event.path.clone();
            assert_eq!(paired(vec![gone(), there]), [(Deleted, "/r/a".into(), None), (Created, path, None)]);
        }
    }
}
