//! The entries of `documentChanges`: a file created, renamed or deleted, or edits of one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    FileUri,
    values::{Expected, Range},
};

/// One change; without a `kind` it edits a file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "ChangeFields")]
#[schemars(!try_from, tag = "kind", rename_all = "camelCase")]
pub enum DocumentChange {
    Create(CreateFile),
    Rename(RenameFile),
    Delete(DeleteFile),
    #[schemars(untagged)]
    Edit(TextDocumentEdit),
}

impl DocumentChange {
    /// Edits of one file, without a guard of their own.
    pub fn edit(uri: FileUri, edits: Vec<TextEdit>) -> Self {
        Self::Edit(TextDocumentEdit { text_document: TextDocument { uri, version: None }, expected: None, edits })
    }

    /// The files that it names, the old one of a renaming first.
    pub fn uris(&self) -> impl Iterator<Item = &FileUri> {
        let (first, second) = match self {
            Self::Edit(change) => (&change.text_document.uri, None),
            Self::Create(change) => (&change.uri, None),
            Self::Rename(change) => (&change.old_uri, Some(&change.new_uri)),
            Self::Delete(change) => (&change.uri, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// Edits of one file, all relative to the same original text; they must not overlap.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextDocumentEdit {
    pub text_document: TextDocument,
    /// Guard of the file.
    pub expected: Option<Expected>,
    /// Relative to the text as it is before all of them; they must not overlap.
    pub edits: Vec<TextEdit>,
}

/// A new file.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateFile {
    pub uri: FileUri,
    /// Empty by default.
    pub text: Option<String>,
    /// What to do about what is there.
    pub options: Option<CreateOptions>,
    /// Guard of the file that is overwritten; without such a file it fails.
    pub expected: Option<Expected>,
    /// Taken as LSP gives it; not used.
    pub annotation_id: Option<String>,
}

/// How a file is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOptions {
    /// Replace a file that is there; it needs a guard. Goes before `ignoreIfExists`.
    pub overwrite: Option<bool>,
    /// Leave a file that is there as it is.
    pub ignore_if_exists: Option<bool>,
    /// Create the missing directories above the file.
    pub create_parents: Option<bool>,
}

/// A file that gets another path.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameFile {
    pub old_uri: FileUri,
    pub new_uri: FileUri,
    /// What to do about what is at `newUri`.
    pub options: Option<RenameOptions>,
    /// Guard of the file at `oldUri`; that of a file at `newUri` stands in the top-level `expected`.
    pub expected: Option<Expected>,
    /// Taken as LSP gives it; not used.
    pub annotation_id: Option<String>,
}

/// How a file is renamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameOptions {
    /// Replace a file that is there; it needs a guard too. Goes before `ignoreIfExists`.
    pub overwrite: Option<bool>,
    /// Leave both files as they are if there is one at `newUri`.
    pub ignore_if_exists: Option<bool>,
}

/// A file that is to be gone.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteFile {
    pub uri: FileUri,
    /// What to do if there is nothing.
    pub options: Option<DeleteOptions>,
    /// Guard of the file.
    pub expected: Option<Expected>,
    /// Taken as LSP gives it; not used.
    pub annotation_id: Option<String>,
}

/// How a file is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteOptions {
    /// A file that is not there counts as deleted.
    pub ignore_if_not_exists: Option<bool>,
    /// Directories are never deleted: `true` is refused.
    pub recursive: Option<bool>,
}

/// The document to edit.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextDocument {
    pub uri: FileUri,
    /// Taken as LSP gives it; the guard is `expected.version`.
    pub version: Option<i32>,
}

/// One replacement; it needs a `range`, an `expectedText` or both.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "TextEditFields")]
#[schemars(!try_from, rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    { "required": ["range"], "properties": { "range": { "type": "object" } } },
    { "required": ["expectedText"], "properties": { "expectedText": { "type": "string" } } },
]))]
pub struct TextEdit {
    /// Without one: the one place where `expectedText` stands.
    pub range: Option<Range>,
    /// Written as it is given.
    pub new_text: String,
    /// The text that must stand at the range.
    pub expected_text: Option<String>,
    /// Taken as LSP gives it; not used.
    pub annotation_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TextEditFields {
    range: Option<Range>,
    new_text: String,
    expected_text: Option<String>,
    annotation_id: Option<String>,
}

impl TryFrom<TextEditFields> for TextEdit {
    type Error = &'static str;

    fn try_from(fields: TextEditFields) -> Result<Self, Self::Error> {
        let TextEditFields { range, new_text, expected_text, annotation_id } = fields;
        if range.is_none() && expected_text.is_none() {
            return Err("an edit needs `range`, `expectedText` or both");
        }
        Ok(Self { range, new_text, expected_text, annotation_id })
    }
}

/// The fields of every kind of change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeFields {
    kind: Option<Kind>,
    text_document: Option<TextDocument>,
    edits: Option<Vec<TextEdit>>,
    uri: Option<FileUri>,
    text: Option<String>,
    old_uri: Option<FileUri>,
    new_uri: Option<FileUri>,
    options: Option<OptionFields>,
    expected: Option<Expected>,
    annotation_id: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Create,
    Rename,
    Delete,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OptionFields {
    overwrite: Option<bool>,
    ignore_if_exists: Option<bool>,
    create_parents: Option<bool>,
    ignore_if_not_exists: Option<bool>,
    recursive: Option<bool>,
}

impl TryFrom<ChangeFields> for DocumentChange {
    type Error = String;

    fn try_from(fields: ChangeFields) -> Result<Self, String> {
        let kind = fields.kind;
        if let Some(stranger) = fields.given().find(|name| !allowed(kind).contains(name)) {
            return Err(format!("`{stranger}` does not belong to {}", describe(kind)));
        }
        let missing = |name: &str| format!("missing field `{name}` of {}", describe(kind));
        let ChangeFields {
            text_document, edits, uri, text, old_uri, new_uri, options, expected, annotation_id, ..
        } = fields;
        Ok(match kind {
            None => Self::Edit(TextDocumentEdit {
                text_document: text_document.ok_or_else(|| missing("textDocument"))?,
                expected,
                edits: edits.ok_or_else(|| missing("edits"))?,
            }),
            Some(Kind::Create) => Self::Create(CreateFile {
                uri: uri.ok_or_else(|| missing("uri"))?,
                text,
                options: options.map(|options| CreateOptions {
                    overwrite: options.overwrite,
                    ignore_if_exists: options.ignore_if_exists,
                    create_parents: options.create_parents,
                }),
                expected,
                annotation_id,
            }),
            Some(Kind::Rename) => Self::Rename(RenameFile {
                old_uri: old_uri.ok_or_else(|| missing("oldUri"))?,
                new_uri: new_uri.ok_or_else(|| missing("newUri"))?,
                options: options.map(|options| RenameOptions {
                    overwrite: options.overwrite,
                    ignore_if_exists: options.ignore_if_exists,
                }),
                expected,
                annotation_id,
            }),
            Some(Kind::Delete) => Self::Delete(DeleteFile {
                uri: uri.ok_or_else(|| missing("uri"))?,
                options: options.map(|options| DeleteOptions {
                    ignore_if_not_exists: options.ignore_if_not_exists,
                    recursive: options.recursive,
                }),
                expected,
                annotation_id,
            }),
        })
    }
}

impl ChangeFields {
    /// Names of the fields that are there.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let none = OptionFields::default();
        let options = self.options.as_ref().unwrap_or(&none);
        [
            ("textDocument", self.text_document.is_some()),
            ("edits", self.edits.is_some()),
            ("uri", self.uri.is_some()),
            ("text", self.text.is_some()),
            ("oldUri", self.old_uri.is_some()),
            ("newUri", self.new_uri.is_some()),
            ("options", self.options.is_some()),
            ("options.overwrite", options.overwrite.is_some()),
            ("options.ignoreIfExists", options.ignore_if_exists.is_some()),
            ("options.createParents", options.create_parents.is_some()),
            ("options.ignoreIfNotExists", options.ignore_if_not_exists.is_some()),
            ("options.recursive", options.recursive.is_some()),
            ("annotationId", self.annotation_id.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
    }
}

fn allowed(kind: Option<Kind>) -> &'static [&'static str] {
    match kind {
        None => &["textDocument", "edits"],
        Some(Kind::Create) => &[
            "uri",
            "text",
            "options",
            "options.overwrite",
            "options.ignoreIfExists",
            "options.createParents",
            "annotationId",
        ],
        Some(Kind::Rename) => {
            &["oldUri", "newUri", "options", "options.overwrite", "options.ignoreIfExists", "annotationId"]
        }
        Some(Kind::Delete) => &["uri", "options", "options.ignoreIfNotExists", "options.recursive", "annotationId"],
    }
}

fn describe(kind: Option<Kind>) -> &'static str {
    match kind {
        None => "an edit (a change without `kind`)",
        Some(Kind::Create) => "a change of kind `create`",
        Some(Kind::Rename) => "a change of kind `rename`",
        Some(Kind::Delete) => "a change of kind `delete`",
    }
}
