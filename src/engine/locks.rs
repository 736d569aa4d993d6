//! One lock per real file, held from reading to renaming; gone when nobody wants it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use dashmap::DashMap;

use crate::roots::Place;

/// The locks of one manager.
#[derive(Debug, Default)]
pub(crate) struct FileLocks {
    table: DashMap<Place, Arc<Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    taken: Mutex<bool>,
    freed: Condvar,
}

impl FileLocks {
    /// Takes the locks of all these places, waiting for each; always in the same order, so that nobody waits in a circle.
    pub fn lock(&self, places: impl IntoIterator<Item = Place>) -> Vec<FileLock<'_>> {
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| self.lock_one(place)).collect()
    }

    fn lock_one(&self, place: Place) -> FileLock<'_> {
        let slot = self.table.entry(place.clone()).or_default().clone();
        let mut taken = slot.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = slot.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        drop(taken);
        FileLock { table: &self.table, place, slot }
    }

    /// Number of files that are locked or waited for.
    pub fn len(&self) -> usize {
        self.table.len()
    }
}

/// Frees the file when dropped.
#[derive(Debug)]
pub(crate) struct FileLock<'a> {
    table: &'a DashMap<Place, Arc<Slot>>,
    place: Place,
    slot: Arc<Slot>,
}

impl Drop for FileLock<'_> {
    fn drop(&mut self) {
        *self.slot.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.slot.freed.notify_one();
        // The table's entry and this one are the only two left when nobody waits; new ones are made under the same shard lock.
        self.table.remove_if(&self.place, |_, slot| Arc::strong_count(slot) == 2);
    }
}
