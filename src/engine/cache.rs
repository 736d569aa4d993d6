//! Hashes of files that were read before, valid only while the file's stat data prove that it is the same.
//!
//! An entry counts if the stat data are identical *and* the file had been at rest for longer than any file system's time
//! stamp granularity when it was read: a file changed within the same tick keeps its stat data (git calls such an entry
//! racily clean). Files on systems whose clock is not this machine's (network file systems, FUSE) are never cached.
//!
//! Not noticed: a program that changes a file through a shared memory mapping; the kernel updates the times of such a
//! file only when it writes the pages back. The guard of an edit therefore never comes from here.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use quick_cache::{Weighter, sync::Cache};
use uuid::Uuid;

use crate::{
    disk::{FileStat, keeps_trustworthy_times},
    hash::{ContentHash, ParseError, TrackingHash},
};

/// The coarsest time stamps in use (FAT counts in two seconds), and a little more for the clock's own tick.
const GRANULARITY: Duration = Duration::from_millis(2_100);

/// What is known of a file's content; nothing in it is out of date while the stat data are the same.
#[derive(Debug, Clone)]
pub(crate) struct KnownHashes {
    pub content: ContentHash,
    pub tracking: Option<KnownTracking>,
}

#[derive(Debug, Clone)]
pub(crate) struct KnownTracking {
    pub namespace: Uuid,
    pub hash: Result<TrackingHash, ParseError>,
}

/// Bounds of the cache; zero in either turns it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    pub bytes: u64,
    pub entries: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { bytes: 32 << 20, entries: 100_000 }
    }
}

/// What the cache holds and what it was good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatus {
    pub entries: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
}

/// Hashes by real path.
pub(crate) struct HashCache {
    entries: Option<Cache<Arc<Path>, Entry, EntryWeight>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone)]
struct Entry {
    stat: FileStat,
    hashes: KnownHashes,
}

impl HashCache {
    pub fn new(limits: CacheLimits) -> Self {
        let entries = (limits.bytes > 0 && limits.entries > 0).then(|| {
            // One bound serves for both: no entry weighs less than its share of the bytes.
            let least = limits.bytes.div_ceil(limits.entries);
            Cache::with_weighter(INITIAL_ENTRIES.min(limits.entries as usize), limits.bytes, EntryWeight { least })
        });
        Self { entries, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The hashes of a file that has this stat data now.
    pub fn get(&self, path: &Path, stat: &FileStat) -> Option<KnownHashes> {
        let entry = self.entries.as_ref()?.get(path).filter(|entry| entry.stat == *stat);
        let counter = if entry.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        Some(entry?.hashes)
    }

    /// Keeps the hashes of a file that had this stat data before and after it was read; `began` is when the reading began.
    pub fn put(&self, path: PathBuf, file: &File, stat: FileStat, began: SystemTime, hashes: KnownHashes) {
        let Some(entries) = &self.entries else { return };
        if is_settled(&stat, began) && keeps_trustworthy_times(file) {
            entries.insert(path.into(), Entry { stat, hashes });
        }
    }

    pub fn forget(&self, path: &Path) {
        if let Some(entries) = &self.entries {
            entries.remove(path);
        }
    }

    pub fn status(&self) -> CacheStatus {
        CacheStatus {
            entries: self.entries.as_ref().map_or(0, |entries| entries.len() as u64),
            bytes: self.entries.as_ref().map_or(0, |entries| entries.weight()),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
        }
    }
}

/// Only a first guess for the table's size.
const INITIAL_ENTRIES: usize = 1_000;

/// Whether the file was at rest for so long before `began` that a later change must show in its times.
pub(super) fn is_settled(stat: &FileStat, began: SystemTime) -> bool {
    let at_rest = |time: SystemTime| began.duration_since(time).is_ok_and(|age| age > GRANULARITY);
    at_rest(stat.modified) && at_rest(stat.changed)
}

#[derive(Debug, Clone)]
struct EntryWeight {
    least: u64,
}

impl Weighter<Arc<Path>, Entry> for EntryWeight {
    fn weight(&self, path: &Arc<Path>, entry: &Entry) -> u64 {
        let message = match &entry.hashes.tracking {
            Some(KnownTracking { hash: Err(error), .. }) => error.message.len(),
            _ => 0,
        };
        // Twice the path: the entry's own, and the table's slots with their spare room.
        let size = size_of::<Entry>() + 2 * (path.as_os_str().len() + size_of::<Arc<Path>>()) + message;
        self.least.max(size as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::stat_file;

    fn hashes(content: &str) -> KnownHashes {
        KnownHashes { content: ContentHash::of(content.as_bytes()), tracking: None }
    }

    /// A file of this machine, with its stat data changed to have been at rest for an hour.
    fn old_file(dir: &tempfile::TempDir, name: &str) -> (PathBuf, File, FileStat) {
        let path = dir.path().join(name);
        fs::write(&path, name).unwrap();
        let file = File::open(&path).unwrap();
        let stat = stat_file(&file).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3_600);
        (path, file, FileStat { modified: long_ago, changed: long_ago, ..stat })
    }

    #[test]
    fn a_file_is_settled_when_both_times_are_older_than_any_tick() {
        let began = SystemTime::now();
        let dir = tempfile::tempdir().unwrap();
        let (_, _, stat) = old_file(&dir, "f");
        let ago = |ms: u64| began - Duration::from_millis(ms);
        for (modified, changed, settled) in [
            (ago(5_000), ago(5_000), true),
            (ago(2_101), ago(2_101), true),
            (ago(2_100), ago(5_000), false),
            (ago(5_000), ago(2_100), false),
            (ago(5_000), ago(0), false),
            // Written in what is the future for this machine's clock.
            (began + Duration::from_secs(60), ago(5_000), false),
            (ago(5_000), began + Duration::from_secs(60), false),
        ] {
            assert_eq!(is_settled(&FileStat { modified, changed, ..stat }, began), settled, "{modified:?} {changed:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_entry_counts_only_for_identical_stat_data() {
        let cache = HashCache::new(CacheLimits::default());
        let dir = tempfile::tempdir().unwrap();
        let (path, file, stat) = old_file(&dir, "f");
        cache.put(path.clone(), &file, stat, SystemTime::now(), hashes("f"));
        assert_eq!(cache.get(&path, &stat).unwrap().content, hashes("f").content);
        let tick = Duration::from_nanos(1);
        for other in [
            FileStat { device: stat.device + 1, ..stat },
            FileStat { inode: stat.inode + 1, ..stat },
            FileStat { size: stat.size + 1, ..stat },
            FileStat { modified: stat.modified + tick, ..stat },
            FileStat { changed: stat.changed + tick, ..stat },
        ] {
            assert!(cache.get(&path, &other).is_none(), "{other:?}");
        }
        assert_eq!(cache.status(), CacheStatus { hits: 1, misses: 5, entries: 1, bytes: cache.status().bytes });
        cache.forget(&path);
        assert!(cache.get(&path, &stat).is_none());
    }

    #[test]
    fn a_file_that_was_just_written_is_not_kept() {
        let cache = HashCache::new(CacheLimits::default());
        let dir = tempfile::tempdir().unwrap();
        let (path, file, _) = old_file(&dir, "f");
        let stat = stat_file(&file).unwrap();
        cache.put(path.clone(), &file, stat, SystemTime::now(), hashes("f"));
        assert!(cache.get(&path, &stat).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn entries_and_bytes_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file, stat) = old_file(&dir, "f");
        for limits in [CacheLimits { bytes: 1 << 30, entries: 50 }, CacheLimits { bytes: 20_000, entries: 1 << 30 }] {
            let cache = HashCache::new(limits);
            for index in 0..5_000 {
                cache.put(path.with_extension(index.to_string()), &file, stat, SystemTime::now(), hashes("f"));
            }
            let status = cache.status();
            assert!(
                status.entries > 0 && status.entries <= limits.entries && status.bytes <= limits.bytes,
                "{status:?}"
            );
        }
    }
}
