//! Documents that are open in an editor, and the files that they are of.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use super::{Engine, file::FileContent};
use crate::{
    disk::{FileKind, FileStat},
    error::{IoError, IoErrorKind},
    hash::ContentHash,
    roots::{Resolver, RootedPath},
};

/// Documents by the absolute paths they were opened by.
pub type OpenDocuments = HashMap<PathBuf, Arc<OpenDocument>>;

/// A document as its editor has told it.
#[derive(Debug)]
pub struct OpenDocument {
    version: i32,
    text: Option<String>,
    /// Of the text; made when it is first needed.
    hash: OnceLock<ContentHash>,
    /// The text was seen on disk after it had come to be.
    was_on_disk: AtomicBool,
}

impl Clone for OpenDocument {
    fn clone(&self) -> Self {
        let was_on_disk = AtomicBool::new(self.was_on_disk.load(Relaxed));
        Self { version: self.version, text: self.text.clone(), hash: self.hash.clone(), was_on_disk }
    }
}

impl OpenDocument {
    pub fn new(version: i32, text: String) -> Self {
        Self { text: Some(text), ..Self::unknown(version) }
    }

    /// A document that is open with a text that could not be followed.
    pub fn unknown(version: i32) -> Self {
        Self { version, text: None, hash: OnceLock::new(), was_on_disk: AtomicBool::new(false) }
    }

    pub fn version(&self) -> i32 {
        self.version
    }

    /// `None` if it is not known.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub fn hash(&self) -> Option<ContentHash> {
        let text = self.text()?;
        Some(*self.hash.get_or_init(|| ContentHash::of(text.as_bytes())))
    }

    /// Whether it is known to hold nothing that was never saved: if its file has another text now, then the file has
    /// changed, and the editor is about to read it again.
    fn is_saved(&self) -> bool {
        self.text.is_some() && self.was_on_disk.load(Relaxed)
    }

    /// Whether the file has just this text.
    fn is_on_disk(&self, on_disk: Option<ContentHash>) -> bool {
        let same = on_disk.is_some() && self.hash() == on_disk;
        if same {
            self.was_on_disk.store(true, Relaxed);
        }
        same
    }

    /// Goes on to another version; a `change` that fails leaves the text unknown.
    pub fn change<E>(
        &mut self,
        version: i32,
        change: impl FnOnce(&mut Option<String>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.version = version;
        self.hash = OnceLock::new();
        self.was_on_disk = AtomicBool::new(false);
        change(&mut self.text).inspect_err(|_| self.text = None)
    }
}

/// Where a text is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The document that is open in an editor.
    Buffer,
    Disk,
}

/// The open documents by the files that they are of.
pub(super) struct Located {
    documents: Arc<OpenDocuments>,
    /// Of each document.
    paths: Vec<PathBuf>,
    by_path: HashMap<PathBuf, Vec<usize>>,
    by_file: HashMap<FileId, Vec<usize>>,
}

/// Device and inode.
type FileId = (u64, u64);

/// What is open of a file.
pub(super) enum Opened<'d> {
    Nothing,
    /// The text of this version is that of the file.
    Clean(i32),
    /// The file has changed since its text was that of the documents, which have not.
    Outdated,
    /// One document has another text than the file.
    Dirty(&'d Path, &'d Arc<OpenDocument>),
    /// Several documents are of the file and not all have its text.
    DirtySeveral,
    /// A document has a text that is not known.
    Unknown,
}

impl Engine {
    /// Finds the files of documents.
    pub(super) fn locate(&self, documents: Arc<OpenDocuments>) -> Located {
        let mut located = Located { documents, paths: Vec::new(), by_path: HashMap::new(), by_file: HashMap::new() };
        if located.documents.is_empty() {
            return located;
        }
        let roots = self.roots();
        let resolver = Resolver::new(&roots, &self.dir_budget);
        for path in located.documents.keys() {
            let (real, file) = match resolver.resolve(path) {
                Ok(path) => (path.absolute(), path.stat().and_then(file_id)),
                // A document outside of the roots may be a link to a file inside.
                Err(_) => (fs::canonicalize(path).unwrap_or_else(|_| path.clone()), None),
            };
            let index = located.paths.len();
            located.by_path.entry(real).or_default().push(index);
            file.iter().for_each(|file| located.by_file.entry(*file).or_default().push(index));
            located.paths.push(path.clone());
        }
        located
    }
}

impl Located {
    pub fn is_of(&self, documents: &Arc<OpenDocuments>) -> bool {
        Arc::ptr_eq(&self.documents, documents)
    }

    /// The document that is open of a file; if there are several, the one that was opened by this path, if any.
    pub fn document(&self, path: &RootedPath, asked: &Path) -> Option<&Arc<OpenDocument>> {
        self.all_of(path, asked).first().map(|(_, document)| *document)
    }

    /// How the documents that are open of a file stand to what is on disk.
    pub fn opened(&self, path: &RootedPath, asked: &Path, on_disk: Option<ContentHash>) -> Opened<'_> {
        let all = self.all_of(path, asked);
        if all.iter().any(|(_, document)| document.text().is_none()) {
            return Opened::Unknown;
        }
        match &all[..] {
            [] => Opened::Nothing,
            [(_, first), ..] if all.iter().all(|(_, document)| document.is_on_disk(on_disk)) => {
                Opened::Clean(first.version())
            }
            _ if all.iter().all(|(_, document)| document.is_on_disk(on_disk) || document.is_saved()) => {
                Opened::Outdated
            }
            [(path, document)] => Opened::Dirty(path, document),
            _ => Opened::DirtySeveral,
        }
    }

    /// The version of a document with just this content, if one is open.
    pub fn version_of(&self, path: &RootedPath, asked: &Path, on_disk: ContentHash) -> Option<i32> {
        match self.opened(path, asked, Some(on_disk)) {
            Opened::Clean(version) => Some(version),
            _ => None,
        }
    }

    /// Refuses a place where a document has another text than the file.
    pub fn refuse_dirty(&self, path: &RootedPath, on_disk: Option<ContentHash>) -> Result<(), IoError> {
        let refused = match self.opened(path, &path.absolute(), on_disk) {
            Opened::Nothing | Opened::Clean(_) | Opened::Outdated => return Ok(()),
            Opened::Unknown => IoErrorKind::DocumentUnknown,
            Opened::Dirty(..) | Opened::DirtySeveral => IoErrorKind::DocumentDirty(SAVE_FIRST),
        };
        Err(IoError::new(path.relative(), refused))
    }

    /// The documents of a file, that which was opened by this path first.
    fn all_of(&self, path: &RootedPath, asked: &Path) -> Vec<(&Path, &Arc<OpenDocument>)> {
        if self.paths.is_empty() {
            return Vec::new();
        }
        let of_path = self.by_path.get(&path.absolute()).into_iter().flatten();
        let of_file = path.stat().and_then(file_id).and_then(|file| self.by_file.get(&file)).into_iter().flatten();
        let mut all: Vec<_> = of_path.chain(of_file).map(|&index| self.paths[index].as_path()).collect();
        all.sort_unstable_by_key(|opened| (*opened != asked, *opened));
        all.dedup();
        all.into_iter().filter_map(|opened| Some((opened, self.documents.get(opened)?))).collect()
    }
}

/// What is to be done about a file that is to be written.
pub(super) const SAVE_FIRST: &str = "save it first";
/// What is to be done about a guard that is not of the document.
pub(super) const READ_DOCUMENT: &str = "read the document and guard with what was read, or save it first";

/// Identity of a file, where the system has such a thing.
fn file_id(stat: &FileStat) -> Option<FileId> {
    (stat.kind == FileKind::File && stat.inode != 0).then_some((stat.device, stat.inode))
}

/// The text of a document as if it had been read from its file.
pub(super) fn content_of(document: &OpenDocument, path: &RootedPath, limit: u64) -> Result<FileContent, IoErrorKind> {
    let (text, hash) = document.text().zip(document.hash()).ok_or(IoErrorKind::DocumentUnknown)?;
    let size = text.len() as u64;
    if size > limit {
        return Err(IoErrorKind::TooLarge { bytes: size, limit });
    }
    let of_nothing = FileStat {
        kind: FileKind::File,
        device: 0,
        inode: 0,
        size,
        modified: SystemTime::UNIX_EPOCH,
        changed: SystemTime::UNIX_EPOCH,
        links: 1,
        mode: 0,
    };
    let stat = path.stat().map_or(of_nothing, |stat| FileStat { size, ..*stat });
    let version = Some(document.version());
    let (bytes, began) = (text.as_bytes().to_vec(), SystemTime::UNIX_EPOCH);
    Ok(FileContent { bytes, hash, stat, rested: false, began, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_fails_leaves_the_text_unknown() {
        let mut document = OpenDocument::new(1, "a".into());
        assert_eq!(document.hash(), Some(ContentHash::of(b"a")));
        assert_eq!(document.change(2, |_| Err("no")), Err("no"));
        assert_eq!((document.version(), document.text(), document.hash()), (2, None, None));
    }
}
