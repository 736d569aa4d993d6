//! Work on many files at once, with a bound that all requests share.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use crate::hash::{DEEP_STACK, with_deep_stack};

/// Fewer items than this for each thread are not worth a thread.
const ITEMS_PER_THREAD: usize = 4;

/// Maps all items in parallel and returns the results in their order.
///
/// The calling thread works too: when no thread can be made, it does all of the work. When `work` panics, so does this.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_on(items, threads.min(items.len() / ITEMS_PER_THREAD), work)
}

/// The same for work that mostly waits for the disk, so that each item is worth a thread.
pub(crate) fn map_waiting<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_on(items, threads.min(items.len()), work)
}

fn map_on<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let all_done = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        let mut done = Vec::with_capacity(items.len() / threads + 1);
        loop {
            let index = next.fetch_add(1, Relaxed);
            let Some(item) = items.get(index) else { break };
            done.push((index, work(item)));
        }
        all_done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut done);
    };
    thread::scope(|scope| {
        let spawn = || {
            let builder = thread::Builder::new().name("ploke-io-files".into()).stack_size(DEEP_STACK);
            builder.spawn_scoped(scope, || with_deep_stack(run)).ok()
        };
        // Not joined: that a thread has ended takes longer than that its work is done, for which the scope waits.
        (1..threads).map_while(|_| spawn()).for_each(drop);
        run();
    });
    let mut done = all_done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Bounds how many files are worked on at once.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Mutex<Free>,
    freed: Condvar,
}

#[derive(Debug)]
struct Free {
    permits: usize,
    /// So that nobody is called where nobody waits, which takes a system call.
    waiting: usize,
}

impl Permits {
    pub fn new(permits: usize) -> Self {
        Self { free: Mutex::new(Free { permits, waiting: 0 }), freed: Condvar::new() }
    }

    /// Waits for a permit. Whoever holds one must not wait for anything but the disk.
    pub fn acquire(&self) -> Permit<'_> {
        let mut free = self.lock();
        while free.permits == 0 {
            free.waiting += 1;
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
            free.waiting -= 1;
        }
        free.permits -= 1;
        Permit { permits: self }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to work on one file; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    permits: &'a Permits,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut free = self.permits.lock();
        free.permits += 1;
        if free.waiting > 0 {
            self.permits.freed.notify_one();
        }
    }
}
