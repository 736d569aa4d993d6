//! What becomes of a transaction when one of its steps fails.

use super::{Work, prepare::Ready, swap::Put};
use crate::{
    engine::{Engine, FileStatus, plan::PlannedFile, state::OpenRecord},
    error::{IoError, IoErrorKind},
};

impl Engine {
    /// Takes back what was put in place before a step failed. If that is impossible, the steps so far stay, and the
    /// record too, so that the next start finishes the transaction.
    pub(super) fn fail(
        &self,
        files: &mut [PlannedFile],
        work: &[Work],
        (ready, put): (&mut [Ready], Vec<Put>),
        error: IoError,
        record: Option<OpenRecord>,
        sync: bool,
    ) {
        let failed = &work[put.len()];
        let torn = matches!(error.kind, IoErrorKind::Unfinished { recorded: true, .. });
        let mut staying = put.len();
        let mut not_taken_back = None;
        let mut kept = Vec::new();
        while staying > 0 && !torn && not_taken_back.is_none() {
            let (step, ready, how) = (&work[staying - 1].step, &mut ready[staying - 1], put[staying - 1]);
            match self.take_back_step(step, ready, how) {
                Ok(name) => {
                    staying -= 1;
                    kept.extend(name);
                }
                Err(error) => not_taken_back = Some(error.to_string()),
            }
        }
        let error = name_kept(error, kept);
        if !torn && not_taken_back.is_none() {
            if sync {
                // A power cut must not bring back a part of what was taken back; more than trying is not possible. The
                // failed step may have been taken back too.
                let dirs: Vec<_> =
                    ready[..=put.len()].iter().map(|ready| (ready.dirs().to_vec(), Vec::new())).collect();
                for (_, error) in self.sync_dirs(&dirs) {
                    tracing::error!(%error, "after a power cut, a part of what was taken back may be there again");
                }
            }
            let error = match record.map(|record| record.finish()) {
                Some(Err(not_removed)) => IoError {
                    kind: IoErrorKind::Unfinished {
                        cause: error.kind.to_string(),
                        not_taken_back: format!("its record: {not_removed}"),
                        recorded: true,
                    },
                    ..error
                },
                Some(Ok(())) | None => error,
            };
            files[failed.file].fail(error);
            return;
        }
        let recorded = record.is_some();
        drop(record);
        for (index, Work { file, .. }) in work.iter().enumerate() {
            let whole = index < staying && work[staying..].iter().all(|later| later.file != *file);
            files[*file].outcome.status = if whole { FileStatus::Applied } else { FileStatus::NotApplied };
        }
        let kind = match (not_taken_back, error.kind) {
            (Some(not_taken_back), kind) => {
                IoErrorKind::Unfinished { cause: kind.to_string(), not_taken_back, recorded }
            }
            (None, IoErrorKind::Unfinished { cause, not_taken_back, .. }) => {
                IoErrorKind::Unfinished { cause, not_taken_back, recorded }
            }
            (None, kind) => kind,
        };
        let error = IoError::new(failed.step.path.relative(), kind);
        tracing::error!(%error, "a transaction is left unfinished");
        files[failed.file].fail(error);
    }
}

/// Names in the error what had to be kept beside the files.
fn name_kept(error: IoError, mut kept: Vec<String>) -> IoError {
    if kept.is_empty() {
        return error;
    }
    let cause = match error.kind {
        IoErrorKind::KeptBeside { cause, kept: of_failed } => {
            kept.push(of_failed);
            cause
        }
        kind => kind.to_string(),
    };
    IoError { kind: IoErrorKind::KeptBeside { cause, kept: kept.join(", ") }, ..error }
}
