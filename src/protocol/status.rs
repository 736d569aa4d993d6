//! `ploke/status`: how the server is doing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FileUri;

pub const METHOD: &str = "ploke/status";

/// Nothing is asked.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusParams {}

/// Numbers of the server since it started.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusResult {
    /// Of the server.
    pub version: &'static str,
    /// Since `initialize`.
    pub uptime_ms: u64,
    /// As they were given.
    pub roots: Vec<FileUri>,
    /// By method.
    pub requests: BTreeMap<String, MethodStats>,
    pub watch: WatchStatus,
    pub cache: CacheStatus,
    /// Locks on files that are held or waited for.
    pub locks: u64,
    pub writes: WriteStatus,
}

/// The requests of one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MethodStats {
    /// All that were answered.
    pub count: u64,
    /// Refused requests count too.
    pub errors: u64,
    /// Median duration in microseconds.
    pub p50_us: u64,
    /// Duration in microseconds that 99 of 100 requests stay below.
    pub p99_us: u64,
}

/// How changes of files are noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchStatus {
    /// Null when watching is off.
    pub backend: Option<WatchBackend>,
    pub state: WatchState,
    /// Directories that are watched.
    pub watches: u64,
    /// How many watches the system allows; null where it does not say.
    pub limit: Option<u64>,
    /// Paths whose change is not reported yet.
    pub pending: u64,
    /// How often the system's or the server's queue ran over.
    pub overflows: u64,
    /// Events that found the queue full; what they told of was found by comparing.
    pub dropped: u64,
    /// What is not watched although it should be, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WatchBackend {
    /// The operating system reports them.
    Native,
    /// The server looks again and again.
    Poll,
}

/// Whether changes from outside are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WatchState {
    /// Some roots are still being walked.
    Starting,
    Watching,
    Polling,
    /// Changes from outside are not told.
    Off,
}

/// The cache of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CacheStatus {
    /// Files it knows.
    pub entries: u64,
    /// Memory it takes, about.
    pub bytes: u64,
    /// Files that needed not be read.
    pub hits: u64,
    /// Files that it did not know, or not any more.
    pub misses: u64,
}

/// The writes that were carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WriteStatus {
    /// Files written.
    pub applied: u64,
    /// Bytes written.
    pub bytes: u64,
    pub recovered: RecoveryStatus,
}

/// What was done about transactions that a crash had left unfinished; `window/logMessage` named the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// Transactions that were completed.
    pub finished: u64,
    /// Files that somebody else had changed meanwhile; they were not touched.
    pub left_alone: u64,
    /// Records that could not be read; they were moved aside.
    pub set_aside: u64,
}
