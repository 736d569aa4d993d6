//! Byte offsets and LSP positions.

use std::{
    borrow::Cow,
    ops::{Range, RangeInclusive},
};

const BOM: &str = "\u{feff}";

/// The lines of one text, to turn LSP positions into byte offsets and back.
///
/// A line ends at LF, CRLF or a lone CR; after the last of them one more line begins, which may be empty.
/// Positions begin after a byte order mark, byte offsets count it.
#[derive(Debug, Clone)]
pub struct LineIndex<'a> {
    text: Cow<'a, str>,
    /// Byte offset at which each line begins, ascending; at least one, the first one after a byte order mark.
    line_starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    pub fn new(text: &'a str) -> Self {
        Self::starting_at(text.into(), if text.starts_with(BOM) { BOM.len() } else { 0 })
    }

    /// The lines of a document that an editor has open: a byte order mark in its text is a character like others.
    pub fn of_document(text: impl Into<Cow<'a, str>>) -> Self {
        Self::starting_at(text.into(), 0)
    }

    fn starting_at(text: Cow<'a, str>, first: usize) -> Self {
        let mut line_starts = vec![first];
        line_starts.extend(line_starts_in(text.as_bytes(), 1..=text.len()));
        Self { text, line_starts }
    }

    /// Replaces a range of bytes between character boundaries, without looking at the lines before and after it again.
    #[cfg(feature = "server")]
    pub(crate) fn replace(&mut self, range: Range<usize>, new: &str) {
        self.text.to_mut().replace_range(range.clone(), new);
        let (first, end) = (range.start.max(1), range.start + new.len());
        let changed = self.line_starts.partition_point(|start| *start < first).max(1);
        let behind = self.line_starts.partition_point(|start| *start <= range.end).max(changed);
        for start in &mut self.line_starts[behind..] {
            *start = *start - range.len() + new.len();
        }
        self.line_starts.splice(changed..behind, line_starts_in(self.text.as_bytes(), first..=end));
    }

    #[cfg(feature = "server")]
    pub(crate) fn into_text(self) -> String {
        self.text.into_owned()
    }

    /// Byte offset of a position, always on a character boundary.
    ///
    /// A character beyond its line's end means the line's end, before its line terminator.
    pub fn offset(&self, position: Position, encoding: PositionEncoding) -> Result<usize, PositionError> {
        let line = self.line(position.line as usize).ok_or(PositionError::OutOfRange)?;
        let wanted = position.character as usize;
        let mut units = 0;
        for (at, character) in self.text[line.clone()].char_indices() {
            let before = line.start + at;
            if units == wanted {
                return Ok(before);
            }
            units += encoding.units_of(character);
            if units > wanted {
                return Err(PositionError::InvalidCharBoundary { nearest: [before, before + character.len_utf8()] });
            }
        }
        Ok(line.end)
    }

    /// Position of a byte offset.
    ///
    /// Two places have no position of their own: the one before a byte order mark gets that after it, the one between
    /// CR and LF gets the line's end. An offset above the text's length is out of range, and so is a position above
    /// `u32::MAX`.
    pub fn position(&self, offset: usize, encoding: PositionEncoding) -> Result<Position, PositionError> {
        if offset > self.text.len() {
            return Err(PositionError::OutOfRange);
        }
        if !self.text.is_char_boundary(offset) {
            return Err(PositionError::InvalidCharBoundary { nearest: nearest_boundaries(&self.text, offset) });
        }
        let number = self.line_starts.partition_point(|&start| start <= offset).saturating_sub(1);
        let line = self.line(number).ok_or(PositionError::OutOfRange)?;
        let before = &self.text[line.start..offset.clamp(line.start, line.end)];
        let units: usize = before.chars().map(|character| encoding.units_of(character)).sum();
        match (u32::try_from(number), u32::try_from(units)) {
            (Ok(line), Ok(character)) => Ok(Position { line, character }),
            _ => Err(PositionError::OutOfRange),
        }
    }

    /// Byte range of a line without its terminator.
    fn line(&self, number: usize) -> Option<Range<usize>> {
        let start = *self.line_starts.get(number)?;
        let end = match self.line_starts.get(number + 1) {
            Some(&next) if self.text[start..next].ends_with("\r\n") => next - 2,
            Some(&next) => next - 1,
            None => self.text.len(),
        };
        Some(start..end)
    }
}

/// The places in a range at which a line begins.
fn line_starts_in(text: &[u8], places: RangeInclusive<usize>) -> impl Iterator<Item = usize> + '_ {
    places.filter(|&at| text[at - 1] == b'\n' || (text[at - 1] == b'\r' && text.get(at) != Some(&b'\n')))
}

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

impl PositionEncoding {
    fn units_of(self, character: char) -> usize {
        match self {
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
            Self::Utf32 => 1,
        }
    }
}

/// Why an offset or position is no place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("lies beyond the end of the text")]
    OutOfRange,
    /// The byte offsets before and after the character that would be cut.
    #[error("cuts a character in two; the nearest boundaries are {} and {}", .nearest[0], .nearest[1])]
    InvalidCharBoundary { nearest: [usize; 2] },
}

/// The character boundaries before and after an offset that lies within a character of `text`.
pub(crate) fn nearest_boundaries(text: &str, offset: usize) -> [usize; 2] {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let before = (0..offset).rev().find(is_boundary).unwrap_or(0);
    let after = (offset..text.len()).find(is_boundary).unwrap_or(text.len());
    [before, after]
}

#[cfg(test)]
mod tests {
    use PositionEncoding::{Utf8, Utf16, Utf32};
    use proptest::prelude::*;

    use super::*;

    const ENCODINGS: [PositionEncoding; 3] = [Utf8, Utf16, Utf32];

    fn at(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    /// Offset and position mean each other, in this encoding.
    #[track_caller]
    fn assert_same_place(text: &str, encoding: PositionEncoding, offset: usize, position: Position) {
        let index = LineIndex::new(text);
        assert_eq!(index.offset(position, encoding), Ok(offset), "offset of {position:?} in {text:?}, {encoding:?}");
        assert_eq!(index.position(offset, encoding), Ok(position), "position of {offset} in {text:?}, {encoding:?}");
    }

    #[track_caller]
    fn assert_offset(text: &str, encoding: PositionEncoding, position: Position, expected: Result<usize, [usize; 2]>) {
        let expected = expected.map_err(|nearest| PositionError::InvalidCharBoundary { nearest });
        assert_eq!(LineIndex::new(text).offset(position, encoding), expected, "{position:?} in {text:?}, {encoding:?}");
    }

    #[test]
    fn each_line_terminator_ends_a_line() {
        for encoding in ENCODINGS {
            for (text, second_line) in [("ab\ncd", 3), ("ab\r\ncd", 4), ("ab\rcd", 3)] {
                assert_same_place(text, encoding, 0, at(0, 0));
                assert_same_place(text, encoding, 2, at(0, 2));
                assert_same_place(text, encoding, second_line, at(1, 0));
                assert_same_place(text, encoding, second_line + 2, at(1, 2));
            }
            assert_same_place("\n\r\r\n\n", encoding, 1, at(1, 0));
            assert_same_place("\n\r\r\n\n", encoding, 2, at(2, 0));
            assert_same_place("\n\r\r\n\n", encoding, 4, at(3, 0));
            assert_same_place("\n\r\r\n\n", encoding, 5, at(4, 0));
        }
    }

    #[test]
    fn the_end_of_the_text_has_a_position_with_and_without_a_last_newline() {
        for encoding in ENCODINGS {
            assert_same_place("", encoding, 0, at(0, 0));
            assert_same_place("ab", encoding, 2, at(0, 2));
            assert_same_place("ab\n", encoding, 3, at(1, 0));
            assert_same_place("ab\r\n", encoding, 4, at(1, 0));
            assert_same_place("ab\r", encoding, 3, at(1, 0));
        }
    }

    #[test]
    fn positions_begin_after_a_byte_order_mark_and_offsets_count_it() {
        for encoding in ENCODINGS {
            assert_same_place("\u{feff}ab\ncd", encoding, 3, at(0, 0));
            assert_same_place("\u{feff}ab\ncd", encoding, 5, at(0, 2));
            assert_same_place("\u{feff}ab\ncd", encoding, 6, at(1, 0));
            assert_same_place("\u{feff}", encoding, 3, at(0, 0));
            let index = LineIndex::new("\u{feff}a");
            assert_eq!(index.position(0, encoding), Ok(at(0, 0)));
            assert_eq!(index.position(1, encoding), Err(PositionError::InvalidCharBoundary { nearest: [0, 3] }));
        }
        assert_same_place("a\u{feff}b", Utf16, 4, at(0, 2));
    }

    #[test]
    fn characters_count_in_units_of_the_encoding() {
        let text = "aé€𝄞b\nx";
        for (encoding, characters) in
            [(Utf8, [0, 1, 3, 6, 10, 11]), (Utf16, [0, 1, 2, 3, 5, 6]), (Utf32, [0, 1, 2, 3, 4, 5])]
        {
            for (offset, character) in [0, 1, 3, 6, 10, 11].into_iter().zip(characters) {
                assert_same_place(text, encoding, offset, at(0, character));
            }
            assert_same_place(text, encoding, 12, at(1, 0));
        }
    }

    #[test]
    fn a_character_beyond_the_line_means_its_end() {
        for encoding in ENCODINGS {
            for text in ["ab\ncd", "ab\r\ncd", "ab\rcd", "ab"] {
                assert_offset(text, encoding, at(0, 3), Ok(2));
                assert_offset(text, encoding, at(0, u32::MAX), Ok(2));
            }
            assert_offset("ab\n", encoding, at(1, 7), Ok(3));
            assert_offset("", encoding, at(0, 1), Ok(0));
            assert_offset("\u{feff}", encoding, at(0, 1), Ok(3));
        }
    }

    #[test]
    fn the_middle_of_a_character_or_surrogate_pair_is_refused_with_the_offsets_around_it() {
        assert_offset("aé", Utf8, at(0, 2), Err([1, 3]));
        for inside in 2..5 {
            assert_offset("x\na𝄞b", Utf8, at(1, inside), Err([3, 7]));
        }
        assert_offset("x\na𝄞b", Utf16, at(1, 2), Err([3, 7]));
        assert_offset("x\na𝄞b", Utf32, at(1, 2), Ok(7));

        let index = LineIndex::new("a𝄞b");
        for inside in 2..5 {
            assert_eq!(index.position(inside, Utf16), Err(PositionError::InvalidCharBoundary { nearest: [1, 5] }));
        }
    }

    #[test]
    fn what_lies_beyond_the_text_is_out_of_range() {
        for encoding in ENCODINGS {
            for (text, lines) in [("", 1), ("ab", 1), ("ab\n", 2), ("ab\r\ncd", 2)] {
                let index = LineIndex::new(text);
                assert_eq!(index.offset(at(lines, 0), encoding), Err(PositionError::OutOfRange));
                assert_eq!(index.offset(at(u32::MAX, 0), encoding), Err(PositionError::OutOfRange));
                assert_eq!(index.position(text.len() + 1, encoding), Err(PositionError::OutOfRange));
            }
        }
    }

    #[test]
    fn an_offset_between_cr_and_lf_gets_the_end_of_the_line() {
        assert_eq!(LineIndex::new("ab\r\ncd").position(3, Utf8), Ok(at(0, 2)));
    }

    proptest! {
        #[test]
        fn every_offset_survives_the_way_to_a_position_and_back(
            text in "\u{feff}?([a-c\r\n]|é|€|𝄞|\u{2028}|\r\n){0,40}",
        ) {
            let index = LineIndex::new(&text);
            for (offset, _) in text.char_indices().chain([(text.len(), ' ')]) {
                let between_cr_and_lf = text[..offset].ends_with('\r') && text[offset..].starts_with('\n');
                let before_bom = offset == 0 && text.starts_with(BOM);
                for encoding in ENCODINGS {
                    let position = index.position(offset, encoding).unwrap();
                    let expected = match offset {
                        _ if between_cr_and_lf => offset - 1,
                        _ if before_bom => BOM.len(),
                        _ => offset,
                    };
                    prop_assert_eq!(index.offset(position, encoding), Ok(expected));
                }
            }
        }

        #[cfg(feature = "server")]
        #[test]
        fn lines_that_are_edited_are_those_of_the_text_they_become(
            first in "([a-c\r\n]|\r\n){0,12}",
            edits in prop::collection::vec((any::<[prop::sample::Index; 2]>(), "([a-c\r\n]|\r\n){0,4}"), 1..5),
        ) {
            let mut edited = LineIndex::of_document(first);
            for ([one, other], new) in edits {
                let (one, other) = (one.index(edited.text.len() + 1), other.index(edited.text.len() + 1));
                edited.replace(one.min(other)..one.max(other), &new);
                prop_assert_eq!(&edited.line_starts, &LineIndex::of_document(&*edited.text).line_starts);
            }
        }

        #[test]
        fn positions_are_as_ordered_as_their_offsets(text in "([a-c\r\n]|é|𝄞){0,40}") {
            let index = LineIndex::new(&text);
            for encoding in ENCODINGS {
                let positions: Vec<_> =
                    text.char_indices().map(|(offset, _)| index.position(offset, encoding).unwrap()).collect();
                prop_assert!(positions.is_sorted());
            }
        }
    }
}
