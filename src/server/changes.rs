//! `ploke/changes`.

use super::{
    method::{Call, Method, Reply, RpcError},
    sync::LIMIT,
};
use crate::{
    error::IoErrorKind,
    protocol::{
        changes,
        changes::{ChangesParams, ChangesResult},
    },
    watch::Clock,
};

pub(crate) struct Changes;

impl Method for Changes {
    const NAME: &'static str = changes::METHOD;
    type Params = ChangesParams;
    type Result = ChangesResult;

    fn run(call: &Call, ChangesParams { since }: ChangesParams) -> Result<Reply<ChangesResult>, RpcError> {
        // What is no clock of ours is unknown like one that has been forgotten.
        let since = since.map(|since| Clock::parse(&since).unwrap_or_default());
        let answer = call.session.manager.changes(since, LIMIT, &call.cancel).map_err(|error| match error.kind {
            IoErrorKind::Cancelled => RpcError::cancelled(),
            _ => error.into(),
        })?;
        Ok(ChangesResult {
            changes: answer.changes.into_iter().map(Into::into).collect(),
            clock: answer.clock.to_string(),
            fresh_instance: answer.fresh,
        }
        .into())
    }
}
