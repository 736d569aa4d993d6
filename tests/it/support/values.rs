//! What `$...` in a transcript stands for, and the escapes of its texts.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use quote::ToTokens;
use serde_json::Value;
use uuid::Uuid;

/// The values of one run. In any string of a message, also in keys:
///
/// - `$ROOT`: the `file:` URI of the temporary root; `$DIR`: its path
/// - `$FILL(n)`: n letters x
///
/// and as a whole string:
///
/// - `$HASH(text)`: the content hash of the text
/// - `$TRACKING(path, text)`: the tracking hash of the text at this path; a namespace may stand before the path
/// - `$URI(path)`: the `file:` URI of a path below the root
/// - `$ANY(name)`: any value where it is met first, the same one from then on
pub struct Values {
    pub root: PathBuf,
    captured: RefCell<BTreeMap<String, Value>>,
}

impl Values {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), captured: RefCell::default() }
    }

    /// A message to send: everything replaced.
    pub fn message(&self, template: &Value) -> Result<Value, String> {
        self.expand(template, &|name| {
            self.captured.borrow().get(name).cloned().ok_or_else(|| format!("nothing was captured as $ANY({name})"))
        })
    }

    /// A pattern to compare with: everything replaced but `$ANY`.
    pub fn pattern(&self, template: &Value) -> Result<Value, String> {
        self.expand(template, &|name| Ok(Value::String(format!("$ANY({name})"))))
    }

    /// Whether `actual` is what was captured as `name`; the first one met is captured.
    pub fn same(&self, name: &str, actual: &Value) -> bool {
        self.captured.borrow_mut().entry(name.to_owned()).or_insert_with(|| actual.clone()) == actual
    }

    fn expand(&self, template: &Value, any: &impl Fn(&str) -> Result<Value, String>) -> Result<Value, String> {
        Ok(match template {
            Value::String(text) => match argument(text, "$ANY(") {
                Some(name) => any(name)?,
                None => Value::String(self.whole(text)?),
            },
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.expand(item, any)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, value)| Ok((self.text(key)?, self.expand(value, any)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }

    fn whole(&self, text: &str) -> Result<String, String> {
        if let Some(text) = argument(text, "$HASH(") {
            Ok(blake3::hash(self.text(text)?.as_bytes()).to_hex().to_string())
        } else if let Some(arguments) = argument(text, "$TRACKING(") {
            self.tracking_hash(arguments)
        } else if let Some(path) = argument(text, "$URI(") {
            Ok(file_uri(&self.root.join(unescaped_path(path)?)))
        } else {
            self.text(text)
        }
    }

    /// Replaces what may stand anywhere in a text.
    pub fn text(&self, text: &str) -> Result<String, String> {
        let text = text.replace("$ROOT", &file_uri(&self.root)).replace("$DIR", &self.root.to_string_lossy());
        let mut pieces = text.split("$FILL(");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (count, rest) = piece.split_once(')').ok_or("$FILL( without )")?;
            filled += &"x".repeat(count.parse().map_err(|_| format!("not a number: $FILL({count})"))?);
            filled += rest;
        }
        Ok(filled)
    }

    /// Follows the definition of the protocol, independently of the server's code.
    fn tracking_hash(&self, arguments: &str) -> Result<String, String> {
        let split = |text: &str| {
            text.split_once(", ")
                .map(|(first, rest)| (first.to_owned(), rest.to_owned()))
                .ok_or_else(|| format!("no comma in $TRACKING({arguments})"))
        };
        let (first, rest) = split(arguments)?;
        let (namespace, (path, text)) = match Uuid::parse_str(&first) {
            Ok(namespace) => (namespace, split(&rest)?),
            Err(_) => (Uuid::nil(), (first, rest)),
        };
        let tokens = syn::parse_file(&text).map_err(|error| format!("not Rust: {error}"))?.to_token_stream();
        let mut name = namespace.as_bytes().to_vec();
        name.extend_from_slice(b"::FILE::");
        name.extend_from_slice(self.root.join(path).as_os_str().as_encoded_bytes());
        name.extend_from_slice(b"::CONTENT::");
        name.extend_from_slice(tokens.to_string().as_bytes());
        let project = Uuid::from_u128(0xf7f4a9a0_1b1a_4b0e_9c1a_1a1a1a1a1a1a);
        Ok(Uuid::new_v5(&project, &name).to_string())
    }
}

/// The `file:` URI of an absolute path, whatever its bytes are.
pub fn file_uri(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut uri = String::from("file://");
    let verbatim = bytes.strip_prefix(br"\\?\");
    if verbatim.is_some() {
        uri.push('/');
    }
    for &byte in verbatim.unwrap_or(bytes) {
        match byte {
            b'/' | b':' | b'.' | b'_' | b'~' | b'-' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => uri.push(byte as char),
            b'\\' if verbatim.is_some() => uri.push('/'),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

/// The argument of a string that is a call and nothing else.
fn argument<'a>(text: &'a str, call: &str) -> Option<&'a str> {
    text.strip_prefix(call)?.strip_suffix(')')
}

/// The bytes of a text with the escapes `\n`, `\r`, `\t`, `\\`, `\"`, `\'` and `\xNN`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let letter = escape.chars().next().ok_or("a text ends with a lone \\")?;
        rest = &escape[letter.len_utf8()..];
        bytes.push(match letter {
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            '\\' | '"' | '\'' => letter as u8,
            'x' => {
                let digits = rest.get(..2).ok_or("\\x needs two digits")?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).map_err(|_| format!("not a byte: \\x{digits}"))?
            }
            _ => return Err(format!("unknown escape: \\{letter}")),
        });
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// A path of a transcript: below the root, with the escapes of a text.
pub fn unescaped_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(os_string(unescape(text)?)?);
    let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if inside { Ok(path) } else { Err(format!("not below the root: {text}")) }
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> Result<OsString, String> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Result<OsString, String> {
    String::from_utf8(bytes).map(OsString::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        Values::new(Path::new("/tmp/a b"))
    }

    #[test]
    fn names_stand_for_values() {
        let template = json!({"$ROOT/x": ["$DIR", "$HASH(a\nb$FILL(2))", "$URI(\\xFF.rs)", "<$FILL(3)>", 1]});
        let expected = json!({"file:///tmp/a%20b/x": [
            "/tmp/a b",
            blake3::hash(b"a\nbxx").to_hex().to_string(),
            "file:///tmp/a%20b/%FF.rs",
            "<xxx>",
            1,
        ]});
        assert_eq!(values().pattern(&template), Ok(expected));
    }

    #[test]
    fn tracking_hashes_depend_on_namespace_path_and_tokens_only() {
        let hash = |call: &str| values().pattern(&json!(call)).unwrap();
        assert_eq!(hash("$TRACKING(a.rs, fn a() {})"), hash("$TRACKING(a.rs, fn  a() {} // x)"));
        assert_ne!(hash("$TRACKING(a.rs, fn a() {})"), hash("$TRACKING(b.rs, fn a() {})"));
        assert_ne!(
            hash("$TRACKING(a.rs, fn a() {})"),
            hash("$TRACKING(00000000-0000-0000-0000-000000000001, a.rs, fn a() {})")
        );
    }

    #[test]
    fn a_captured_value_is_the_same_from_then_on() {
        let values = values();
        assert!(values.message(&json!("$ANY(x)")).is_err());
        assert!(values.same("x", &json!(1)));
        assert!(!values.same("x", &json!(2)));
        assert_eq!(values.message(&json!(["$ANY(x)"])), Ok(json!([1])));
        assert_eq!(values.pattern(&json!("$ANY(x)")), Ok(json!("$ANY(x)")));
    }

    #[test]
    fn mistakes_in_calls_are_errors() {
        for call in ["$FILL(x)", "$FILL(1", "$TRACKING(a)", "$TRACKING(a.rs, fn)", "$URI(../x)", "$URI(/x)"] {
            assert!(values().pattern(&json!(call)).is_err(), "{call}");
        }
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(unescape(r"a\r\n\t\\\xEF\xbbü"), Ok(b"a\r\n\t\\\xEF\xBB\xC3\xBC".to_vec()));
        for bad in ["\\", "\\q", "\\x1", "\\xgg"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
        for bytes in [&b"\"a'\\"[..], b"\xFF\n\r\t\0"] {
            assert_eq!(unescape(&bytes.escape_ascii().to_string()).as_deref(), Ok(bytes));
        }
    }
}
