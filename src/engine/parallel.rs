//! Work on many items at once, with a bound that all requests share.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::hash::{DEEP_STACK, with_deep_stack};

/// Fewer items than this for each thread are not worth a thread.
const ITEMS_PER_THREAD: usize = 4;
const THREAD_NAME: &str = "ploke-io-files";

/// Threads for work that keeps them busy.
///
/// They are started when they are first needed, and stay: a thread that is new has to wait for its processor, which can
/// take longer than the work. One caller has them at a time; whoever comes meanwhile starts threads of its own, so that
/// nobody waits for the items of another.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: usize,
    /// `None` if they cannot be started.
    pool: OnceLock<Option<ThreadPool>>,
    is_taken: AtomicBool,
}

impl Workers {
    pub fn new(threads: usize) -> Self {
        Self { threads, pool: OnceLock::new(), is_taken: AtomicBool::new(false) }
    }

    /// Maps all items in parallel and returns the results in their order. When `work` panics, so does this.
    pub fn map<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let threads = self.threads.min(items.len() / ITEMS_PER_THREAD);
        map_on(items, threads, work, |run| match self.take() {
            Some((pool, _taken)) => pool.in_place_scope(|scope| {
                (0..threads).for_each(|_| scope.spawn(|_| with_deep_stack(run)));
            }),
            None => run_on_new_threads(threads, run),
        })
    }

    /// The threads, unless somebody has them or they cannot be started.
    fn take(&self) -> Option<(&ThreadPool, Taken<'_>)> {
        // A thread of another pool would not wait, but do other work of its own meanwhile, which may need locks it holds.
        if rayon::current_thread_index().is_some() || self.is_taken.swap(true, Acquire) {
            return None;
        }
        let taken = Taken(&self.is_taken);
        Some((self.pool.get_or_init(|| start(self.threads)).as_ref()?, taken))
    }
}

fn start(threads: usize) -> Option<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(DEEP_STACK);
    builder.thread_name(|_| THREAD_NAME.into()).build().ok()
}

/// Given back when dropped.
struct Taken<'w>(&'w AtomicBool);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

/// Maps items by work that mostly waits for the disk, so that each is worth a thread.
pub(crate) fn map_waiting<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = threads.min(items.len());
    map_on(items, threads, work, |run| run_on_new_threads(threads, run))
}

/// `have_run` calls what it is given on at most so many threads, and returns when all of them are through.
fn map_on<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
    have_run: impl FnOnce(&(dyn Fn() + Sync)),
) -> Vec<R> {
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let all_done = Mutex::new(Vec::with_capacity(items.len()));
    let span = tracing::Span::current();
    have_run(&|| {
        let _entered = span.enter();
        let mut done = Vec::with_capacity(items.len() / threads + 1);
        loop {
            let index = next.fetch_add(1, Relaxed);
            let Some(item) = items.get(index) else { break };
            done.push((index, work(item)));
        }
        all_done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut done);
    });
    let mut done = all_done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The calling thread is one of them, and the only one if no other can be started.
fn run_on_new_threads(threads: usize, run: &(dyn Fn() + Sync)) {
    thread::scope(|scope| {
        let spawn = || {
            let builder = thread::Builder::new().name(THREAD_NAME.into()).stack_size(DEEP_STACK);
            builder.spawn_scoped(scope, || with_deep_stack(run)).ok()
        };
        // Not joined: that a thread has ended takes longer than that its work is done, for which the scope waits.
        (1..threads).map_while(|_| spawn()).for_each(drop);
        run();
    });
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

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, panic::catch_unwind, sync::Barrier, thread::ThreadId};

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in 0..4 {
            let workers = Workers::new(threads);
            for count in [0, 1, 7, 8, 1000] {
                assert_eq!(workers.map(&items[..count], |item| item + 1), (1..=count).collect::<Vec<_>>());
            }
        }
    }

    /// Maps so that both threads are needed for the first two items.
    fn both_threads(workers: &Workers, meanwhile: impl FnOnce()) -> HashSet<ThreadId> {
        let (begun, finish) = (Barrier::new(3), Barrier::new(3));
        let items: Vec<usize> = (0..8).collect();
        thread::scope(|scope| {
            let mapped = scope.spawn(|| {
                workers.map(&items, |item| {
                    if *item < 2 {
                        begun.wait();
                        finish.wait();
                    }
                    thread::current().id()
                })
            });
            begun.wait();
            meanwhile();
            finish.wait();
            mapped.join().unwrap().into_iter().collect()
        })
    }

    #[test]
    fn the_threads_stay_the_same_and_who_finds_them_at_work_does_not_wait_for_them() {
        let workers = Workers::new(2);
        let threads = || -> HashSet<_> { workers.map(&[(); 8], |()| thread::current().id()).into_iter().collect() };
        let mut while_at_work = HashSet::new();
        let known = both_threads(&workers, || while_at_work = threads());
        assert_eq!(known.len(), 2);
        assert!(while_at_work.is_disjoint(&known));
        assert!((0..10).all(|_| threads().is_subset(&known)));
        assert_eq!(both_threads(&workers, || ()), known);
    }

    #[test]
    fn a_thread_of_another_pool_does_nothing_else_while_it_waits() {
        let workers = Workers::new(2);
        let is_waiting = AtomicBool::new(false);
        let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|_| {
                    assert!(!is_waiting.swap(true, Acquire), "one began while the other waited");
                    workers.map(&[(); 8], |()| thread::sleep(std::time::Duration::from_millis(1)));
                    is_waiting.store(false, Release);
                });
            }
        });
    }

    #[cfg(feature = "server")]
    #[test]
    fn the_span_of_the_caller_is_that_of_all_items() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let span = tracing::info_span!("request");
            let of_items = span.in_scope(|| {
                let dispatch = tracing::dispatcher::get_default(Clone::clone);
                Workers::new(2)
                    .map(&[(); 8], |()| tracing::dispatcher::with_default(&dispatch, || tracing::Span::current().id()))
            });
            assert!(of_items.iter().all(|id| *id == span.id() && id.is_some()), "{of_items:?}");
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_ends_nothing_else() {
        let workers = Workers::new(2);
        let items: Vec<usize> = (0..100).collect();
        let panics = || workers.map(&items, |item| assert_ne!(*item, 50));
        assert!(catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(workers.map(&items, |item| *item), items);
        assert!(workers.take().is_some());
    }
}
