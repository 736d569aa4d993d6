//! Cancelling a request: either it is stopped before its commit point, or it finishes; never in between.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::SeqCst},
};

const RUNNING: u8 = 0;
const CANCELLED: u8 = 1;
const COMMITTED: u8 = 2;

/// Shared between the one who may cancel and the one who works.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the work unless it has passed its commit point; `true` if it is cancelled now.
    pub fn cancel(&self) -> bool {
        match self.0.compare_exchange(RUNNING, CANCELLED, SeqCst, SeqCst) {
            Ok(_) => true,
            Err(state) => state == CANCELLED,
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(SeqCst) == CANCELLED
    }

    /// Passes the commit point; `false` if the work was cancelled and must not touch anything.
    pub(crate) fn begin_commit(&self) -> bool {
        self.0.compare_exchange(RUNNING, COMMITTED, SeqCst, SeqCst) != Err(CANCELLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_and_commit_exclude_each_other() {
        let token = CancelToken::new();
        assert!(token.begin_commit());
        assert!(!token.cancel());
        assert!(!token.is_cancelled());

        let token = CancelToken::new();
        assert!(token.cancel());
        assert!(!token.begin_commit());
    }
}
