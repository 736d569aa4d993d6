//! Where the tokens of a Rust text begin, without building them.

/// Yields the tokens of a text with the byte offset of each.
///
/// On a text that proc-macro2 can lex, words, literals, comments and delimiters are exactly where it sees them; on any
/// other text the tokens up to the first error are. Punctuation comes one character at a time, and a number such as
/// `1.5` in pieces, so there are never fewer tokens than proc-macro2 sees.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open(Delimiter),
    Close,
    /// Identifier or keyword; raw identifiers with their `r#`.
    Word(&'a str),
    /// Number, character or string.
    Literal,
    Lifetime,
    DocComment,
    Punct(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Parenthesis,
    Bracket,
    Brace,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn byte_at(&self, offset: usize) -> Option<u8> {
        self.text.as_bytes().get(offset).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves past the next `pattern`, or to the end if there is none.
    fn skip_past(&mut self, pattern: &str) {
        self.at = self.rest().find(pattern).map_or(self.text.len(), |found| self.at + found + pattern.len());
    }

    fn skip_word(&mut self) -> &'a str {
        let start = self.at;
        while let Some(byte) = self.byte_at(self.at) {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                self.at += 1;
            } else if byte.is_ascii() {
                break;
            } else {
                match self.rest().chars().next() {
                    Some(character) if !is_white_space(character) => self.at += character.len_utf8(),
                    _ => break,
                }
            }
        }
        &self.text[start..self.at]
    }

    /// Skips a comment; `true` if it counts as a token.
    fn skip_comment(&mut self) -> bool {
        let rest = self.rest();
        if rest.starts_with("//") {
            self.skip_past("\n");
            rest.starts_with("//!") || (rest.starts_with("///") && !rest.starts_with("////"))
        } else {
            self.skip_block_comment();
            let is_empty = rest.starts_with("/**/");
            rest.starts_with("/*!") || (rest.starts_with("/**") && !rest.starts_with("/***") && !is_empty)
        }
    }

    fn skip_block_comment(&mut self) {
        let bytes = self.text.as_bytes();
        let mut depth = 0;
        while let Some(pair) = bytes.get(self.at..self.at + 2) {
            match pair {
                b"/*" => depth += 1,
                b"*/" => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
        self.at = bytes.len();
    }

    /// A word, or the literal that begins like one.
    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        let word = self.skip_word();
        match (word, self.byte_at(self.at)) {
            ("b" | "c", Some(b'"')) => self.string(),
            ("b", Some(b'\'')) => self.quote(),
            ("r" | "br" | "cr", Some(b'"' | b'#')) => self.raw(start),
            _ if word.starts_with(|first: char| first.is_ascii_digit()) => Token::Literal,
            _ => Token::Word(word),
        }
    }

    /// What follows the prefix of a raw string: one, or the rest of a raw identifier.
    fn raw(&mut self, start: usize) -> Token<'a> {
        let after_prefix = self.at;
        let hashes = self.rest().bytes().take_while(|&byte| byte == b'#').count();
        self.at += hashes;
        if self.byte_at(self.at) == Some(b'"') {
            self.at += 1;
            let end = format!("\"{}", &self.text[after_prefix..after_prefix + hashes]);
            self.skip_past(&end);
            return self.suffixed();
        }
        self.skip_word();
        Token::Word(&self.text[start..self.at])
    }

    fn string(&mut self) -> Token<'a> {
        self.at += 1;
        while let Some(byte) = self.byte_at(self.at) {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        self.at = self.at.min(self.text.len());
        self.suffixed()
    }

    /// A character or a lifetime.
    fn quote(&mut self) -> Token<'a> {
        self.at += 1;
        let mut characters = self.rest().chars();
        match (characters.next(), characters.next()) {
            (Some('\\'), Some(escaped)) => {
                self.at += 1 + escaped.len_utf8();
                self.skip_past("'");
            }
            (Some(character), Some('\'')) => self.at += character.len_utf8() + 1,
            _ => {
                let name = self.at;
                match (self.skip_word(), self.byte_at(self.at)) {
                    ("r", Some(b'#')) => {
                        self.at += 1;
                        self.skip_word();
                    }
                    // proc-macro2 takes this for a quote and a string with a prefix.
                    ("b" | "c" | "r" | "br" | "cr", Some(b'"')) => self.at = name,
                    _ => {}
                }
                return Token::Lifetime;
            }
        }
        self.suffixed()
    }

    /// A string or character up to the end of its suffix, as in `"a"c`.
    fn suffixed(&mut self) -> Token<'a> {
        if !self.byte_at(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip_word();
        }
        Token::Literal
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let token = match self.byte_at(start)? {
                b' ' | b'\t'..=b'\r' => {
                    self.at += 1;
                    continue;
                }
                b'/' if matches!(self.byte_at(start + 1), Some(b'/' | b'*')) => {
                    if !self.skip_comment() {
                        continue;
                    }
                    Token::DocComment
                }
                b'"' => self.string(),
                b'\'' => self.quote(),
                byte if byte.is_ascii_alphanumeric() || byte == b'_' => self.word(),
                byte if byte.is_ascii() => {
                    self.at += 1;
                    match byte {
                        b'(' => Token::Open(Delimiter::Parenthesis),
                        b'[' => Token::Open(Delimiter::Bracket),
                        b'{' => Token::Open(Delimiter::Brace),
                        b')' | b']' | b'}' => Token::Close,
                        _ => Token::Punct(byte),
                    }
                }
                _ => match self.rest().chars().next() {
                    Some(character) if is_white_space(character) => {
                        self.at += character.len_utf8();
                        continue;
                    }
                    _ => self.word(),
                },
            };
            return Some((start, token));
        }
    }
}

/// As Rust has it, the marks of writing direction among them.
fn is_white_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests;
