//! How many directories are kept open.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::disk::Dir;

/// How many directories all requests together may keep open.
#[derive(Debug)]
pub(crate) struct DirBudget {
    left: Arc<AtomicUsize>,
}

impl DirBudget {
    pub fn new(directories: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(directories)) }
    }

    pub fn take(&self) -> Option<BudgetPlace> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        taken.ok().map(|_| BudgetPlace { left: self.left.clone() })
    }
}

/// An open directory that several paths of a request share.
#[derive(Debug)]
pub(crate) struct HeldDir {
    pub dir: Arc<Dir>,
    pub _place: BudgetPlace,
}

#[derive(Debug)]
pub(crate) struct BudgetPlace {
    left: Arc<AtomicUsize>,
}

impl Drop for BudgetPlace {
    fn drop(&mut self) {
        self.left.fetch_add(1, Relaxed);
    }
}
