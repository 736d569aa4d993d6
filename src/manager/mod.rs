//! The async face of the engine.

pub mod status;

use crate::{
    CancelToken,
    engine::{ChangedFileData, EditOutcome, EditRequest, EmbeddingData, FileData, Snippet},
    error::IoError,
};

#[derive(Clone)]
pub struct IoManagerHandle {}

// The blocking calls, for callers that are on a blocking thread already (the server's handlers are).
impl IoManagerHandle {
    pub(crate) fn status(&self) -> status::ManagerStatus {
        unimplemented!()
    }
    pub(crate) fn snippets(&self, _: &[EmbeddingData], _: &CancelToken) -> Vec<Result<Snippet, IoError>> {
        unimplemented!()
    }
    pub(crate) fn scan(&self, _: &[FileData], _: &CancelToken) -> Vec<Result<ChangedFileData, IoError>> {
        unimplemented!()
    }
    pub(crate) fn apply(&self, _: EditRequest, _: &CancelToken) -> EditOutcome {
        unimplemented!()
    }
}
