//! Requests of random changes, carried out for real and by a naive model that keeps all files in a map.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use super::{
    Atomicity, CacheLimits, Change, CreateFileData, CreateOptions, Durability, EditRequest, Engine, EngineConfig,
    FileStatus, Guard, HashCache, LockingPolicy, NoEditor, Observer, TextChange, TextRange, UndoLimits,
    WriteSnippetData,
};
use crate::{CancelToken, disk::OsDisk, hash::ContentHash, roots::SymlinkPolicy};

type Tree = BTreeMap<String, String>;

/// A change of files that are named by one letter.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Replaces the bytes from `start` to `end`.
    Edit {
        at: &'static str,
        start: usize,
        end: usize,
        text: String,
    },
    Create {
        at: &'static str,
        text: String,
        overwrite: bool,
        ignore_if_exists: bool,
    },
    Rename {
        from: &'static str,
        to: &'static str,
        overwrite: bool,
        ignore_if_exists: bool,
    },
    Delete {
        at: &'static str,
        ignore_if_not_exists: bool,
    },
}

impl Op {
    /// Carries the change out as the contract says; `false` if it is refused.
    fn on(&self, tree: &mut Tree) -> bool {
        match self {
            Self::Edit { at, start, end, text } => match tree.get_mut(*at) {
                Some(content) if start <= end && *end <= content.len() => content.replace_range(*start..*end, text),
                _ => return false,
            },
            Self::Create { at, text, overwrite, ignore_if_exists } => {
                let exists = tree.contains_key(*at);
                if exists && !overwrite {
                    return *ignore_if_exists;
                }
                tree.insert((*at).into(), text.clone());
            }
            Self::Rename { from, to, overwrite, ignore_if_exists } => {
                if !tree.contains_key(*from) {
                    return false;
                }
                if from != to {
                    if tree.contains_key(*to) && !overwrite {
                        return *ignore_if_exists;
                    }
                    let content = tree.remove(*from).unwrap_or_default();
                    tree.insert((*to).into(), content);
                }
            }
            Self::Delete { at, ignore_if_not_exists } => {
                if tree.remove(*at).is_none() {
                    return *ignore_if_not_exists;
                }
            }
        }
        true
    }

    fn change(&self, root: &Path) -> Change {
        match self.clone() {
            Self::Edit { at, start, end, text: new_text } => {
                let range = Some(TextRange::Bytes { start: start as u64, end: end as u64 });
                let edits = vec![TextChange { range, new_text, expected_text: None }];
                Change::Edit(WriteSnippetData { path: root.join(at), edits, ..WriteSnippetData::default() })
            }
            Self::Create { at, text, overwrite, ignore_if_exists } => Change::Create(CreateFileData {
                path: root.join(at),
                text,
                options: CreateOptions { overwrite, ignore_if_exists, create_parents: false },
                expected: Guard::default(),
            }),
            Self::Rename { from, to, overwrite, ignore_if_exists } => Change::Rename {
                old_path: root.join(from),
                new_path: root.join(to),
                overwrite,
                ignore_if_exists,
                expected: Guard::default(),
                expected_overwritten: Guard::default(),
            },
            Self::Delete { at, ignore_if_not_exists } => Change::Delete {
                path: root.join(at),
                ignore_if_not_exists,
                recursive: false,
                expected: Guard::default(),
            },
        }
    }
}

/// Any bytes as changes, four of them for each.
#[cfg(fuzzing)]
pub(crate) fn ops_of(bytes: &[u8]) -> Vec<Op> {
    let name = |byte: u8| ["a", "b", "c", "d"][usize::from(byte) % 4];
    let text = |byte: u8| "xyz".repeat(usize::from(byte) % 3);
    let op = |op: &[u8]| match op[0] % 4 {
        0 => {
            let (start, end) = (usize::from(op[2] % 8), usize::from(op[2] / 8 % 8));
            Op::Edit { at: name(op[1]), start, end, text: text(op[3]) }
        }
        1 => Op::Create {
            at: name(op[1]),
            text: text(op[3]),
            overwrite: op[2] & 1 != 0,
            ignore_if_exists: op[2] & 2 != 0,
        },
        2 => Op::Rename {
            from: name(op[1]),
            to: name(op[3]),
            overwrite: op[2] & 1 != 0,
            ignore_if_exists: op[2] & 2 != 0,
        },
        _ => Op::Delete { at: name(op[1]), ignore_if_not_exists: op[2] & 1 != 0 },
    };
    bytes.chunks_exact(4).take(32).map(op).collect()
}

struct NobodyWatches;

impl Observer for NobodyWatches {
    fn root_replaced(&self, _: &Path) {}
    fn will_write(&self, _: &Path, _: Option<ContentHash>, _: uuid::Uuid) {}
    fn did_write(&self, _: &Path, _: Option<ContentHash>) {}
    fn did_not_write(&self, _: &Path, _: Option<ContentHash>) {}
}

fn engine(root: &Path, state_dir: &Path) -> Engine {
    let engine = Engine::new(EngineConfig {
        symlink_policy: SymlinkPolicy::default(),
        permits: 4,
        open_dirs: 4,
        max_commit_dirs: 100,
        max_file_bytes: 1 << 20,
        cache: Arc::new(HashCache::new(CacheLimits::default())),
        locking: LockingPolicy::None,
        state_dir: Some(state_dir.to_path_buf()),
        undo: UndoLimits::default(),
        disk: Arc::new(OsDisk),
        observer: Arc::new(NobodyWatches),
    });
    engine.add_root(root).unwrap();
    engine
}

fn tree(root: &Path) -> Tree {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}

/// Carries changes out in both ways and compares what comes of it, also of an undo.
pub(crate) fn check(ops: &[Op]) {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before: Tree = [("a", "A"), ("b", "B")].map(|(name, text)| (name.into(), text.into())).into();
    for (name, text) in &before {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mut expected = before.clone();
    let failing = ops.iter().position(|op| !op.on(&mut expected));
    let engine = engine(dir.path(), state.path());
    let request = EditRequest {
        changes: ops.iter().map(|op| op.change(dir.path())).collect(),
        unguarded: true,
        durability: Durability::BestEffort,
        atomicity: Atomicity::Transaction,
        origin: uuid::Uuid::new_v4(),
        ..EditRequest::default()
    };
    let outcome = engine.apply(&request, &NoEditor, &CancelToken::new());
    assert_eq!(outcome.failed_change, failing, "{:?}", outcome);
    assert_eq!(outcome.applied, failing.is_none(), "{:?}", outcome);
    let expected = if failing.is_some() { before.clone() } else { expected };
    assert_eq!(&tree(dir.path()), &expected, "{:?}", outcome);
    assert_eq!(outcome.file_of_change.len(), ops.len());
    let told: Vec<_> = outcome.files.iter().map(|file| &file.path).collect();
    assert_eq!(told.iter().collect::<std::collections::BTreeSet<_>>().len(), told.len(), "{:?}", told);
    // What is told, carried out on the old files, gives the new ones.
    let mut as_told = before.clone();
    let name_of = |path: &Path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
    let applied = || outcome.files.iter().filter(|file| file.status == FileStatus::Applied);
    for old in applied().filter_map(|file| file.old_path.as_deref()) {
        as_told.remove(&name_of(old));
    }
    for file in applied().filter(|file| file.new_content_hash.is_none()) {
        as_told.remove(&name_of(&file.path));
    }
    for file in applied().filter(|file| file.new_content_hash.is_some()) {
        let name = name_of(&file.path);
        as_told.insert(name.clone(), expected.get(&name).cloned().unwrap_or_default());
    }
    assert_eq!(&as_told, &expected, "{:?}", outcome);
    for file in &outcome.files {
        let name = file.path.strip_prefix(dir.path()).unwrap().to_str().unwrap();
        if file.status == FileStatus::Applied {
            let hash = |tree: &Tree, name: &str| tree.get(name).map(|text| ContentHash::of(text.as_bytes()));
            assert_eq!(file.new_content_hash, hash(&expected, name), "{:?}", file);
            let old =
                file.old_path.as_ref().map_or(name, |old| old.strip_prefix(dir.path()).unwrap().to_str().unwrap());
            if file.old_content_hash.is_some() {
                assert_eq!(file.old_content_hash, hash(&before, old), "{:?}", file);
            }
        }
    }
    let undone =
        engine.undo(request.origin, uuid::Uuid::new_v4(), Durability::BestEffort, &NoEditor, &CancelToken::new());
    if let Some(undone) = undone.unwrap() {
        assert!(undone.applied, "{:?}", undone);
        assert_eq!(tree(dir.path()), before);
    } else {
        assert_eq!(tree(dir.path()), before, "nothing was kept, so nothing has changed");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
        let text = || "[xyz]{0,2}";
        let op = prop_oneof![
            (name(), 0..3_usize, 0..3_usize, text()).prop_map(|(at, start, end, text)| Op::Edit {
                at,
                start,
                end,
                text
            }),
            (name(), text(), any::<bool>(), any::<bool>()).prop_map(|(at, text, overwrite, ignore_if_exists)| {
                Op::Create { at, text, overwrite, ignore_if_exists }
            }),
            (name(), name(), any::<bool>(), any::<bool>()).prop_map(|(from, to, overwrite, ignore_if_exists)| {
                Op::Rename { from, to, overwrite, ignore_if_exists }
            }),
            (name(), any::<bool>()).prop_map(|(at, ignore_if_not_exists)| Op::Delete { at, ignore_if_not_exists }),
        ];
        prop::collection::vec(op, 1..7)
    }

    #[test]
    fn a_file_comes_to_a_place_that_another_has_left_also_if_its_own_was_named_first() {
        let rename = |from, to| Op::Rename { from, to, overwrite: false, ignore_if_exists: true };
        check(&[rename("a", "a"), rename("b", "d"), rename("a", "b")]);
        check(&[rename("a", "b"), rename("b", "d"), rename("a", "b")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_request_does_what_its_changes_do_one_after_the_other_or_nothing_and_an_undo_takes_it_back(ops in ops()) {
            check(&ops);
        }
    }
}
