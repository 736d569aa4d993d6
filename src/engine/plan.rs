//! What a request would do: every guard checked, every new content made in memory, nothing written.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Change, CreateFileData, EditRequest, Engine, FileOutcome, FileStatus, Guard, Preview, TextChange, WriteSnippetData,
    cache::is_settled, file::FileContent, parallel, read::VerifiedText,
};
use crate::{
    disk::FileStat,
    error::{ActualHashes, GuardKind, IoError, IoErrorKind},
    hash::{ContentHash, TrackingHash},
    roots::{Place, Resolver, RootedPath},
    splice::{Splice, SpliceError},
};

/// The files of a request in the order of first mention.
pub(super) struct Targets<'r> {
    files: Vec<Target<'r>>,
    /// Index into `files` of each change.
    pub of_change: Vec<usize>,
    /// Where the files are, each once; what is locked.
    pub places: Vec<Place>,
}

/// A file a request speaks of, and the changes of it with their indices.
pub(super) struct Target<'r> {
    path: Result<RootedPath, IoError>,
    asked: &'r PathBuf,
    changes: Vec<(usize, &'r Change)>,
    /// An earlier change makes the directory the file is in.
    parents_made: bool,
}

/// What a request would make of one file.
pub(super) struct PlannedFile {
    pub path: Option<RootedPath>,
    /// The file that was read; `None` if it is not there or its content does not matter.
    pub original: Option<Original>,
    /// What is to be written; `None` if nothing is to be done.
    pub new: Option<NewContent>,
    pub create_parents: bool,
    /// Index of the change that is being planned, or that failed.
    pub change: usize,
    pub outcome: FileOutcome,
}

/// What is kept of the file that was read, to know it again.
pub(super) struct Original {
    pub stat: FileStat,
    pub hash: ContentHash,
    /// A later change must show in the stat data.
    pub settled: bool,
}

impl Original {
    fn of(read: &FileContent) -> Self {
        Self { stat: read.stat, hash: read.hash, settled: is_settled(&read.stat, read.began) }
    }
}

pub(super) struct NewContent {
    pub text: String,
    pub hash: ContentHash,
}

impl<'r> Targets<'r> {
    /// Resolves the paths of a request; two spellings of one file are one target.
    pub fn resolve(request: &'r EditRequest, resolver: &Resolver) -> Self {
        let mut by_place: HashMap<Result<Place, &PathBuf>, usize> = HashMap::new();
        let mut targets = Self { files: Vec::new(), of_change: Vec::new(), places: Vec::new() };
        let mut made: Vec<PathBuf> = Vec::new();
        for (index, change) in request.changes.iter().enumerate() {
            let asked = change.path();
            let found = resolver.resolve(asked).and_then(|path| {
                let place = path.place();
                Ok((place.map_err(|error| IoError::os(path.relative(), "look up the directory", error))?, path))
            });
            let (place, path) = match found {
                Ok((place, path)) => (Ok(place), Ok(path)),
                Err(error) => (Err(asked), Err(error)),
            };
            let parent = path.as_ref().ok().and_then(|path| path.absolute().parent().map(Path::to_path_buf));
            let parents_made = parent.as_ref().is_some_and(|parent| made.iter().any(|dir| dir.starts_with(parent)));
            if matches!(change, Change::Create(create) if create.options.create_parents) {
                made.extend(parent);
            }
            let file = *by_place.entry(place).or_insert_with_key(|place| {
                targets.places.extend(place.clone());
                targets.files.push(Target { path, asked, changes: Vec::new(), parents_made });
                targets.files.len() - 1
            });
            targets.files[file].changes.push((index, change));
            targets.of_change.push(file);
        }
        targets
    }
}

impl TextChange {
    /// Whether the expected text ties the edit to its place; an empty one stands everywhere but in an empty file.
    fn is_guarded(&self) -> bool {
        self.expected_text.as_ref().is_some_and(|text| !text.is_empty() || self.range.is_none())
    }
}

impl Change {
    fn path(&self) -> &PathBuf {
        match self {
            Self::Edit(edits) => &edits.path,
            Self::Create(create) => &create.path,
            Self::Delete { path, .. } => path,
            Self::Rename { old_path, .. } => old_path,
        }
    }

    fn expected(&self) -> &Guard {
        match self {
            Self::Edit(edits) => &edits.expected,
            Self::Create(create) => &create.expected,
            Self::Rename { expected, .. } | Self::Delete { expected, .. } => expected,
        }
    }
}

impl Engine {
    /// Plans all files; call it with their locks held.
    pub(super) fn plan(&self, request: &EditRequest, targets: &Targets) -> Vec<PlannedFile> {
        let mut files = parallel::map(&targets.files, self.threads, |target| self.plan_file(request, target));
        refuse_files_above_files(&mut files);
        files
    }

    fn plan_file(&self, request: &EditRequest, target: &Target) -> PlannedFile {
        let mut planned = PlannedFile {
            path: None,
            original: None,
            new: None,
            create_parents: target.parents_made,
            change: target.changes.first().map_or(0, |(index, _)| *index),
            outcome: FileOutcome::not_applied(target.asked.clone()),
        };
        let result = target.path.clone().and_then(|path| {
            planned.outcome.real_path = Some(path.absolute());
            let in_file = |kind| IoError::new(path.relative(), kind);
            let original = self.read_original(&path, target)?;
            planned.original = original.as_ref().map(Original::of);
            let mut draft = Draft::new(&path, original.as_ref(), target, request.unguarded);
            for (index, change) in &target.changes {
                planned.change = *index;
                draft.apply(change, self.max_file_bytes).map_err(in_file)?;
            }
            planned.create_parents |= draft.create_parents;
            planned.outcome.edits = draft.ranges;
            let old_hash = original.as_ref().map(|original| original.hash);
            planned.outcome.old_content_hash = old_hash;
            if let Some(text) = draft.text {
                let hash = ContentHash::of(text.as_bytes());
                planned.outcome.new_content_hash = Some(hash);
                planned.outcome.new_tracking_hash = new_tracking_hash(&path, target, &text);
                let old_bytes = original.as_ref().map_or(0, |original| original.bytes.len());
                planned.outcome.byte_delta = text.len() as i64 - old_bytes as i64;
                if old_hash == Some(hash) {
                    planned.outcome.status = FileStatus::Unchanged;
                } else {
                    planned.new = Some(NewContent { text, hash });
                }
            } else {
                planned.outcome.new_content_hash = old_hash;
                planned.outcome.status = FileStatus::Unchanged;
            }
            if planned.new.is_some() {
                self.check_writable(&path, planned.original.as_ref(), planned.create_parents)?;
                if request.dry_run {
                    planned.outcome.status = FileStatus::WouldApply;
                    planned.outcome.preview = planned.preview(&path, original.as_ref());
                }
            }
            planned.path = Some(path);
            Ok(())
        });
        if let Err(error) = result {
            planned.fail(error);
        }
        planned
    }

    /// Reads the file if its content matters to one of the changes.
    fn read_original(&self, path: &RootedPath, target: &Target) -> Result<Option<FileContent>, IoError> {
        let needed = |(_, change): &(usize, &Change)| match change {
            Change::Edit(_) => true,
            Change::Create(create) => create.options.overwrite || create.options.ignore_if_exists,
            Change::Rename { .. } | Change::Delete { .. } => false,
        };
        if path.stat().is_none() || !target.changes.iter().any(needed) {
            return Ok(None);
        }
        let _permit = self.permits.acquire();
        let (content, _) = self.read_file(path)?;
        if !content.rested {
            // Its stat data are newer than its bytes, so that they could not tell whether the file is still the same.
            let kind = IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual: None };
            return Err(IoError::new(path.relative(), kind));
        }
        Ok(Some(content))
    }

    /// Refuses, before anything is touched, what could not or must not be written.
    fn check_writable(
        &self,
        path: &RootedPath,
        original: Option<&Original>,
        create_parents: bool,
    ) -> Result<(), IoError> {
        let refuse = |kind| Err(IoError::new(path.relative(), kind));
        let dir = match path.dir() {
            Err(error) if create_parents && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(IoError::os(path.relative(), "open the parent directory", error)),
            Ok(dir) => dir,
        };
        #[cfg(unix)]
        dir.check_changeable().map_err(|error| IoError::os(path.relative(), "change the directory", error))?;
        let Some(original) = original else { return Ok(()) };
        if original.stat.is_read_only() {
            return refuse(IoErrorKind::ReadOnly);
        }
        if original.stat.links > 1 {
            return refuse(IoErrorKind::NotSupported("replacing one of several hard links of a file"));
        }
        dir.check_writable(path.name()).map_err(|error| IoError::os(path.relative(), "write", error))
    }
}

/// One path cannot become both a file and the directory of another file: the change that comes later is refused.
fn refuse_files_above_files(files: &mut [PlannedFile]) {
    let written = |file: &PlannedFile| Some(file.new.as_ref().and(file.path.as_ref())?.absolute());
    let mut paths: Vec<(PathBuf, usize)> =
        files.iter().enumerate().filter_map(|(index, file)| Some((written(file)?, index))).collect();
    // By components, so that what lies below a path follows it.
    paths.sort_unstable();
    for pair in paths.windows(2) {
        let [(above, file), (below, file_below)] = pair else { continue };
        if !below.starts_with(above) {
            continue;
        }
        let (refused, kind) = if files[*file].change > files[*file_below].change {
            (&mut files[*file], IoErrorKind::AlreadyExists)
        } else {
            (&mut files[*file_below], IoErrorKind::NotFound)
        };
        refused.fail(IoError::new(refused.relative(), kind));
    }
}

impl PlannedFile {
    pub fn has_failed(&self) -> bool {
        self.outcome.error.is_some()
    }

    /// Path for messages.
    pub fn relative(&self) -> PathBuf {
        self.path.as_ref().map_or_else(PathBuf::new, |path| path.relative().to_path_buf())
    }

    pub fn fail(&mut self, error: IoError) {
        self.mark_not_applied();
        self.outcome.status = FileStatus::Error;
        self.outcome.error = Some(error);
    }

    /// Takes back what would have come of a file that is left as it was.
    pub fn mark_not_applied(&mut self) {
        self.new = None;
        if matches!(self.outcome.status, FileStatus::Applied | FileStatus::Error) {
            return;
        }
        let old = std::mem::replace(&mut self.outcome, FileOutcome::not_applied(PathBuf::new()));
        self.outcome = FileOutcome {
            path: old.path,
            real_path: old.real_path,
            old_content_hash: old.old_content_hash,
            ..FileOutcome::not_applied(PathBuf::new())
        };
    }

    fn preview(&self, path: &RootedPath, original: Option<&FileContent>) -> Option<Preview> {
        let old = original.map(|original| String::from_utf8_lossy(&original.bytes).into_owned());
        let path = path.relative().to_path_buf();
        Some(Preview { path, old_path: None, old, new: Some(self.new.as_ref()?.text.clone()) })
    }
}

impl FileOutcome {
    fn not_applied(path: PathBuf) -> Self {
        Self {
            path,
            old_path: None,
            old_real_path: None,
            real_path: None,
            status: FileStatus::NotApplied,
            old_content_hash: None,
            new_content_hash: None,
            new_tracking_hash: None,
            byte_delta: 0,
            edits: Vec::new(),
            warnings: Vec::new(),
            error: None,
            preview: None,
        }
    }
}

/// The file as it will be after the changes so far.
struct Draft<'a> {
    path: &'a RootedPath,
    original: Option<&'a FileContent>,
    /// `None` as long as nothing has changed.
    text: Option<String>,
    ranges: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
    create_parents: bool,
    /// No byte-exact guard is needed any more.
    guarded: bool,
}

impl<'a> Draft<'a> {
    fn new(path: &'a RootedPath, original: Option<&'a FileContent>, target: &Target, unguarded: bool) -> Self {
        let by_hash = target.changes.iter().any(|(_, change)| change.expected().content_hash.is_some());
        Self { path, original, text: None, ranges: Vec::new(), create_parents: false, guarded: unguarded || by_hash }
    }

    fn exists(&self) -> bool {
        self.text.is_some() || self.path.stat().is_some()
    }

    fn apply(&mut self, change: &Change, max_file_bytes: u64) -> Result<(), IoErrorKind> {
        match change {
            Change::Edit(edits) => self.edit(edits)?,
            Change::Create(create) => self.create(create)?,
            Change::Rename { .. } => return Err(IoErrorKind::NotSupported("renaming a file")),
            Change::Delete { .. } => return Err(IoErrorKind::NotSupported("deleting a file")),
        }
        match self.text.as_ref().map_or(0, |text| text.len() as u64) {
            bytes if bytes > max_file_bytes => Err(IoErrorKind::TooLarge { bytes, limit: max_file_bytes }),
            _ => Ok(()),
        }
    }

    fn edit(&mut self, edits: &WriteSnippetData) -> Result<(), IoErrorKind> {
        // A text made by this request needs no guard: nobody else has seen it.
        let by_text = edits.edits.iter().all(TextChange::is_guarded);
        if self.original.is_some() && !self.guarded && !by_text && edits.expected.version.is_none() {
            return Err(IoErrorKind::GuardRequired);
        }
        let (text, ranges) = match (&self.text, self.original) {
            (Some(text), original) => {
                check_original(self.path, original, &edits.expected)?;
                let mut finder = super::range::RangeFinder::new(text);
                splice(text, &edits.edits, |edit| finder.find(edit.range, edit.expected_text.as_deref()))?
            }
            (None, Some(original)) => {
                let mut verified = VerifiedText::new(self.path, original).map_err(|error| error.kind)?;
                verified.check_guard(&edits.expected)?;
                splice(verified.text, &edits.edits, |edit| verified.find(edit.range, edit.expected_text.as_deref()))?
            }
            (None, None) => return Err(IoErrorKind::NotFound),
        };
        self.text = Some(text);
        self.ranges.extend(ranges);
        Ok(())
    }

    fn create(&mut self, create: &CreateFileData) -> Result<(), IoErrorKind> {
        let CreateFileData { options, expected, .. } = create;
        if self.exists() {
            if !options.overwrite && !options.ignore_if_exists {
                return Err(IoErrorKind::AlreadyExists);
            }
            if options.overwrite && self.original.is_some() && !self.guarded && expected.version.is_none() {
                return Err(IoErrorKind::GuardRequired);
            }
        }
        check_original(self.path, self.original, expected)?;
        if self.exists() && !options.overwrite {
            return Ok(());
        }
        self.text = Some(create.text.clone());
        self.create_parents |= options.create_parents;
        Ok(())
    }
}

/// Checks a guard against the file as it was before the request; only an empty one fits a file that was not there.
fn check_original(path: &RootedPath, original: Option<&FileContent>, expected: &Guard) -> Result<(), IoErrorKind> {
    let Some(original) = original else {
        let expects_nothing = *expected == Guard { namespace: expected.namespace, ..Guard::default() };
        return if expects_nothing { Ok(()) } else { Err(IoErrorKind::NotFound) };
    };
    if expected.tracking_hash.is_some() {
        return VerifiedText::new(path, original).map_err(|error| error.kind)?.check_guard(expected);
    }
    // Needs no text: a file of any bytes can be overwritten.
    let actual = Some(ActualHashes { content: original.hash, tracking: None });
    match (expected.content_hash, expected.version) {
        (Some(hash), _) if hash != original.hash => {
            Err(IoErrorKind::ContentMismatch { guard: GuardKind::ContentHash, actual })
        }
        (_, Some(_)) => Err(IoErrorKind::ContentMismatch { guard: GuardKind::Version, actual }),
        _ => Ok(()),
    }
}

type SplicedText = (String, Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>);

fn splice(
    text: &str,
    edits: &[TextChange],
    mut find: impl FnMut(&TextChange) -> Result<std::ops::Range<usize>, IoErrorKind>,
) -> Result<SplicedText, IoErrorKind> {
    let located = edits.iter().map(|edit| Ok((find(edit)?, edit.new_text.clone())));
    let splice = Splice::new(text, located.collect::<Result<_, IoErrorKind>>()?).map_err(|error| match error {
        SpliceError::OutOfRange { file_bytes, .. } => IoErrorKind::OutOfRange { file_bytes },
        SpliceError::InvalidCharBoundary { nearest, .. } => IoErrorKind::InvalidCharBoundary { nearest },
        SpliceError::Overlapping { first, second } => IoErrorKind::OverlappingEdits { first, second },
    })?;
    Ok((splice.apply(), splice.ranges()))
}

/// The tracking hash of the new text for callers that track the file.
fn new_tracking_hash(path: &RootedPath, target: &Target, text: &str) -> Option<TrackingHash> {
    let tracked = target.changes.iter().map(|(_, change)| change.expected()).find(|e| e.tracking_hash.is_some())?;
    TrackingHash::of_text(tracked.namespace, &path.absolute(), text).ok()
}
