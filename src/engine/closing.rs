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

/// Files that wait to be closed; more are closed by who brings them.
const WAITING: usize = 16;

/// A thread that closes files; it is started for the first one and ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Closing(OnceLock<Option<Closer>>);

#[derive(Debug)]
struct Closer {
    files: SyncSender<File>,
    thread: JoinHandle<()>,
}

impl Closing {
    pub fn close(&self, file: File) {
        if let Some(closer) = self.0.get_or_init(Closer::start) {
            // What is not taken is closed here.
            let _ = closer.files.try_send(file);
        }
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
            // It has nothing that could panic.
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
        let names: Vec<_> = (0..3 * WAITING).map(|number| directory.path().join(number.to_string())).collect();
        names.iter().for_each(|name| closing.close(File::create(name).unwrap()));
        drop(closing);
        let open: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().flatten().collect();
        let open: Vec<_> = open.iter().filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        assert!(open.iter().all(|file| !names.contains(file)), "{open:?}");
    }
}
