//! Checked edits of one text: pure, no files.

use std::ops::Range;

use crate::position::nearest_boundaries;

/// Edits of one text, all relative to the same original, that are known to fit it and each other.
///
/// Ranges are half-open, in bytes. An edit with an empty range is an insertion and may touch another edit on either
/// side: several at one point apply in the order given, and before a replacement that begins there.
#[derive(Debug, Clone)]
pub struct Splice<'a> {
    text: &'a str,
    /// Disjoint and sorted, within `text` and on its character boundaries.
    edits: Vec<Edit>,
}

impl<'a> Splice<'a> {
    /// Checks the edits; the first one that does not fit is the error.
    pub fn new(text: &'a str, edits: Vec<(Range<usize>, String)>) -> Result<Self, SpliceError> {
        let mut edits: Vec<Edit> =
            edits.into_iter().enumerate().map(|(index, (range, new_text))| Edit { index, range, new_text }).collect();
        for edit in &edits {
            edit.check(text)?;
        }
        edits.sort_by_key(|edit| (edit.range.start, !edit.range.is_empty()));
        for pair in edits.windows(2) {
            if pair[0].range.end > pair[1].range.start {
                let (one, other) = (pair[0].index, pair[1].index);
                return Err(SpliceError::Overlapping { first: one.min(other), second: one.max(other) });
            }
        }
        Ok(Self { text, edits })
    }

    /// The text with all edits made.
    pub fn apply(&self) -> String {
        let removed: usize = self.edits.iter().map(|edit| edit.range.len()).sum();
        let inserted: usize = self.edits.iter().map(|edit| edit.new_text.len()).sum();
        let mut result = String::with_capacity(self.text.len() - removed + inserted);
        let mut copied = 0;
        for edit in &self.edits {
            result.push_str(&self.text[copied..edit.range.start]);
            result.push_str(&edit.new_text);
            copied = edit.range.end;
        }
        result.push_str(&self.text[copied..]);
        result
    }

    /// Each edit's range in the old text and that of its new text in the result, in the order the edits were given.
    pub fn ranges(&self) -> Vec<(Range<usize>, Range<usize>)> {
        let mut ranges = vec![(0..0, 0..0); self.edits.len()];
        let mut copied = 0;
        let mut written = 0;
        for edit in &self.edits {
            let start = written + (edit.range.start - copied);
            let end = start + edit.new_text.len();
            ranges[edit.index] = (edit.range.clone(), start..end);
            copied = edit.range.end;
            written = end;
        }
        ranges
    }

    /// Length of the result less that of the text, in bytes.
    pub fn byte_delta(&self) -> i64 {
        self.edits.iter().map(|edit| edit.new_text.len() as i64 - edit.range.len() as i64).sum()
    }
}

/// Why edits do not fit their text; edits are named by their index in the order given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// The range ends after the text, or before it starts.
    #[error("edit {edit} lies outside of the text or starts after its end; the text has {file_bytes} bytes")]
    OutOfRange { edit: usize, file_bytes: u64 },
    #[error("edit {edit} cuts a character in two; the nearest boundaries are {} and {}", .nearest[0], .nearest[1])]
    InvalidCharBoundary { edit: usize, nearest: [usize; 2] },
    /// `first` is less than `second`.
    #[error("edits {first} and {second} overlap")]
    Overlapping { first: usize, second: usize },
}

#[derive(Debug, Clone)]
struct Edit {
    /// Place in the order given.
    index: usize,
    range: Range<usize>,
    new_text: String,
}

impl Edit {
    fn check(&self, text: &str) -> Result<(), SpliceError> {
        let Range { start, end } = self.range;
        if start > end || end > text.len() {
            return Err(SpliceError::OutOfRange { edit: self.index, file_bytes: text.len() as u64 });
        }
        match [start, end].into_iter().find(|&at| !text.is_char_boundary(at)) {
            Some(at) => {
                Err(SpliceError::InvalidCharBoundary { edit: self.index, nearest: nearest_boundaries(text, at) })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;

    type Given<'a> = (Range<usize>, &'a str);

    fn splice<'a>(text: &'a str, edits: &[Given]) -> Result<Splice<'a>, SpliceError> {
        Splice::new(text, edits.iter().map(|(range, new)| (range.clone(), new.to_string())).collect())
    }

    #[track_caller]
    fn assert_applied(text: &str, edits: &[Given], expected: &str) {
        let splice = splice(text, edits).unwrap();
        assert_eq!(splice.apply(), expected);
        assert_eq!(splice.byte_delta(), expected.len() as i64 - text.len() as i64);
    }

    #[track_caller]
    fn assert_refused(text: &str, edits: &[Given], expected: SpliceError) {
        assert_eq!(splice(text, edits).unwrap_err(), expected);
    }

    #[test]
    fn edits_apply_whatever_their_order() {
        assert_applied("abcdef", &[], "abcdef");
        assert_applied("abcdef", &[(4..5, "E"), (0..2, "")], "cdEf");
        assert_applied("abcdef", &[(0..6, "x")], "x");
        assert_applied("", &[(0..0, "x")], "x");
    }

    #[test]
    fn replacements_may_touch() {
        assert_applied("abcd", &[(2..4, "Y"), (0..2, "X")], "XY");
    }

    #[test]
    fn insertions_at_one_point_apply_in_the_order_given() {
        assert_applied("ab", &[(1..1, "1"), (1..1, "2"), (1..1, "3")], "a123b");
    }

    #[test]
    fn an_insertion_may_touch_a_replacement_on_either_side() {
        assert_applied("abcd", &[(1..3, "X"), (1..1, "<"), (3..3, ">")], "a<X>d");
        assert_applied("abcd", &[(3..3, ">"), (1..1, "<"), (1..3, "X")], "a<X>d");
    }

    #[test]
    fn an_insertion_at_the_seam_of_two_replacements_stands_between_them() {
        assert_applied("abcd", &[(0..2, "X"), (2..4, "Y"), (2..2, "|")], "X|Y");
    }

    #[test]
    fn overlapping_edits_are_refused_by_the_indices_given() {
        let overlapping = |first, second| SpliceError::Overlapping { first, second };
        assert_refused("abcdef", &[(2..5, ""), (1..3, "")], overlapping(0, 1));
        assert_refused("abcdef", &[(2..4, "x"), (2..4, "x")], overlapping(0, 1));
        assert_refused("abcdef", &[(5..6, ""), (3..3, "x"), (2..4, "")], overlapping(1, 2));
        assert_refused("abcdef", &[(0..6, ""), (1..1, "x"), (4..5, "x")], overlapping(0, 1));
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)] // a client can send one
    fn ranges_outside_of_the_text_are_refused() {
        let out_of_range = |edit, file_bytes| SpliceError::OutOfRange { edit, file_bytes };
        assert_refused("abc", &[(0..1, ""), (2..4, "")], out_of_range(1, 3));
        assert_refused("abc", &[(4..4, "x")], out_of_range(0, 3));
        assert_refused("abc", &[(2..1, "x")], out_of_range(0, 3));
        assert_refused("abc", &[(usize::MAX..usize::MAX, "x")], out_of_range(0, 3));
        assert_applied("abc", &[(3..3, "x")], "abcx");
    }

    #[test]
    fn a_range_that_cuts_a_character_is_refused_with_the_nearest_boundaries() {
        let cut = |edit, nearest| SpliceError::InvalidCharBoundary { edit, nearest };
        assert_refused("a𝄞b", &[(0..1, ""), (2..5, "")], cut(1, [1, 5]));
        assert_refused("a𝄞b", &[(0..4, "")], cut(0, [1, 5]));
        assert_refused("a𝄞b", &[(3..3, "x")], cut(0, [1, 5]));
        assert_refused("é", &[(1..1, "x")], cut(0, [0, 2]));
    }

    #[test]
    fn new_ranges_come_in_the_order_given() {
        let splice = splice("abcdef", &[(4..5, "EE"), (1..1, "<"), (1..3, "")]).unwrap();
        assert_eq!(splice.ranges(), [(4..5, 3..5), (1..1, 1..2), (1..3, 2..2)]);
    }

    prop_compose! {
        fn text_and_edits()(
            text in "[ab\r\né€𝄞]{0,30}",
            edits in prop::collection::vec((any::<Index>(), 0usize..6, "[xyé𝄞]{0,4}"), 0..8),
        ) -> (String, Vec<(Range<usize>, String)>) {
            let boundaries: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
            let edits = edits
                .into_iter()
                .map(|(at, characters, new_text)| {
                    let start = at.index(boundaries.len());
                    let end = (start + characters).min(boundaries.len() - 1);
                    (boundaries[start]..boundaries[end], new_text)
                })
                .collect();
            (text, edits)
        }
    }

    /// The edits in the order of their places: insertions before the replacement that begins where they stand.
    fn in_order(edits: &[(Range<usize>, String)]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..edits.len()).collect();
        order.sort_by_key(|&index| (edits[index].0.start, edits[index].0.end > edits[index].0.start, index));
        order
    }

    fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
        match (one.is_empty(), other.is_empty()) {
            (true, true) => false,
            (true, false) => other.start < one.start && one.start < other.end,
            (false, true) => overlap(other, one),
            (false, false) => one.start < other.end && other.start < one.end,
        }
    }

    proptest! {
        #[test]
        fn edits_are_refused_exactly_when_two_of_them_overlap((text, edits) in text_and_edits()) {
            let overlaps = |first: usize, second: usize| overlap(&edits[first].0, &edits[second].0);
            let any = (0..edits.len()).any(|second| (0..second).any(|first| overlaps(first, second)));
            match Splice::new(&text, edits.clone()) {
                Ok(_) => prop_assert!(!any),
                Err(SpliceError::Overlapping { first, second }) => prop_assert!(first < second && overlaps(first, second)),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn applying_equals_replacing_back_to_front((text, edits) in text_and_edits()) {
            if let Ok(splice) = Splice::new(&text, edits.clone()) {
                let mut expected = text.clone();
                for index in in_order(&edits).into_iter().rev() {
                    expected.replace_range(edits[index].0.clone(), &edits[index].1);
                }
                let applied = splice.apply();
                prop_assert_eq!(splice.byte_delta(), applied.len() as i64 - text.len() as i64);
                prop_assert_eq!(applied, expected);
            }
        }

        #[test]
        fn new_text_stands_at_the_new_ranges_and_all_else_is_as_it_was((text, edits) in text_and_edits()) {
            if let Ok(splice) = Splice::new(&text, edits.clone()) {
                let (applied, ranges) = (splice.apply(), splice.ranges());
                let (mut old_end, mut new_end) = (0, 0);
                for index in in_order(&edits) {
                    let (old, new) = ranges[index].clone();
                    prop_assert_eq!(&old, &edits[index].0);
                    prop_assert_eq!(&applied[new.clone()], edits[index].1.as_str());
                    prop_assert_eq!(&applied[new_end..new.start], &text[old_end..old.start]);
                    (old_end, new_end) = (old.end, new.end);
                }
                prop_assert_eq!(&applied[new_end..], &text[old_end..]);
            }
        }
    }
}
