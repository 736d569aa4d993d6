//! Byte offsets and LSP positions.

/// A place in a text as LSP gives it: both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u32,
    /// In code units of the encoding.
    pub character: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PositionEncoding {
    #[default]
    Utf8,
    Utf16,
    Utf32,
}
