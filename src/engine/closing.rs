//! Closing files that have lost their last name, while nobody waits for it.
//!
//! Only then does the file system free their inodes and blocks, which may take as long as all the rest of an edit but for
//! its syncs: some tell the disk of each block that is free again.

use std::{
    fs::File,
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::disk::Dir;

/// Files that wait to be closed; more are closed by who brings them.
const WAITING: usize = 4;
/// Larger files are closed at once.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// Where less is free, the next edit may need the room of what this one replaces.
const ENOUGH_FREE: u64 = 64 << 20;

/// A thread that closes files; it is started for the first one and ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Closing(OnceLock<Option<Closer>>);

#[derive(Debug)]
struct Closer {
    files: SyncSender<File>,
    thread: JoinHandle<()>,
}

/// Whether nobody misses the room of a file of this size and directory if it is closed a moment later.
pub(super) fn may_wait(bytes: u64, dir: &Dir) -> bool {
    bytes <= MAX_BYTES && dir.free_bytes().is_ok_and(|free| free >= ENOUGH_FREE)
}

impl Closing {
    /// Closes a file, soon or at once.
    pub fn close(&self, file: File) {
        if let Some(closer) = self.0.get_or_init(Closer::start) {
            // What is not taken is closed here.
            let _ = closer.files.try_send(file);
        }
    }

    #[cfg(test)]
    pub fn has_begun(&self) -> bool {
        self.0.get().is_some()
    }
}

impl Closer {
    fn start() -> Option<Self> {
        let (files, brought) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("ploke-io-close".into()).spawn(move || brought.iter().for_each(drop));
        Some(Self { files, thread: thread.ok()? })
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(Closer { files, thread }) = self.0.take().flatten() {
            drop(files);
            // There is nothing in it that could panic.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_closed_in_the_end() {
        let (directory, closing) = (tempfile::tempdir().unwrap(), Closing::default());
        let directory = directory.path().canonicalize().unwrap();
        let open = || {
            let open: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().flatten().collect();
            open.iter().flat_map(|fd| std::fs::read_link(fd.path())).filter(|file| file.starts_with(&directory)).count()
        };
        let files: Vec<_> = (0..10).map(|name| File::create(directory.join(name.to_string())).unwrap()).collect();
        assert_eq!(open(), 10);
        files.into_iter().for_each(|file| closing.close(file));
        drop(closing);
        assert_eq!(open(), 0);
    }
}
