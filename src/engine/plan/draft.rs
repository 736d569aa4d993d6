//! The files of one group of changes as they will be after the changes so far.

use std::{iter, ops::Range, sync::Arc};

use super::{
    buffer::Buffer,
    targets::{Step, Target},
};
use crate::{
    disk::Metadata,
    engine::{
        Change, CreateFileData, Guard, TextChange, WriteSnippetData, file::FileContent, range::RangeFinder,
        verified_text::VerifiedText,
    },
    error::{ActualHashes, GuardKind, IoError, IoErrorKind},
    roots::RootedPath,
    splice::{Splice, SpliceError},
};

/// A file that was there before the request.
pub(in crate::engine) struct Before {
    pub content: Arc<FileContent>,
    /// The bytes were read; a file that is only moved or deleted may be too large for that.
    pub whole: bool,
    /// What is here is not the file but a document.
    pub buffer: Option<Buffer>,
}

/// What a place holds.
#[derive(Debug, Clone)]
pub(in crate::engine) enum Now {
    Nothing,
    /// The file that was there before, or that was moved there from this other place.
    Original(usize),
    Text {
        text: String,
        /// Whose place it has taken, or what it was made of: the owner, mode and attributes it gets.
        like: Option<usize>,
    },
    /// What was there before a transaction that is undone.
    Bytes {
        bytes: Vec<u8>,
        /// Unless it is that of the file that is there.
        metadata: Option<Metadata>,
    },
}

/// A place that the changes speak of.
pub(in crate::engine) struct Slot<'a> {
    /// Index among the targets of the request.
    pub target: usize,
    pub path: &'a RootedPath,
    pub before: Option<Before>,
    pub now: Now,
    pub create_parents: bool,
    /// The file that is there, or was there last, as an index into the files of the draft.
    pub file: usize,
}

/// A file, followed through its renames.
pub(super) struct File {
    /// The slots where it was first and is now; the latter is `None` if it is deleted.
    pub home: usize,
    pub at: Option<usize>,
    /// The slot where it is, or was last.
    pub last: usize,
    pub ranges: Vec<(Range<usize>, Range<usize>)>,
    /// The guard that a tracking hash was given in, for callers that track the file.
    pub tracked: Option<Guard>,
}

pub(super) struct Draft<'a> {
    pub slots: Vec<Slot<'a>>,
    /// First, by the number of its slot, one for each place; then those that come to places others have left.
    pub files: Vec<File>,
    max_file_bytes: u64,
    unguarded: bool,
    /// Some change of the group has a byte-exact guard for a whole file.
    has_guards: bool,
    /// Slots whose original a guard has tied to its bytes.
    guarded: Vec<usize>,
    /// Changes that need such a guard and have none of their own; another one of the group may give it.
    in_need: Vec<(usize, usize)>,
}

impl<'a> Draft<'a> {
    /// The places as they are, each with a file of its own.
    pub fn new(
        places: Vec<(usize, &'a RootedPath, Option<Before>)>,
        targets: &[Target],
        steps: &[Step],
        max_file_bytes: u64,
        unguarded: bool,
    ) -> Self {
        let slot = |(index, (target, path, before)): (usize, (usize, &'a RootedPath, Option<Before>))| Slot {
            target,
            path,
            now: if path.stat().is_some() || before.is_some() { Now::Original(index) } else { Now::Nothing },
            before,
            create_parents: targets[target].parents_made,
            file: index,
        };
        let slots: Vec<_> = places.into_iter().enumerate().map(slot).collect();
        let there = |slot: &Slot| matches!(slot.now, Now::Original(_));
        let file = |(home, slot)| File {
            home,
            at: there(slot).then_some(home),
            last: home,
            ranges: Vec::new(),
            tracked: None,
        };
        let files = slots.iter().enumerate().map(file).collect();
        let has_guards = steps.iter().any(|step| step.change.expected().any(|guard| guard.content_hash.is_some()));
        Self { slots, files, max_file_bytes, unguarded, has_guards, guarded: Vec::new(), in_need: Vec::new() }
    }

    /// Carries out one change on the result of those before it.
    pub fn apply(&mut self, step: &Step, at: usize, to: Option<usize>) -> Result<(), IoErrorKind> {
        match (step.change, to) {
            (Change::Edit(edits), _) => self.edit(step.index, at, edits),
            (Change::Create(create), _) => self.create(step.index, at, create),
            (Change::Delete { ignore_if_not_exists, recursive, expected, .. }, _) => {
                if *recursive {
                    return Err(IoErrorKind::NotSupported("deleting a directory with what is in it"));
                }
                self.delete(step.index, at, *ignore_if_not_exists, expected)
            }
            (Change::Rename { overwrite, ignore_if_exists, expected, expected_overwritten, .. }, Some(to)) => {
                let guards = (expected, expected_overwritten);
                self.rename(step.index, (at, to), (*overwrite, *ignore_if_exists), guards)
            }
            (Change::Rename { .. }, None) => Err(IoErrorKind::Internal("a rename that leads nowhere".into())),
        }
    }

    /// The first change that needed a byte-exact guard and got none.
    pub fn unguarded_change(&self) -> Option<usize> {
        let missing = self.in_need.iter().filter(|(_, original)| !self.guarded.contains(original));
        missing.map(|(change, _)| *change).min()
    }

    /// The other place where the file is in the end that was at this one before.
    pub fn gone_to(&self, slot: usize) -> Option<usize> {
        self.files[slot].at.filter(|at| *at != slot)
    }

    fn edit(&mut self, change: usize, at: usize, edits: &WriteSnippetData) -> Result<(), IoErrorKind> {
        let by_text = edits.edits.iter().all(TextChange::is_guarded);
        self.need_guard(change, self.slots[at].origin(), &edits.expected, by_text)?;
        let (text, ranges) = match &self.slots[at].now {
            Now::Nothing | Now::Bytes { .. } => return Err(IoErrorKind::NotFound),
            Now::Text { text, like } => {
                self.check(*like, &edits.expected)?;
                let before = like.and_then(|original| self.slots[original].before.as_ref());
                let is_document = before.is_some_and(|before| before.content.version.is_some());
                let mut finder = RangeFinder::new(text, is_document);
                splice(text, &edits.edits, |edit| finder.find(edit.range, edit.expected_text.as_deref()))?
            }
            Now::Original(original) => {
                let before = self.before(*original)?;
                before.refuse_guard_of_file(&edits.expected, by_text)?;
                let path = self.slots[*original].path;
                let mut verified = VerifiedText::new(path, &before.content).map_err(|error| error.kind)?;
                verified.check_guard(&edits.expected)?;
                splice(verified.text, &edits.edits, |edit| verified.find(edit.range, edit.expected_text.as_deref()))?
            }
        };
        let file = self.slots[at].file;
        self.files[file].ranges.extend(ranges);
        self.put(at, text, &edits.expected)
    }

    fn create(&mut self, change: usize, at: usize, create: &CreateFileData) -> Result<(), IoErrorKind> {
        let CreateFileData { options, expected, .. } = create;
        let exists = !matches!(self.slots[at].now, Now::Nothing);
        if exists && !options.overwrite && !options.ignore_if_exists {
            return Err(IoErrorKind::AlreadyExists);
        }
        let origin = self.slots[at].origin();
        if options.overwrite {
            self.need_guard(change, origin, expected, false)?;
        }
        self.check(origin, expected)?;
        if exists && !options.overwrite {
            return Ok(());
        }
        self.slots[at].create_parents |= options.create_parents;
        if self.files[self.slots[at].file].at != Some(at) {
            self.new_file(at);
        }
        self.put(at, create.text.clone(), expected)
    }

    fn delete(&mut self, change: usize, at: usize, may_miss: bool, expected: &Guard) -> Result<(), IoErrorKind> {
        if matches!(self.slots[at].now, Now::Nothing) {
            return if may_miss { Ok(()) } else { Err(IoErrorKind::NotFound) };
        }
        self.take_away(change, at, expected)
    }

    fn rename(
        &mut self,
        change: usize,
        (at, to): (usize, usize),
        (overwrite, ignore_if_exists): (bool, bool),
        (expected, expected_overwritten): (&Guard, &Guard),
    ) -> Result<(), IoErrorKind> {
        let origin = self.slots[at].origin();
        if matches!(self.slots[at].now, Now::Nothing) {
            return Err(IoErrorKind::NotFound);
        }
        self.need_guard(change, origin, expected, false)?;
        self.check(origin, expected)?;
        if at == to {
            return Ok(());
        }
        if !matches!(self.slots[to].now, Now::Nothing) {
            if !overwrite {
                return if ignore_if_exists { Ok(()) } else { Err(IoErrorKind::AlreadyExists) };
            }
            self.take_away(change, to, expected_overwritten)?;
        }
        self.slots[to].now = std::mem::replace(&mut self.slots[at].now, Now::Nothing);
        self.slots[to].file = self.slots[at].file;
        let file = &mut self.files[self.slots[to].file];
        file.at = Some(to);
        file.last = to;
        Ok(())
    }

    fn take_away(&mut self, change: usize, at: usize, expected: &Guard) -> Result<(), IoErrorKind> {
        let origin = self.slots[at].origin();
        self.need_guard(change, origin, expected, false)?;
        self.check(origin, expected)?;
        self.slots[at].now = Now::Nothing;
        let file = self.slots[at].file;
        self.files[file].at = None;
        Ok(())
    }

    /// Puts a text where there is another one, or nothing.
    fn put(&mut self, at: usize, text: String, expected: &Guard) -> Result<(), IoErrorKind> {
        let (bytes, limit) = (text.len() as u64, self.max_file_bytes);
        if bytes > limit {
            return Err(IoErrorKind::TooLarge { bytes, limit });
        }
        let like = self.slots[at].origin();
        self.slots[at].now = Now::Text { text, like };
        let file = &mut self.files[self.slots[at].file];
        file.at = Some(at);
        if expected.tracking_hash.is_some() {
            file.tracked = Some(*expected);
        }
        Ok(())
    }

    /// The file at this slot from now on is another one than that which was deleted or renamed away.
    fn new_file(&mut self, at: usize) {
        let old = &self.files[self.slots[at].file];
        // Deleted and made again at its place, it is the same file with another content.
        if old.home != at || old.at.is_some() {
            self.files.push(File { home: at, at: None, last: at, ranges: Vec::new(), tracked: None });
            self.slots[at].file = self.files.len() - 1;
        }
    }

    fn before(&self, original: usize) -> Result<&Before, IoErrorKind> {
        self.slots[original].before.as_ref().ok_or_else(|| IoErrorKind::Internal("a file that was not read".into()))
    }

    /// Demands a byte-exact guard of an original, here or in another change of the group; a text made by this request
    /// needs none, as nobody else has seen it.
    fn need_guard(
        &mut self,
        change: usize,
        original: Option<usize>,
        expected: &Guard,
        by_text: bool,
    ) -> Result<(), IoErrorKind> {
        let Some(original) = original else { return Ok(()) };
        if expected.content_hash.is_some() {
            self.guarded.push(original);
        } else if !by_text && !self.unguarded && expected.version.is_none() {
            if !self.has_guards {
                return Err(IoErrorKind::GuardRequired);
            }
            self.in_need.push((change, original));
        }
        Ok(())
    }

    /// Checks a guard against a file as it was before the request; only an empty one fits a file that was not there.
    fn check(&self, original: Option<usize>, expected: &Guard) -> Result<(), IoErrorKind> {
        let Some(original) = original else {
            let expects_nothing = *expected == Guard { namespace: expected.namespace, ..Guard::default() };
            return if expects_nothing { Ok(()) } else { Err(IoErrorKind::NotFound) };
        };
        let Before { content, whole, .. } = self.before(original)?;
        if expected.tracking_hash.is_some() {
            if !whole {
                return Err(IoErrorKind::TooLarge { bytes: content.stat.size, limit: self.max_file_bytes });
            }
            let path = self.slots[original].path;
            return VerifiedText::new(path, content).map_err(|error| error.kind)?.check_guard(expected);
        }
        // Needs no text: a file of any bytes can be overwritten.
        let actual = Some(ActualHashes { content: content.hash, tracking: None });
        match (expected.content_hash, expected.version) {
            (Some(hash), _) if hash != content.hash => {
                Err(IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual })
            }
            (_, Some(version)) if content.version != Some(version) => {
                Err(IoErrorKind::ContentMismatch { guard: GuardKind::Version, actual })
            }
            _ => Ok(()),
        }
    }
}

impl Slot<'_> {
    /// The slot of the file that what is here now was made of.
    pub fn origin(&self) -> Option<usize> {
        match self.now {
            Now::Nothing | Now::Bytes { .. } => None,
            Now::Original(original) => Some(original),
            Now::Text { like, .. } => like,
        }
    }
}

impl Change {
    /// What the change expects of files.
    pub(super) fn expected(&self) -> impl Iterator<Item = &Guard> {
        let (one, other) = match self {
            Self::Edit(edits) => (&edits.expected, None),
            Self::Create(create) => (&create.expected, None),
            Self::Delete { expected, .. } => (expected, None),
            Self::Rename { expected, expected_overwritten, .. } => (expected, Some(expected_overwritten)),
        };
        iter::once(one).chain(other)
    }
}

impl TextChange {
    /// Whether the expected text ties the edit to its place; an empty one stands everywhere but in an empty file.
    fn is_guarded(&self) -> bool {
        self.expected_text.as_ref().is_some_and(|text| !text.is_empty() || self.range.is_none())
    }
}

type SplicedText = (String, Vec<(Range<usize>, Range<usize>)>);

fn splice(
    text: &str,
    edits: &[TextChange],
    mut find: impl FnMut(&TextChange) -> Result<Range<usize>, IoErrorKind>,
) -> Result<SplicedText, IoErrorKind> {
    let located = edits.iter().map(|edit| Ok((find(edit)?, edit.new_text.clone())));
    let splice = Splice::new(text, located.collect::<Result<_, IoErrorKind>>()?).map_err(|error| match error {
        SpliceError::OutOfRange { file_bytes, .. } => IoErrorKind::OutOfRange { file_bytes },
        SpliceError::InvalidCharBoundary { nearest, .. } => IoErrorKind::InvalidCharBoundary { nearest },
        SpliceError::Overlapping { first, second } => IoErrorKind::OverlappingEdits { first, second },
    })?;
    Ok((splice.apply(), splice.ranges()))
}

/// An error in the file at a slot.
pub(super) fn in_file(path: &RootedPath) -> impl Fn(IoErrorKind) -> IoError {
    let relative = path.relative().to_path_buf();
    move |kind| IoError::new(&relative, kind)
}
