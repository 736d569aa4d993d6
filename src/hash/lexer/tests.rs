use proc_macro2::{TokenStream, TokenTree};
use proptest::prelude::*;

use super::*;

/// A token that both lexers see in one piece, with its byte offset.
#[derive(Debug, PartialEq)]
enum Seen {
    Open(usize),
    Close(usize),
    Word(usize, String),
    Literal(usize),
    Lifetime(usize),
    DocComment(usize),
}

fn seen_here(text: &str) -> Vec<Seen> {
    let seen = Lexer::new(text).filter_map(|(at, token)| match token {
        Token::Open(_) => Some(Seen::Open(at)),
        Token::Close => Some(Seen::Close(at)),
        Token::Word(word) => Some(Seen::Word(at, word.to_owned())),
        Token::Literal if text[at..].starts_with(|first: char| first.is_ascii_digit()) => None,
        Token::Literal => Some(Seen::Literal(at)),
        Token::Lifetime => Some(Seen::Lifetime(at)),
        Token::DocComment => Some(Seen::DocComment(at)),
        Token::Punct(_) => None,
    });
    seen.collect()
}

/// What proc-macro2 sees, if it can lex the text, and how many tokens, those of doc comments aside.
fn seen_by_proc_macro2(text: &str) -> Option<(Vec<Seen>, usize)> {
    fn add(stream: TokenStream, text: &str, seen: &mut Vec<Seen>, count: &mut usize) {
        let mut after_quote = false;
        for tree in stream {
            let range = tree.span().byte_range();
            let is_comment = ["//", "/*"].iter().any(|start| text[range.clone()].starts_with(start));
            *count += usize::from(!is_comment && !after_quote);
            match tree {
                TokenTree::Group(_) if is_comment => seen.push(Seen::DocComment(range.start)),
                TokenTree::Group(group) => {
                    seen.push(Seen::Open(range.start));
                    add(group.stream(), text, seen, count);
                    seen.push(Seen::Close(range.end - 1));
                }
                TokenTree::Ident(_) if after_quote => {}
                TokenTree::Ident(ident) => seen.push(Seen::Word(range.start, ident.to_string())),
                TokenTree::Punct(punct) if punct.as_char() == '\'' => seen.push(Seen::Lifetime(range.start)),
                TokenTree::Punct(_) => {}
                TokenTree::Literal(literal) if literal.to_string().starts_with(|c: char| c.is_ascii_digit()) => {}
                TokenTree::Literal(_) => seen.push(Seen::Literal(range.start)),
            }
            after_quote = seen.last() == Some(&Seen::Lifetime(range.start));
        }
    }
    let mut seen = Vec::new();
    let mut count = 0;
    add(text.parse().ok()?, text, &mut seen, &mut count);
    Some((seen, count))
}

/// Everything where the end of a token is hard to find.
const PIECES: &[&str] = &[
    "\"a\"",
    "\"(\\\"(\"",
    "\"\\\\\"",
    "\"\\\n  (\"",
    "\"a\"b",
    "\"a\"r",
    "b\"(\\\"\"",
    "c\"(\\\"\"",
    "r\"(\\\"",
    "r#\"(\"(\"#",
    "br##\"(\"#(\"##",
    "cr#\"(\"#",
    "r#\"a\"#r",
    "'a'",
    "'('",
    "'\\''",
    "'\\\\'",
    "'\\u{28}'",
    "'''",
    "'\"'",
    "'é'",
    "'a'b",
    "b'('",
    "b'\\''",
    "b'\\x28'",
    "'a",
    "'r#a",
    "'static",
    "'é",
    "'_",
    "a",
    "b",
    "c",
    "r",
    "br",
    "cr",
    "rb",
    "é",
    "r#fn",
    "r#a",
    "_",
    "1",
    "0xff",
    "1.5",
    "1.",
    "1..2",
    "1.a",
    "1e5",
    "1e+5",
    "1.5e-3f32",
    "1_000u8",
    "1r",
    "1b",
    "0b1",
    "// (\"'\n",
    "//! (\"'\n",
    "/// (\"'\n",
    "//// (\n",
    "/* ( */",
    "/* /* ( */ ( */",
    "/**/",
    "/***/",
    "/** ( */",
    "/*! ( */",
    "/*** ( */",
    "/*/ ( */",
    "/",
    "*",
    "/=",
    "!",
    "#",
    "#!",
    "->",
    "=>",
    "|",
    "||",
    "<",
    ">>",
    "&&",
    ",",
    ";",
    ":",
    "::",
    "..",
    "?",
    "@",
    "$",
    "~",
    "+",
    "-",
    "%",
    "^",
    " ",
    "\t",
    "\r\n",
    "\u{200e}",
    "\u{2003}",
    "\u{85}",
    "()",
    "[]",
    "{}",
];

#[test]
fn tokens_are_where_proc_macro2_sees_them() {
    for piece in PIECES {
        let text = format!("{{ a {piece}\n(b) }}");
        let (expected, _) = seen_by_proc_macro2(&text).expect(piece);
        assert_eq!(seen_here(&text), expected, "{text}");
    }
    let text = "fn f<'a>(x: &'a str) -> char { /* } */ let s = r#\"}\"\"#; // }\n b'\\'' as char + '}' }";
    assert_eq!(seen_here(text), seen_by_proc_macro2(text).unwrap().0);
}

fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(PIECES).prop_map(str::to_owned);
    let group = |soup: BoxedStrategy<String>| {
        let delimiters = prop::sample::select(&[("(", ")"), ("[", "]"), ("{", "}")][..]);
        (delimiters, soup).prop_map(|((open, close), soup)| format!("{open}{soup}{close}"))
    };
    piece.boxed().prop_recursive(6, 40, 6, move |inner| {
        let joined = (prop::collection::vec(inner.clone(), 1..6), prop::sample::select(&["", " "][..]))
            .prop_map(|(pieces, separator)| pieces.join(separator));
        prop_oneof![joined, group(inner)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_soup_that_proc_macro2_can_lex_has_its_tokens_here(text in soup()) {
        if let Some((expected, count)) = seen_by_proc_macro2(&text) {
            prop_assert_eq!(seen_here(&text), expected);
            prop_assert!(Lexer::new(&text).count() >= count);
        }
    }

    #[test]
    fn any_text_at_all_is_read_to_its_end(text in "[\\PC\"'/*#rb(){}\\\\\n]{0,40}") {
        prop_assert!(Lexer::new(&text).count() <= text.len());
    }
}
