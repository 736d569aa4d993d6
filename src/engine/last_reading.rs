//! The last reading of a file, for requests that had come before it began: to them it is as good as one of their own.
//!
//! So many requests for one file that wait together cost little more than one of them. Files are read for a request alone
//! while an editor has documents open, whatever they are of.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::file::FileContent;
use crate::{error::IoError, roots::RootedPath};

/// Contents of larger files are not kept.
const MAX_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct LastReading(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How often everything read before was to be forgotten.
    forgotten: u64,
    last: Option<Arc<SharedReading>>,
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct SharedReading {
    /// The path by which it was asked for.
    spelling: PathBuf,
    began: Instant,
    pub path: RootedPath,
    pub content: FileContent,
}

impl LastReading {
    /// The last reading, if it was of this path and began later than that; otherwise one that is made now.
    pub fn since(
        &self,
        since: Instant,
        spelling: &Path,
        read: impl FnOnce() -> Result<(RootedPath, FileContent), IoError>,
    ) -> Result<Arc<SharedReading>, IoError> {
        let forgotten = {
            let state = self.lock();
            let last = state.last.as_ref();
            let is_asked_for = |last: &&Arc<SharedReading>| last.began > since && last.spelling.as_os_str() == spelling;
            if let Some(last) = last.filter(is_asked_for) {
                return Ok(last.clone());
            }
            state.forgotten
        };
        let began = Instant::now();
        let (path, content) = read()?;
        // What is kept is not to hold a directory open.
        let reading = SharedReading { spelling: spelling.to_owned(), began, path: path.without_dir(), content };
        let reading = Arc::new(reading);
        if reading.content.rested && reading.content.bytes.capacity() <= MAX_BYTES {
            let mut state = self.lock();
            if state.forgotten == forgotten {
                let before = state.last.replace(reading.clone());
                drop(state);
                drop(before);
            }
        }
        Ok(reading)
    }

    /// What was read before is not to be used for what begins from now on.
    pub fn forget(&self) {
        let mut state = self.lock();
        state.forgotten += 1;
        let before = state.last.take();
        drop(state);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io, time::SystemTime};

    use super::*;
    use crate::{
        hash::ContentHash,
        roots::{DirBudget, Resolver, Root, Roots, SymlinkPolicy},
    };

    /// A file of so many bytes, and what its readings bring.
    struct Scene {
        directory: tempfile::TempDir,
        roots: Roots,
        last: LastReading,
    }

    impl Scene {
        fn new(bytes: usize) -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("dir")).unwrap();
            fs::write(directory.path().join("dir/file"), vec![b' '; bytes]).unwrap();
            let mut roots = Roots::new(SymlinkPolicy::default());
            roots.add(Root::open(directory.path()).unwrap());
            Self { directory, roots, last: LastReading::default() }
        }

        /// Whether a request that came at this time has the file read.
        fn reads(&self, since: Instant, name: &str, meanwhile: impl FnOnce()) -> bool {
            let (path, mut read) = (self.directory.path().join("dir").join(name), false);
            let reading = self.last.since(since, &path, || {
                read = true;
                meanwhile();
                let path = Resolver::new(&self.roots, &DirBudget::new(1)).resolve(&path)?;
                let bytes = fs::read(path.absolute()).map_err(|error| IoError::os(path.relative(), "read", error))?;
                let (hash, stat) = (ContentHash::of(&bytes), *path.stat().unwrap());
                let content = FileContent { bytes, hash, stat, rested: true, began: SystemTime::now(), version: None };
                Ok((path, content))
            });
            assert_eq!(reading.is_ok(), name == "file");
            read
        }
    }

    #[test]
    fn a_reading_is_for_requests_that_came_before_it_began() {
        let scene = Scene::new(10);
        let earlier = Instant::now();
        assert!(scene.reads(earlier, "file", || {}));
        assert!(!scene.reads(earlier, "file", || {}));
        assert!(scene.reads(Instant::now(), "file", || {}), "it came later");
        assert!(!scene.reads(earlier, "file", || {}));
        assert!(scene.reads(earlier, "missing", || {}), "another file");
        assert!(scene.reads(earlier, "missing", || {}), "errors are not kept");
        assert!(!scene.reads(earlier, "file", || {}));
        scene.last.forget();
        assert!(scene.reads(earlier, "file", || {}));
    }

    #[test]
    fn what_is_to_be_forgotten_while_it_is_read_is_not_kept() {
        let scene = Scene::new(10);
        let earlier = Instant::now();
        assert!(scene.reads(earlier, "file", || scene.last.forget()));
        assert!(scene.reads(earlier, "file", || {}));
        assert!(!scene.reads(earlier, "file", || {}));
    }

    #[test]
    fn neither_a_large_content_nor_an_open_directory_is_kept() {
        let scene = Scene::new(MAX_BYTES + 1);
        let earlier = Instant::now();
        assert!(scene.reads(earlier, "file", || {}));
        assert!(scene.reads(earlier, "file", || {}));
        assert!(scene.last.lock().last.is_none());
        let scene = Scene::new(MAX_BYTES);
        assert!(scene.reads(earlier, "file", || {}));
        let last = scene.last.lock().last.clone().unwrap();
        fs::remove_dir_all(scene.directory.path().join("dir")).unwrap();
        assert_eq!(last.path.dir().err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
