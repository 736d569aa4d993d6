//! What a plan has to read of the files it is about.

use std::iter;

use super::targets::Step;
use crate::engine::Change;

/// Whether a change needs to know what stands at one of its places.
pub(super) fn needs_content(step: &Step, target: usize) -> Need {
    match step.change {
        Change::Edit(_) => Need::Text,
        Change::Create(create) if create.options.overwrite || create.options.ignore_if_exists => Need::Text,
        Change::Create(_) => Need::Nothing,
        Change::Rename { overwrite, .. } if step.to == Some(target) && step.at != target => {
            if *overwrite {
                Need::Hash
            } else {
                Need::Nothing
            }
        }
        Change::Rename { .. } | Change::Delete { .. } => Need::Hash,
    }
}

/// Whether the changes of a group can be made without the bytes of any file.
pub(super) fn only_needs_hashes(steps: &[Step]) -> bool {
    let [step] = steps else { return false };
    matches!(step.change, Change::Rename { .. } | Change::Delete { .. })
        && step.change.expected().all(|guard| guard.tracking_hash.is_none())
}

/// The targets of a group whose files are not what they were afterwards, in order; as far as can be told beforehand.
pub(super) fn replaced_targets(steps: &[Step]) -> Vec<usize> {
    let mut targets: Vec<usize> = match steps {
        [Step { change: Change::Rename { .. }, to, .. }] => to.iter().copied().collect(),
        _ => steps.iter().flat_map(|step| iter::once(step.at).chain(step.to)).collect(),
    };
    targets.sort_unstable();
    targets.dedup();
    targets
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Nothing,
    Hash,
    Text,
}
