//! placeholder
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InitializationOptions {
    pub roots: Option<Vec<String>>,
    pub symlink_policy: Option<SymlinkPolicy>,
    pub namespace: Option<Uuid>,
    pub watch: Option<WatchOptions>,
    pub limits: Option<LimitOptions>,
    pub cache: Option<CacheOptions>,
    pub durability: Option<Durability>,
    pub locking: Option<Locking>,
    pub log: Option<LogOptions>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SymlinkPolicy {
    DenyCrossRoot,
    Follow,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    Full,
    BestEffort,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Locking {
    Advisory,
    None,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WatchOptions {
    pub enabled: Option<bool>,
    pub debounce_ms: Option<u64>,
    pub backend: Option<WatchBackend>,
    pub poll_interval_ms: Option<u64>,
    pub capacity: Option<usize>,
    pub ignore: Option<Vec<String>>,
    pub gitignore: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WatchBackend {
    Native,
    Poll,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitOptions {
    pub max_file_bytes: Option<u64>,
    pub max_message_bytes: Option<u64>,
    pub permits: Option<usize>,
    pub fd_limit: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CacheOptions {
    pub bytes: Option<u64>,
    pub entries: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LogOptions {
    pub dir: Option<PathBuf>,
    pub level: Option<LogLevel>,
    pub rotation: Option<LogRotation>,
    pub keep: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogRotation {
    Daily,
    Hourly,
    Never,
}
