//! placeholder
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::{FileChangeEvent, FileEventKind};

pub mod file_changed {
    pub const METHOD: &str = "ploke/fileChanged";
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileChangedParams {
    pub seq: u64,
    pub changes: Vec<FileChange>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rescan: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    pub uri: String,
    pub kind: &'static str,
    pub request_id: Option<i64>,
    pub origin: Option<Uuid>,
}

impl From<FileChangeEvent> for FileChange {
    fn from(event: FileChangeEvent) -> Self {
        let kind = if event.kind == FileEventKind::Created { "created" } else { "modified" };
        Self { uri: format!("file://{}", event.path.display()), kind, request_id: None, origin: event.origin }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InitializationOptions {
    pub limits: Option<LimitOptions>,
    pub log: Option<LogOptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitOptions {
    pub max_message_bytes: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogOptions {}
