//! The source of events elsewhere than on Linux.

use std::{path::PathBuf, sync::Arc};

use notify::{
    Config, ErrorKind, Event, EventHandler, EventKind,
    event::{MetadataKind, ModifyKind, RenameMode},
};

use super::{
    inbox::{Inbox, Raw},
    probe,
};

/// Watches by what the system offers.
pub(super) fn recommended(inbox: Arc<Inbox>) -> notify::Result<Box<dyn notify::Watcher + Send>> {
    let config = Config::default().with_follow_symlinks(false);
    let watcher = <notify::RecommendedWatcher as notify::Watcher>::new(Handler { inbox, left: None }, config)?;
    Ok(Box::new(watcher))
}

/// Runs on notify's thread and only puts into the inbox what could be a change of a file.
struct Handler {
    inbox: Arc<Inbox>,
    /// The path that was just moved away, with the mark that its new name will carry.
    left: Option<(Option<usize>, PathBuf)>,
}

impl EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) => self.translate(event),
            Err(error) => failure(error).into_iter().for_each(|raw| self.inbox.event(raw)),
        }
    }
}

impl Handler {
    fn translate(&mut self, mut event: Event) {
        if event.need_rescan() {
            self.inbox.event(Raw::Lost("the system's queue of file events was full".into()));
            return;
        }
        let mark = event.tracker();
        if event.paths.len() == 2 && event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
            if let (Some(to), Some(from)) = (event.paths.pop(), event.paths.pop()) {
                self.inbox.event(Raw::Moved { from, to });
            }
            return;
        }
        let Some(path) = event.paths.pop() else { return };
        let raw = match event.kind {
            EventKind::Access(_) => return,
            EventKind::Create(_) => Raw::Created(path),
            EventKind::Remove(_) => Raw::Removed(path),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                self.left = Some((mark, path.clone()));
                Raw::Left(path)
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => match self.left.take() {
                // An event that names both paths follows.
                Some((Some(from_mark), _)) if mark == Some(from_mark) => return,
                Some((None, from)) => Raw::Moved { from, to: path },
                _ => Raw::Appeared(path),
            },
            EventKind::Modify(ModifyKind::Name(_)) => Raw::Appeared(path),
            // Mode, owner and times are not content. Polling calls a change of content a change of the write time.
            EventKind::Modify(ModifyKind::Metadata(kind)) if kind != MetadataKind::WriteTime => return,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => Raw::Modified(path),
        };
        self.inbox.event(raw);
    }
}

fn failure(error: notify::Error) -> Vec<Raw> {
    if error.paths.is_empty() {
        return vec![Raw::Lost(error.to_string())];
    }
    // Polling finds that a directory has gone by failing to open it.
    let is_gone = match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(source) => probe::is_gone(source),
        _ => false,
    };
    if is_gone { error.paths.into_iter().map(Raw::Removed).collect() } else { vec![Raw::Lost(error.to_string())] }
}
