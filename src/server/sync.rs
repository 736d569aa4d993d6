//! `ploke/sync`.

use std::time::{Duration, Instant};

use super::method::{Call, Method, Reply, RpcError};
use crate::protocol::{
    sync,
    sync::{SyncParams, SyncResult},
};

pub(crate) struct Sync;

/// A first look at a large tree takes seconds; nobody should wait longer than this without knowing why.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

impl Method for Sync {
    const NAME: &'static str = sync::METHOD;
    type Params = SyncParams;
    type Result = SyncResult;

    fn run(call: &Call, SyncParams {}: SyncParams) -> Result<Reply<SyncResult>, RpcError> {
        let begin = Instant::now();
        let barrier = call.session.manager.sync(LIMIT)?;
        let left = LIMIT.saturating_sub(begin.elapsed());
        let seq = call.session.barrier.wait_for(barrier, left).ok_or_else(|| {
            let message = "the client has not read its notifications in time: read them, then try again";
            RpcError::from(crate::error::IoError::new(
                "",
                crate::error::IoErrorKind::NotSynced { message: message.into(), os: "ETIMEDOUT" },
            ))
        })?;
        Ok(SyncResult { seq }.into())
    }
}
