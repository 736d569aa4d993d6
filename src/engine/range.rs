//! From what a caller means to a range of bytes of one text.

use std::ops::Range;

use crate::{
    error::{GuardKind, IoErrorKind},
    position::{LineIndex, Position, PositionEncoding, PositionError, nearest_boundaries},
};

/// A half-open range of a text; an empty one is an insertion point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextRange {
    /// Offsets into the file's raw bytes.
    Bytes { start: u64, end: u64 },
    /// Lines and characters from 0, which begin after a byte order mark.
    Positions { start: Position, end: Position, encoding: PositionEncoding },
}

/// Places of an ambiguous text that are reported.
const MAX_PLACES: usize = 10;
/// Places that are counted; more say nothing more, and a text that overlaps itself would take time without end.
const MAX_COUNT: usize = 1_000;

/// A text in which ranges are looked up; its lines are counted when they are first needed.
pub(super) struct RangeFinder<'t> {
    text: &'t str,
    /// The text is that of an open document.
    is_document: bool,
    lines: Option<LineIndex<'t>>,
}

impl<'t> RangeFinder<'t> {
    pub fn new(text: &'t str, is_document: bool) -> Self {
        Self { text, is_document, lines: None }
    }

    /// Finds the range meant by a range, an expected text, or both: then the text has to stand at the range.
    ///
    /// With neither it is the whole text.
    pub fn find(&mut self, range: Option<TextRange>, expected: Option<&str>) -> Result<Range<usize>, IoErrorKind> {
        let Some(range) = range else {
            return expected.map_or(Ok(0..self.text.len()), |expected| self.only_place(expected));
        };
        let range = match range {
            TextRange::Bytes { start, end } => self.offset(start)?..self.offset(end)?,
            TextRange::Positions { start, end, encoding } => {
                let index = if self.is_document { LineIndex::of_document } else { LineIndex::new };
                let lines = self.lines.get_or_insert_with(|| index(self.text));
                let offset =
                    |position| lines.offset(position, encoding).map_err(|error| position_error(self.text, error));
                offset(start)?..offset(end)?
            }
        };
        if range.start > range.end {
            return Err(self.out_of_range());
        }
        match expected {
            Some(expected) if self.text[range.clone()] != *expected => {
                Err(IoErrorKind::ContentMismatch { guard: GuardKind::ExpectedText, actual: None })
            }
            _ => Ok(range),
        }
    }

    fn offset(&self, offset: u64) -> Result<usize, IoErrorKind> {
        let offset = usize::try_from(offset).map_err(|_| self.out_of_range())?;
        if offset > self.text.len() {
            return Err(self.out_of_range());
        }
        if !self.text.is_char_boundary(offset) {
            return Err(IoErrorKind::InvalidCharBoundary { nearest: nearest_boundaries(self.text, offset) });
        }
        Ok(offset)
    }

    fn out_of_range(&self) -> IoErrorKind {
        IoErrorKind::OutOfRange { file_bytes: self.text.len() as u64 }
    }

    /// The one place where a text stands; places may overlap ("aa" stands twice in "aaa").
    fn only_place(&self, wanted: &str) -> Result<Range<usize>, IoErrorKind> {
        let mut places = Vec::new();
        let mut count = 0;
        let mut from = 0;
        while let Some(at) = self.text.get(from..).and_then(|rest| rest.find(wanted)) {
            let start = from + at;
            count += 1;
            if places.len() < MAX_PLACES {
                places.push(start..start + wanted.len());
            }
            if count == MAX_COUNT {
                break;
            }
            from = start + self.text[start..].chars().next().map_or(1, char::len_utf8);
        }
        match (count, places.pop()) {
            (0, _) => Err(IoErrorKind::TextNotFound),
            (1, Some(place)) => Ok(place),
            (_, last) => {
                places.extend(last);
                Err(IoErrorKind::AmbiguousText { count, byte_ranges: places })
            }
        }
    }
}

fn position_error(text: &str, error: PositionError) -> IoErrorKind {
    match error {
        PositionError::OutOfRange => IoErrorKind::OutOfRange { file_bytes: text.len() as u64 },
        PositionError::InvalidCharBoundary { nearest } => IoErrorKind::InvalidCharBoundary { nearest },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, range: Option<(u64, u64)>, expected: Option<&str>) -> String {
        let range = range.map(|(start, end)| TextRange::Bytes { start, end });
        match RangeFinder::new(text, false).find(range, expected) {
            Ok(range) => format!("{range:?}"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn ranges_are_checked_and_texts_found() {
        let mismatch = "ContentMismatch { guard: ExpectedText, actual: None }";
        for (text, range, expected, result) in [
            ("abc", None, None, "0..3"),
            ("abc", Some((1, 2)), None, "1..2"),
            ("abc", Some((3, 3)), None, "3..3"),
            ("abc", Some((1, 2)), Some("b"), "1..2"),
            ("abc", Some((1, 2)), Some("c"), mismatch),
            ("abc", Some((2, 1)), None, "OutOfRange { file_bytes: 3 }"),
            ("abc", Some((0, 4)), None, "OutOfRange { file_bytes: 3 }"),
            ("abc", Some((0, u64::MAX)), None, "OutOfRange { file_bytes: 3 }"),
            ("aäb", Some((2, 4)), None, "InvalidCharBoundary { nearest: [1, 3] }"),
            ("🦀", Some((0, 3)), None, "InvalidCharBoundary { nearest: [0, 4] }"),
            ("a b a", None, Some("b"), "2..3"),
            ("a b a", None, Some("x"), "TextNotFound"),
            ("a b a", None, Some("a"), "AmbiguousText { count: 2, byte_ranges: [0..1, 4..5] }"),
            ("aaa", None, Some("aa"), "AmbiguousText { count: 2, byte_ranges: [0..2, 1..3] }"),
            ("ää", None, Some("ä"), "AmbiguousText { count: 2, byte_ranges: [0..2, 2..4] }"),
            ("", None, Some(""), "0..0"),
            ("a", None, Some(""), "AmbiguousText { count: 2, byte_ranges: [0..0, 1..1] }"),
        ] {
            assert_eq!(find(text, range, expected), result, "{text:?} {range:?} {expected:?}");
        }
    }

    #[test]
    fn only_the_first_ten_places_are_reported() {
        let error = RangeFinder::new(&"x ".repeat(50), false).find(None, Some("x")).unwrap_err();
        assert!(matches!(error, IoErrorKind::AmbiguousText { count: 50, byte_ranges } if byte_ranges.len() == 10));
    }
}
