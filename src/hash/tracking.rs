//! The hash of a Rust file's tokens.

use std::{borrow::Cow, cell::Cell, io, panic, path::Path, thread};

use quote::ToTokens;
use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use super::{
    lexer::{Delimiter, Lexer, Token},
    nesting,
};
use crate::error::IoErrorKind;

/// Hash of the tokens of a Rust file, its canonical path and a namespace: it ignores white space and plain comments.
///
/// It says whether the meaning of the code may have changed. It does not say where anything stands: two texts with the
/// same tracking hash may differ in every byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackingHash(pub Uuid);

/// Namespace of the UUIDs themselves; the caller's namespace is part of what is hashed.
const UUID_NAMESPACE: Uuid = uuid!("f7f4a9a0-1b1a-4b0e-9c1a-1a1a1a1a1a1a");

impl TrackingHash {
    /// Hashes a text that is, or might be, the content of the file at `canonical_path`.
    ///
    /// On Unix the path counts with its bytes as they are, elsewhere as UTF-8 with `/` between its parts. The text may
    /// be of any shape and size: what is nested too deeply to be parsed safely is a [`ParseError`].
    pub fn of_text(namespace: Uuid, canonical_path: &Path, text: &str) -> Result<Self, TrackingError> {
        let code = without_bom_and_shebang(text);
        let stack_size = stack_size(nesting::levels(code)?);
        let tokens = on_stack(stack_size, || token_string(code))??;
        let path = path_bytes(canonical_path);
        let name = [&namespace.as_bytes()[..], b"::FILE::", &path, b"::CONTENT::", tokens.as_bytes()].concat();
        Ok(Self(Uuid::new_v5(&UUID_NAMESPACE, &name)))
    }
}

/// Why a text has no tracking hash.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The thread with the deep stack could not be started.
    #[error("could not start a thread to parse in: {0}")]
    Thread(#[from] io::Error),
}

impl From<TrackingError> for IoErrorKind {
    fn from(error: TrackingError) -> Self {
        match error {
            TrackingError::Parse(error) => Self::Parse(error),
            TrackingError::Thread(source) => Self::from_os("start a thread to parse in", source),
        }
    }
}

/// Why a text is not Rust, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

/// What `syn::parse_file` parses of a text.
///
/// It is done here too, so that the text whose nesting is checked is the one that is parsed.
fn without_bom_and_shebang(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.strip_prefix("#!") {
        Some(rest) if !begins_attribute(rest) => text.find('\n').map_or("", |newline| &text[newline..]),
        _ => text,
    }
}

fn begins_attribute(after_hash_bang: &str) -> bool {
    matches!(Lexer::new(after_hash_bang).next(), Some((_, Token::Open(Delimiter::Bracket))))
}

#[cfg(unix)]
fn path_bytes(path: &Path) -> Cow<'_, [u8]> {
    use std::os::unix::ffi::OsStrExt;
    Cow::Borrowed(path.as_os_str().as_bytes())
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> Cow<'_, [u8]> {
    Cow::Owned(path.to_string_lossy().replace('\\', "/").into_bytes())
}

/// The string of the token stream of the parsed text.
pub(super) fn token_string(code: &str) -> Result<String, ParseError> {
    let parsed = syn::parse_str::<syn::File>(code);
    let result = match parsed {
        Ok(file) => Ok(file.into_token_stream().to_string()),
        Err(error) => {
            let start = error.span().start();
            Err(ParseError { line: start.line, column: start.column + 1, message: error.to_string() })
        }
    };
    // Nothing with a span is left; without this proc-macro2 would keep every text that the thread has parsed.
    proc_macro2::extra::invalidate_current_thread_spans();
    result
}

/// Stack that holds the parsing, printing and dropping of a text of so many levels, also in debug builds.
///
/// It is address space, of which only what is used becomes memory.
pub(super) fn stack_size(levels: usize) -> usize {
    const BASE: usize = 1 << 20;
    // The most that was measured without optimisation is 31 KiB, for each `&` of a type.
    const LEVEL: usize = 40 << 10;
    BASE + levels * LEVEL
}

/// Stack of a thread that is to make many tracking hashes: enough for some 1,500 levels, more than almost any file has.
pub(crate) const DEEP_STACK: usize = 64 << 20;

thread_local! {
    /// Stack that this thread is known to have.
    static KNOWN_STACK: Cell<usize> = const { Cell::new(0) };
}

/// Does the work of a thread that was made with [`DEEP_STACK`], where most tracking hashes need no thread of their own.
pub(crate) fn with_deep_stack<T>(work: impl FnOnce() -> T) -> T {
    KNOWN_STACK.set(DEEP_STACK);
    work()
}

fn on_stack<T: Send>(stack_size: usize, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if stack_size <= KNOWN_STACK.get() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("ploke-parse".to_owned()).stack_size(stack_size);
        let thread = builder.spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> TrackingHash {
        TrackingHash::of_text(Uuid::nil(), Path::new("/p/src/lib.rs"), text).unwrap()
    }

    #[track_caller]
    fn parse_error(text: &str) -> ParseError {
        match TrackingHash::of_text(Uuid::nil(), Path::new("/p/src/lib.rs"), text) {
            Err(TrackingError::Parse(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    // The values are made by Python's hashlib and uuid of the bytes that the definition gives, with the token string
    // written by hand.

    #[test]
    fn known_texts_have_known_hashes() {
        for (text, expected) in [
            ("", uuid!("141a6f15-b0ae-5a94-b36e-85d633362f1e")),
            ("// nothing\n", uuid!("141a6f15-b0ae-5a94-b36e-85d633362f1e")),
            ("fn main() {}", uuid!("f2ba5951-70fd-542a-9277-2621b1df3908")),
            (
                "/// Adds.\npub fn add(a: u32, b: u32) -> u32 {\n    a + b // sum\n}\n",
                uuid!("61d5ace2-cc44-5fec-bcee-4d8adaf80cc7"),
            ),
        ] {
            assert_eq!(hash(text), TrackingHash(expected), "{text}");
        }
    }

    #[test]
    fn namespace_and_path_are_part_of_the_hash() {
        let namespace = uuid!("01020304-0506-0708-090a-0b0c0d0e0f10");
        let main = "fn main() {}";
        let hash = |namespace, path: &str| TrackingHash::of_text(namespace, Path::new(path), main).unwrap().0;
        assert_eq!(hash(namespace, "/p/src/lib.rs"), uuid!("50d62586-4735-5f2a-91d0-ea6dae2199e7"));
        assert_eq!(hash(Uuid::nil(), "/p/src/main.rs"), uuid!("6d363c68-37b2-5d59-a8f1-6dd06a5758fb"));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_counts_with_its_bytes() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let path = Path::new(OsStr::from_bytes(b"/p/\xff.rs"));
        let hash = TrackingHash::of_text(Uuid::nil(), path, "fn main() {}").unwrap();
        assert_eq!(hash.0, uuid!("429857dc-6b21-53f4-a7ea-c7ef7df2eecb"));
    }

    #[test]
    fn white_space_and_plain_comments_do_not_count_but_doc_comments_do() {
        let main = hash("fn main() {}");
        for same in [
            "\u{feff}fn main() {}",
            "fn  main ( ) {\r\n}\n",
            "/* a */ fn main(/* b */) {} // c",
            "#!/bin/x\nfn main(){}",
        ] {
            assert_eq!(hash(same), main, "{same}");
        }
        for other in ["/// a\nfn main() {}", "fn main() {;}", "fn main2() {}", "#![a]\nfn main() {}"] {
            assert_ne!(hash(other), main, "{other}");
        }
    }

    #[test]
    fn what_is_parsed_is_what_syn_parses_of_a_file() {
        for text in [
            "#!/bin/x\nfn f() {}",
            "#! [a]\nfn f() {}",
            "#!\n// a\n/* b */ [a]\nfn f() {}",
            "#!//! a\n",
            "#!/** a */[a]\nfn f() {}",
            "#!/* a\n",
            "#!\u{feff}[a]\nfn f() {}",
            "#!/bin/x",
            "#!",
            "\u{feff}#!/bin/x\nfn f() {}",
            "\u{feff}\u{feff}fn f() {}",
            "\u{feff}\u{feff}\u{feff}fn f() {}",
            "\u{feff}\u{feff}#!/bin/x\nfn f() {}",
        ] {
            let expected = syn::parse_file(text).map(|file| file.into_token_stream().to_string());
            assert_eq!(token_string(without_bom_and_shebang(text)).ok(), expected.ok(), "{text:?}");
        }
    }

    #[test]
    fn a_parse_error_says_where_from_one_in_characters() {
        for (text, line, column) in [
            ("fn f() {\n    let é = = 1;\n}", 2, 13),
            ("fn", 1, 1),
            ("fn f() {} )", 1, 11),
            ("#!/bin/x\nlet", 2, 1),
            ("\u{feff}fn 1", 1, 4),
            ("fn f() { \"abc }", 1, 10),
        ] {
            let error = parse_error(text);
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
        }
    }

    #[test]
    fn nesting_of_100_000_levels_is_a_parse_error() {
        for (opening, closing) in [("(", ")"), ("[", "]"), ("{", "}"), ("m!(", ")"), ("!", ""), ("&", "")] {
            let text = format!("fn f() {{ {}x{} }}", opening.repeat(100_000), closing.repeat(100_000));
            assert_eq!(parse_error(&text).message, "nested too deeply", "{opening}");
        }
    }

    #[test]
    fn what_generated_code_has_of_nesting_is_hashed() {
        let deep = |count: usize| format!("fn f() {{ {}x{} }}", "(".repeat(count), ")".repeat(count));
        let terms = format!("const A: u64 = 1{};", " + 1".repeat(14_000));
        let calls = format!("fn f() {{ x{} }}", ".f(1)".repeat(7_000));
        let table = format!("const A: &[u64] = &[{}];", "0x1234, ".repeat(20_000));
        for text in [deep(1), deep(1_000), terms, calls, table] {
            assert_ne!(hash(&text), hash(""));
        }
    }

    #[test]
    fn a_thread_with_a_deep_stack_makes_the_same_hashes_itself() {
        let text = "fn main() {}";
        let worker = thread::Builder::new().stack_size(DEEP_STACK).spawn(|| {
            with_deep_stack(|| {
                let worker = thread::current().id();
                let small = on_stack(DEEP_STACK, || thread::current().id()).unwrap();
                let large = on_stack(DEEP_STACK + 1, || thread::current().id()).unwrap();
                assert!(small == worker && large != worker);
                hash(text)
            })
        });
        assert_eq!(worker.unwrap().join().unwrap(), hash(text));
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn a_thread_that_can_not_be_started_is_an_error() {
        // More address space than there is.
        let error = on_stack(1 << 60, || ()).unwrap_err();
        assert!(TrackingError::from(error).to_string().starts_with("could not start a thread to parse in: "));
    }
}
