//! `ploke/undo`.

use uuid::Uuid;

use super::{
    apply_edits::{answer, changes, was_cancelled},
    edit_request::MentionedFiles,
    method::{Call, Method, Reply, RpcError},
};
use crate::{
    error::{IoError, IoErrorKind},
    protocol::{
        undo,
        undo::{UndoParams, UndoResult},
    },
};

pub(crate) struct Undo;

impl Method for Undo {
    const NAME: &'static str = undo::METHOD;
    type Params = UndoParams;
    type Result = UndoResult;

    fn run(call: &Call, UndoParams { origin: undone }: UndoParams) -> Result<Reply<UndoResult>, RpcError> {
        let (session, origin) = (&call.session, Uuid::new_v4());
        let outcome = session
            .manager
            .undo_with(undone, origin, session.durability, &session.editor, &call.cancel)?
            .ok_or_else(|| IoError::new("", IoErrorKind::NothingToUndo))?;
        if was_cancelled(&outcome) {
            return Err(RpcError::cancelled());
        }
        let changes = changes(&outcome, origin, &call.id);
        let result = answer(outcome, &MentionedFiles::default(), origin, false);
        Ok(Reply { result: UndoResult { undone, result }, changes })
    }
}
