//! Closing files that have lost their last name, while nobody waits for it.
//!
//! Only then does the file system free their inodes and blocks, which may take as long as all the rest of an edit but for
//! its syncs: some tell the disk of each block that is free again.

use std::{
    fs::File,
    sync::{
        Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Files that wait to be closed; more are closed by who brings them.
const WAITING: usize = 4;
/// The room of larger files is needed back at once.
const MAX_BYTES: u64 = 1 << 20;

/// A thread that closes files; it is started for the first one and ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Closing(Mutex<Option<Closer>>);

#[derive(Debug)]
struct Closer {
    files: SyncSender<File>,
    thread: JoinHandle<()>,
}

impl Closing {
    /// Closes a file of so many bytes, soon or at once.
    pub fn close(&self, file: File, bytes: u64) {
        if bytes > MAX_BYTES {
            return;
        }
        let mut closer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if closer.is_none() {
            *closer = Closer::start();
        }
        if let Some(Closer { files, .. }) = &*closer {
            // What is not taken is closed here.
            let _ = files.try_send(file);
        }
    }

    /// Waits until all files are closed; whether there may have been any.
    pub fn finish(&self) -> bool {
        let closer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Closer { files, thread }) = closer else { return false };
        drop(files);
        // There is nothing in it that could panic.
        let _ = thread.join();
        true
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
        self.finish();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_closed_when_it_has_finished() {
        let (directory, closing) = (tempfile::tempdir().unwrap(), Closing::default());
        let directory = directory.path().canonicalize().unwrap();
        let open = || {
            let open: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().flatten().collect();
            open.iter().flat_map(|fd| std::fs::read_link(fd.path())).filter(|file| file.starts_with(&directory)).count()
        };
        let files: Vec<_> = (0..10).map(|name| File::create(directory.join(name.to_string())).unwrap()).collect();
        assert_eq!(open(), 10);
        for (file, bytes) in files.into_iter().zip([0, MAX_BYTES, MAX_BYTES + 1].into_iter().cycle()) {
            closing.close(file, bytes);
        }
        assert!(closing.finish());
        assert_eq!(open(), 0);
        assert!(!closing.finish(), "nothing has come since");
    }
}
