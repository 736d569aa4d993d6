//! The diff of a dry run, as `git apply` and people read it.

use std::{fmt::Write as _, path::Path, time::Duration};

use similar::{ChangeTag, TextDiff};

use crate::engine::Preview;

/// How long one file may take to be compared well; after that the diff is longer than it need be, but right.
const PATIENCE: Duration = Duration::from_secs(1);

/// One text for all files, with paths relative to their roots; files that stay as they are do not appear.
pub(super) fn unified_diff<'a>(previews: impl Iterator<Item = &'a Preview>) -> String {
    let mut diff = String::new();
    for preview in previews.filter(|preview| preview.old.as_ref() != Some(&preview.new)) {
        let old_name = preview.old.as_ref().map_or("/dev/null".into(), |_| name("a/", &preview.path));
        diff += &format!("--- {old_name}\n+++ {}\n", name("b/", &preview.path));
        push_hunks(&mut diff, preview.old.as_deref().unwrap_or_default(), &preview.new);
    }
    diff
}

fn push_hunks(diff: &mut String, old: &str, new: &str) {
    // Only a line feed ends a line of a diff; a carriage return is part of the line.
    let (old, new): (Vec<_>, Vec<_>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let lines = TextDiff::configure().timeout(PATIENCE).diff_slices(&old, &new);
    for hunk in lines.unified_diff().iter_hunks() {
        let _ = writeln!(diff, "{}", hunk.header()); // writing to a String can not fail
        for change in hunk.iter_changes() {
            diff.push(match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            });
            diff.push_str(change.value());
            if !change.value().ends_with('\n') {
                diff.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
}

/// The name as git writes it: quoted if it could be taken for something else.
fn name(prefix: &str, path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.as_encoded_bytes()).collect();
    let bytes = parts.join(&b'/');
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() || c == '"' || c == '\\') => {
            // A tab keeps a name with spaces apart from a time stamp.
            let end = if text.contains(' ') { "\t" } else { "" };
            format!("{prefix}{text}{end}")
        }
        _ => format!("\"{prefix}{}\"", bytes.iter().map(|byte| quoted(*byte)).collect::<String>()),
    }
}

fn quoted(byte: u8) -> String {
    match byte {
        b'"' => "\\\"".into(),
        b'\\' => "\\\\".into(),
        b' '..=b'~' => char::from(byte).into(),
        _ => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(path: &str, old: Option<&str>, new: &str) -> Preview {
        Preview { path: path.into(), old: old.map(str::to_owned), new: new.into() }
    }

    fn diff(previews: &[Preview]) -> String {
        unified_diff(previews.iter())
    }

    #[test]
    fn files_follow_each_other_and_unchanged_ones_are_left_out() {
        let text = diff(&[
            preview("src/a.rs", Some("1\n2\n3\n4\n5\n6\n7\n8\n9\n"), "1\n2\n3\n4\nfive\n6\n7\n8\n9\n"),
            preview("same", Some("x"), "x"),
            preview("new dir/b.rs", None, "fn b() {}\n"),
        ]);
        let expected = "\
--- a/src/a.rs
+++ b/src/a.rs
@@ -2,7 +2,7 @@
 2
 3
 4
-5
+five
 6
 7
 8
--- /dev/null
+++ b/new dir/b.rs\t
@@ -0,0 +1 @@
+fn b() {}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_missing_last_newline_is_told_on_the_side_that_misses_it() {
        assert_eq!(
            diff(&[preview("a", Some("x"), "x\n")]),
            "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n"
        );
        assert_eq!(
            diff(&[preview("a", Some("x\n"), "x\ny")]),
            "--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n x\n+y\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn carriage_returns_stay_in_their_lines() {
        assert_eq!(
            diff(&[preview("a", Some("x\r\ny\rz\r"), "x\ny\rz\r")]),
            "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-x\r\n+x\n y\rz\r\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn a_file_that_becomes_empty_loses_all_lines() {
        assert_eq!(diff(&[preview("a", Some("x\n"), "")]), "--- a/a\n+++ b/a\n@@ -1 +0,0 @@\n-x\n");
    }

    #[test]
    fn a_new_empty_file_is_told_without_lines() {
        assert_eq!(diff(&[preview("a", None, "")]), "--- /dev/null\n+++ b/a\n");
    }

    #[test]
    fn a_name_can_not_forge_lines() {
        assert_eq!(
            diff(&[preview("a\n+++ b/\"x\\é", None, "")]),
            "--- /dev/null\n+++ \"b/a\\012+++ b/\\\"x\\\\\\303\\251\"\n"
        );
    }
}
