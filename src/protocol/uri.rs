//! `file:` URIs.

use std::{
    cell::RefCell,
    fmt,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A `file:` URI as the client wrote it, with the absolute path that it names.
///
/// Two of them are equal if they name the same path, however they are spelled. The path is decoded, not resolved:
/// `..` and links are left to whoever opens it. Clones share the text.
#[derive(Debug, Clone)]
pub struct FileUri(Arc<Spelled>);

#[derive(Debug)]
struct Spelled {
    uri: String,
    path: PathBuf,
}

impl FileUri {
    /// The URI of an absolute path; names that are not UTF-8 survive on systems that have such names.
    pub fn from_path(path: &Path) -> Self {
        Self::new(encode(&platform::path_to_bytes(path)), path.to_path_buf())
    }

    fn new(uri: String, path: PathBuf) -> Self {
        Self(Arc::new(Spelled { uri, path }))
    }

    /// The URI as it was given.
    pub fn as_str(&self) -> &str {
        &self.0.uri
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl AsRef<Path> for FileUri {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

/// Why a text is no URI of a local file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("not a `file:` URI")]
    NotFile,
    #[error("a `file:` URI of another host; only an empty one and `localhost` are known")]
    OtherHost,
    #[error("a `file:` URI without an absolute path")]
    NotAbsolute,
    #[error("a `file:` URI with a query or fragment; in a file name, `?` is written `%3F` and `#` is written `%23`")]
    QueryOrFragment,
    #[error("a `file:` URI with a `%` that two hex digits do not follow")]
    BadEscape,
    #[error("a `file:` URI with a NUL in its path")]
    Nul,
    #[error("a `file:` URI whose path is not UTF-8, which this system has no names for")]
    NotUtf8,
}

impl FromStr for FileUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let path = platform::path_from_bytes(decode(encoded_path(uri)?)?)?;
        Ok(Self::new(uri.to_owned(), path))
    }
}

/// The part of a URI that is its path, still percent-encoded.
fn encoded_path(uri: &str) -> Result<&str, UriError> {
    let (scheme, rest) = uri.split_once(':').ok_or(UriError::NotFile)?;
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(UriError::NotFile);
    }
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return Err(UriError::OtherHost);
            }
            path
        }
    };
    if !path.starts_with('/') {
        return Err(UriError::NotAbsolute);
    }
    if path.bytes().any(|byte| matches!(byte, b'?' | b'#')) {
        return Err(UriError::QueryOrFragment);
    }
    Ok(path)
}

/// Decodes to bytes, not to text: a file name need not be UTF-8.
fn decode(encoded: &str) -> Result<Vec<u8>, UriError> {
    if !encoded.bytes().any(|byte| matches!(byte, b'%' | 0)) {
        return Ok(encoded.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(UriError::BadEscape);
            (digit()? * 16 + digit()?) as u8
        } else {
            byte
        };
        if byte == 0 {
            return Err(UriError::Nul);
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

fn encode(path: &[u8]) -> String {
    use fmt::Write as _;
    // What RFC 3986 allows in a path.
    const PLAIN: &[u8] = b"/-._~!$&'()*+,;=:@";

    let mut uri = String::with_capacity("file://".len() + path.len());
    uri.push_str("file://");
    for &byte in path {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}"); // writing to a String can not fail
        }
    }
    uri
}

#[cfg(unix)]
mod platform {
    use std::{
        borrow::Cow,
        ffi::OsString,
        os::unix::ffi::{OsStrExt, OsStringExt},
        path::{Path, PathBuf},
    };

    use super::UriError;

    pub(super) fn path_from_bytes(bytes: Vec<u8>) -> Result<PathBuf, UriError> {
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }

    pub(super) fn path_to_bytes(path: &Path) -> Cow<'_, [u8]> {
        Cow::Borrowed(path.as_os_str().as_bytes())
    }
}

#[cfg(not(unix))]
mod platform {
    use std::{
        borrow::Cow,
        path::{Path, PathBuf},
    };

    use super::UriError;

    /// `/C:/dir` is `C:\dir`, `//server/share` is `\\server\share`.
    pub(super) fn path_from_bytes(bytes: Vec<u8>) -> Result<PathBuf, UriError> {
        let text = String::from_utf8(bytes).map_err(|_| UriError::NotUtf8)?;
        let has_drive = matches!(text.as_bytes(), [b'/', drive, b':', ..] if drive.is_ascii_alphabetic());
        let path = if has_drive { &text[1..] } else { &text };
        Ok(PathBuf::from(path.replace('/', "\\")))
    }

    pub(super) fn path_to_bytes(path: &Path) -> Cow<'_, [u8]> {
        let text = path.to_string_lossy().replace('\\', "/");
        let text = match (text.strip_prefix("//?/UNC/"), text.strip_prefix("//?/")) {
            (Some(share), _) => format!("//{share}"),
            (None, Some(verbatim)) => verbatim.to_owned(),
            (None, None) => text,
        };
        let text = if text.starts_with('/') { text } else { format!("/{text}") };
        Cow::Owned(text.into_bytes())
    }
}

impl PartialEq for FileUri {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
    }
}

impl Eq for FileUri {}

impl Hash for FileUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path().hash(state);
    }
}

impl fmt::Display for FileUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FileUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Longer ones are not kept.
const MAX_KEPT_BYTES: usize = 4096;

thread_local! {
    /// The last one that was read: a message names the same file many times in a row.
    static LAST: RefCell<Option<FileUri>> = const { RefCell::new(None) };
}

impl<'de> Deserialize<'de> for FileUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = FileUri;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a `file:` URI")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileUri, E> {
                if text.len() > MAX_KEPT_BYTES {
                    return text.parse().map_err(E::custom);
                }
                LAST.with_borrow_mut(|last| match last {
                    Some(last) if last.as_str() == text => Ok(last.clone()),
                    _ => Ok(last.insert(text.parse().map_err(E::custom)?).clone()),
                })
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for FileUri {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileUri".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[Ff][Ii][Ll][Ee]:",
            "description": "A `file:` URI, percent-encoded; bytes that are not UTF-8 are allowed where file names may have them.",
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_survives_as_a_uri(name in prop::collection::vec(1_u8.., 0..40)) {
            let path = PathBuf::from(OsString::from_vec([b"/", name.as_slice()].concat()));
            let uri = FileUri::from_path(&path);
            prop_assert!(uri.as_str().is_ascii());
            let parsed: FileUri = uri.as_str().parse().unwrap();
            prop_assert_eq!(parsed.path().as_os_str(), path.as_os_str());
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "(file:|FILE:/+)?.{0,30}") {
            if let Ok(uri) = text.parse::<FileUri>() {
                prop_assert_eq!(uri.as_str(), text);
                prop_assert!(uri.path().is_absolute());
            }
        }
    }

    #[test]
    fn the_path_is_decoded_and_the_text_kept() {
        for (text, path) in [
            ("file:///a/b.rs", "/a/b.rs"),
            ("file:/a/b.rs", "/a/b.rs"),
            ("FILE://LocalHost/a", "/a"),
            ("file:///with%20space%23%3F%25", "/with space#?%"),
            ("file:///raw space/ü", "/raw space/ü"),
            ("file:///%C3%BC/%c3%bc", "/ü/ü"),
            ("file:///C|/a\\b", "/C|/a\\b"),
            ("file:///a/../b", "/a/../b"),
        ] {
            let uri: FileUri = text.parse().unwrap();
            assert_eq!(uri.path().as_os_str(), path, "{text}");
            assert_eq!(uri.as_str(), text);
        }
    }

    #[test]
    fn a_text_is_read_as_itself_whatever_was_read_before() {
        let long = format!("file:///{}", "a".repeat(2 * MAX_KEPT_BYTES));
        for text in ["file:///a", "file:///a", "file:/a", "file:///%61", "file:///a", &long, &long, "file:///a"] {
            for wrong in ["", "file:///a%", "file:///a#"] {
                assert!(serde_json::from_value::<FileUri>(wrong.into()).is_err());
            }
            assert_eq!(serde_json::from_value::<FileUri>(text.into()).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_names_no_local_file_is_refused() {
        for (text, error) in [
            ("", UriError::NotFile),
            ("/a", UriError::NotFile),
            ("untitled:Untitled-1", UriError::NotFile),
            ("https://localhost/a", UriError::NotFile),
            ("file://server/share", UriError::OtherHost),
            ("file://localhost:80/a", UriError::OtherHost),
            ("file:", UriError::NotAbsolute),
            ("file://", UriError::NotAbsolute),
            ("file:a", UriError::NotAbsolute),
            ("file:///a?b", UriError::QueryOrFragment),
            ("file:///a#b", UriError::QueryOrFragment),
            ("file:///a%", UriError::BadEscape),
            ("file:///a%4", UriError::BadEscape),
            ("file:///a%+4", UriError::BadEscape),
            ("file:///a%zz", UriError::BadEscape),
            ("file:///a%00", UriError::Nul),
            ("file:///a\0", UriError::Nul),
        ] {
            assert_eq!(text.parse::<FileUri>(), Err(error), "{text:?}");
        }
    }
}
