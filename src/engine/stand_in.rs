//! The face of recovery and undo, without what is behind it.

use std::path::PathBuf;

use uuid::Uuid;

use super::{Durability, EditOutcome, Engine};
use crate::CancelToken;

/// How much is kept to take transactions back; zero of either turns it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoLimits {
    /// Bytes of all copies together; the oldest go first.
    pub keep_bytes: u64,
    /// Age at which copies go.
    pub keep_days: u64,
}

impl Default for UndoLimits {
    fn default() -> Self {
        Self { keep_bytes: 256 << 20, keep_days: 7 }
    }
}

/// What was done about transactions that others left unfinished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Transactions that were completed, with their files.
    pub finished: Vec<(Uuid, Vec<PathBuf>)>,
    /// Files that are neither what they were before their transaction nor what it would have made of them, and why.
    pub left_alone: Vec<(Uuid, PathBuf, String)>,
    /// Records that could not be read and were moved to these places, and why.
    pub set_aside: Vec<(PathBuf, String)>,
    /// What kept recovery from looking.
    pub problems: Vec<String>,
}

impl Engine {
    /// What recovery has done so far.
    pub fn recovered(&self) -> RecoveryReport {
        RecoveryReport::default()
    }

    /// Takes back the transaction `origin` as a transaction of its own; `None` if it is unknown or no longer kept.
    pub fn undo(&self, _origin: Uuid, _new_origin: Uuid, _: Durability, _: &CancelToken) -> Option<EditOutcome> {
        None
    }
}
