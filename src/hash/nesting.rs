//! How deep syn would recurse into a text, found out before it does.
//!
//! syn calls itself for each level of what it parses, prints and drops. Levels come from delimiters, and from chains
//! between them: `!!!x`, `a + b + c`, `x.f().g()`, `if … else if …`, `A<B<C>>`, `|a| |b| c`. Each level takes at least
//! one token, and a chain ends where a statement, an item, a match arm or an element of a list does. So the tokens
//! since the last such end, added up over the delimiters that are open, are a bound. Where it is unclear whether a
//! chain ends, it counts as going on.

use super::{
    ParseError,
    lexer::{Delimiter, Lexer, Token},
};

/// The most levels that are let pass: a sum of ten thousand terms, or as many method calls on one value.
pub(super) const MAX_LEVELS: usize = 30_000;

/// A bound on how many levels syn would recurse into a text; more than [`MAX_LEVELS`] are refused.
///
/// It says nothing about a text that proc-macro2 can not lex: that is refused before anything recurses.
pub(super) fn levels(text: &str) -> Result<usize, ParseError> {
    levels_within(text, MAX_LEVELS)
}

pub(super) fn levels_within(text: &str, limit: usize) -> Result<usize, ParseError> {
    // proc-macro2 skips a byte order mark, which can be the second one of a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer::new(text);
    let mut most = 0;
    let mut open = vec![Group::new(false, Prev::Operator)];
    // Levels of all groups but the innermost.
    let mut outer = 0;
    while let Some((at, token)) = lexer.next() {
        // None is left where there is a closing delimiter too many, and such a text does not lex.
        let Some(group) = open.last_mut() else { break };
        match token {
            Token::Close => {
                let closed_as = group.closes_as;
                open.pop();
                if let Some(group) = open.last_mut() {
                    outer -= group.chain;
                    group.after_group(closed_as);
                }
                continue;
            }
            _ if group.in_macro => group.chain = usize::from(matches!(token, Token::Open(_))),
            _ => group.token(token, at, &lexer),
        }
        let levels = outer + group.chain;
        if levels > limit {
            return Err(too_deep(text, at));
        }
        most = most.max(levels);
        if let Token::Open(delimiter) = token {
            let inner = group.open(delimiter);
            open.push(inner);
            outer = levels;
        }
    }
    Ok(most)
}

fn too_deep(text: &str, at: usize) -> ParseError {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ParseError {
        line: 1 + before.bytes().filter(|&byte| byte == b'\n').count(),
        column: 1 + before[line_start..].chars().count(),
        message: "nested too deeply".to_owned(),
    }
}

/// An open pair of delimiters, or the whole text.
struct Group {
    /// The arguments of a macro are not parsed: delimiters count, chains do not.
    in_macro: bool,
    closes_as: Prev,
    prev: Prev,
    /// Tokens since the last end of a chain.
    chain: usize,
    /// Angle brackets that may be open; a comma within them ends nothing.
    angles: usize,
    /// Within the parameters of a closure: how many angle brackets were open before them.
    parameters: Option<usize>,
    /// A `|` may or may not have begun the parameters of a closure: no comma can be trusted.
    unsure: bool,
}

/// What the token before was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prev {
    /// An operand begins next.
    Operator,
    /// `let` or `for`: a pattern begins next.
    PatternKeyword,
    /// An operand has ended, an operator comes next.
    Operand,
    /// The same; a `!` would make it the name of a macro.
    Name,
    /// The `!` after the name of a macro.
    MacroBang,
    /// An operand may have ended, or may begin next: `>` of generics or comparison, `!` of a type or operator.
    Either,
    /// The first half of the operator `||`.
    HalfOr,
    Hash,
    FatArrow,
    /// A group in braces has ended, maybe a statement, item or arm with it.
    Braces,
    /// The body of a match arm in braces has ended, the arm with it.
    ArmBody,
}

impl Group {
    fn new(in_macro: bool, closes_as: Prev) -> Self {
        Self { in_macro, closes_as, prev: Prev::Operator, chain: 0, angles: 0, parameters: None, unsure: false }
    }

    /// The group that begins after what has been seen of this one.
    fn open(&mut self, delimiter: Delimiter) -> Self {
        let closes_as = match (delimiter, self.prev) {
            (Delimiter::Brace, Prev::FatArrow) => Prev::ArmBody,
            (Delimiter::Brace, _) => Prev::Braces,
            (Delimiter::Bracket, Prev::Hash) => Prev::Operator,
            _ => Prev::Operand,
        };
        Self::new(self.in_macro || self.prev == Prev::MacroBang, closes_as)
    }

    fn after_group(&mut self, closed_as: Prev) {
        self.prev = closed_as;
        if closed_as == Prev::ArmBody {
            self.end_chain();
        }
    }

    fn end_chain(&mut self) {
        self.chain = 0;
        self.angles = 0;
        self.parameters = None;
        self.unsure = false;
    }

    fn token(&mut self, token: Token, at: usize, lexer: &Lexer) {
        if self.prev == Prev::Braces && begins_anew(token) {
            self.end_chain();
        }
        // Attributes stand side by side; the documentation of an item may be longer than any chain.
        self.chain += usize::from(token != Token::DocComment);
        match token {
            Token::Word(word) => self.prev = after_word(word),
            Token::Literal => self.prev = Prev::Operand,
            Token::Lifetime => self.prev = Prev::Either,
            Token::DocComment => self.prev = Prev::Operator,
            Token::Punct(byte) => self.prev = self.punct(byte, at, lexer),
            Token::Open(_) | Token::Close => {}
        }
    }

    fn punct(&mut self, byte: u8, at: usize, lexer: &Lexer) -> Prev {
        let before = at.checked_sub(1).and_then(|before| lexer.byte_at(before));
        let after = lexer.byte_at(at + 1);
        match byte {
            b';' => self.end_chain(),
            b',' if self.angles == 0 && self.parameters.is_none() && !self.unsure => self.end_chain(),
            b'<' if after != Some(b'=') => self.angles += 1,
            b'>' if before == Some(b'=') => return Prev::FatArrow,
            b'>' if before != Some(b'-') => {
                if self.angles > self.parameters.unwrap_or(0) {
                    self.angles -= 1;
                }
                return Prev::Either;
            }
            b'|' => return self.bar(after),
            b'!' if self.prev == Prev::Name => return Prev::MacroBang,
            // `#!` begins an attribute as `#` does.
            b'!' if self.prev == Prev::Hash => return Prev::Hash,
            b'!' | b'.' => return Prev::Either,
            b'?' => return Prev::Operand,
            b'#' => return Prev::Hash,
            _ => {}
        }
        Prev::Operator
    }

    fn bar(&mut self, after: Option<u8>) -> Prev {
        if let Some(angles) = self.parameters.take() {
            self.angles = angles;
            return Prev::Operator;
        }
        match self.prev {
            Prev::Operator | Prev::FatArrow => self.parameters = Some(self.angles),
            Prev::Operand | Prev::Name | Prev::Braces | Prev::ArmBody if after == Some(b'|') => return Prev::HalfOr,
            Prev::Operand | Prev::Name | Prev::Braces | Prev::ArmBody => {}
            Prev::HalfOr | Prev::PatternKeyword => {}
            Prev::Either | Prev::MacroBang | Prev::Hash => self.unsure = true,
        }
        Prev::Operator
    }
}

fn after_word(word: &str) -> Prev {
    match word {
        "let" | "for" => Prev::PatternKeyword,
        "self" | "Self" | "super" | "crate" | "true" | "false" | "await" | "_" => Prev::Operand,
        // Keywords in some places only; no macro is called so.
        "auto" | "builtin" | "default" | "gen" | "raw" | "safe" | "union" => Prev::Operand,
        "abstract" | "as" | "async" | "become" | "box" | "break" | "const" | "continue" | "do" | "dyn" | "else"
        | "enum" | "extern" | "final" | "fn" | "if" | "impl" | "in" | "loop" | "macro" | "match" | "mod" | "move"
        | "mut" | "override" | "priv" | "pub" | "ref" | "return" | "static" | "struct" | "trait" | "try" | "type"
        | "typeof" | "unsafe" | "unsized" | "use" | "virtual" | "where" | "while" | "yield" => Prev::Operator,
        _ => Prev::Name,
    }
}

/// Whether a token after a group in braces can only begin another statement, item or arm.
fn begins_anew(token: Token) -> bool {
    match token {
        Token::Word(word) => !matches!(word, "else" | "as" | "in"),
        Token::Literal | Token::Lifetime | Token::DocComment | Token::Punct(b'#') => true,
        Token::Punct(_) | Token::Open(_) | Token::Close => false,
    }
}

#[cfg(test)]
mod tests;
