//! The diff of a dry run, as `git apply` and people read it.

use std::{fmt::Write as _, path::Path, time::Duration};

use similar::{ChangeTag, TextDiff};

use crate::engine::Preview;

/// How long one file may take to be compared well; after that the diff is longer than it need be, but right.
const PATIENCE: Duration = Duration::from_secs(1);

/// One text for all files, with paths relative to their roots; files that stay as they are do not appear.
pub(super) fn unified_diff<'a>(previews: impl Iterator<Item = &'a Preview>) -> String {
    let changed: Vec<_> = previews.filter(|preview| preview.old_path.is_some() || preview.old != preview.new).collect();
    // Git reads more than edits only below a line of its own, and what follows one needs that line too.
    let is_edit = |preview: &Preview| preview.old_path.is_none() && preview.old.is_some() && preview.new.is_some();
    let as_git_does = !changed.iter().all(|preview| is_edit(preview));
    let mut diff = String::new();
    for preview in changed {
        let old_path = preview.old_path.as_ref().unwrap_or(&preview.path);
        if as_git_does {
            diff += &format!("diff --git {} {}\n", name("a/", old_path), name("b/", &preview.path));
        }
        if preview.old.is_none() {
            diff += "new file mode 100644\n";
        }
        if preview.new.is_none() {
            diff += "deleted file mode 100644\n";
        }
        if preview.old_path.is_some() {
            diff += &format!("rename from {}\nrename to {}\n", name("", old_path), name("", &preview.path));
        }
        if preview.old != preview.new {
            let text = |side: &'a Option<String>| side.as_deref().unwrap_or_default();
            diff += &format!("--- {}\n", side(preview.old.is_some(), "a/", old_path));
            diff += &format!("+++ {}\n", side(preview.new.is_some(), "b/", &preview.path));
            push_hunks(&mut diff, text(&preview.old), text(&preview.new));
        }
    }
    diff
}

/// The file on one side of a change.
fn side(is_there: bool, prefix: &str, path: &Path) -> String {
    match name(prefix, path) {
        _ if !is_there => "/dev/null".to_owned(),
        // A tab keeps a name with spaces apart from a time stamp.
        name if name.contains(' ') && !name.starts_with('"') => name + "\t",
        name => name,
    }
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
            format!("{prefix}{text}")
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
    use std::{fs, path::PathBuf, process::Command};

    use super::*;

    fn preview(path: &str, old: Option<&str>, new: &str) -> Preview {
        Preview { path: path.into(), old_path: None, old: old.map(str::to_owned), new: Some(new.into()) }
    }

    fn renamed(old_path: &str, path: &str, old: &str, new: &str) -> Preview {
        Preview { old_path: Some(old_path.into()), ..preview(path, Some(old), new) }
    }

    fn deleted(path: &str, old: &str) -> Preview {
        Preview { new: None, ..preview(path, Some(old), "") }
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
diff --git a/src/a.rs b/src/a.rs
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
diff --git a/new dir/b.rs b/new dir/b.rs
new file mode 100644
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
    fn a_deleted_file_becomes_nothing() {
        assert_eq!(
            diff(&[deleted("a", "x\ny")]),
            "diff --git a/a b/a\ndeleted file mode 100644\n--- a/a\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-x\n-y\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn a_renamed_file_has_both_names() {
        assert_eq!(
            diff(&[renamed("a b", "d/c", "x\n", "x\n"), preview("same", Some(""), ""), deleted("e", "x\n")]),
            "diff --git a/a b b/d/c\nrename from a b\nrename to d/c\n\
             diff --git a/e b/e\ndeleted file mode 100644\n--- a/e\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        );
        assert_eq!(
            diff(&[renamed("a b", "d/c\n", "x\n", "y\n")]),
            "diff --git a/a b \"b/d/c\\012\"\nrename from a b\nrename to \"d/c\\012\"\n\
             --- a/a b\t\n+++ \"b/d/c\\012\"\n@@ -1 +1 @@\n-x\n+y\n"
        );
    }

    #[test]
    fn a_name_can_not_forge_lines() {
        assert_eq!(
            diff(&[preview("a\n+++ b/\"x\\é", None, "")]),
            "diff --git \"a/a\\012+++ b/\\\"x\\\\\\303\\251\" \"b/a\\012+++ b/\\\"x\\\\\\303\\251\"\nnew file mode 100644\n\
             --- /dev/null\n+++ \"b/a\\012+++ b/\\\"x\\\\\\303\\251\"\n"
        );
    }

    #[test]
    fn git_applies_any_two_changes() {
        if Command::new("git").arg("--version").output().is_err() {
            println!("SKIPPED git apply: it is not installed");
            return;
        }
        let changes = |name: &str| {
            [
                preview(name, Some("1\r\n2"), "1\n2\n"),
                preview(name, None, "new\n"),
                preview(name, None, ""),
                deleted(name, "x\n"),
                deleted(name, ""),
                renamed(&format!("old {name}"), name, "x\n", "x\n"),
                renamed(&format!("old {name}"), name, "1\n2\n3\n", "1\n2\nthree\n"),
            ]
        };
        for first in changes("a b") {
            for second in changes("ü\"") {
                let both = [first.clone(), second];
                let dir = tempfile::tempdir().unwrap();
                for preview in &both {
                    if let Some(old) = &preview.old {
                        fs::write(dir.path().join(preview.old_path.as_ref().unwrap_or(&preview.path)), old).unwrap();
                    }
                }
                fs::write(dir.path().join("keeps its place"), "").unwrap();
                let text = diff(&both);
                git_apply(dir.path(), &text);
                let mut expected: Vec<_> =
                    both.into_iter().filter_map(|preview| Some((preview.path, preview.new?))).collect();
                expected.push(("keeps its place".into(), String::new()));
                expected.sort();
                assert_eq!(files(dir.path()), expected, "{text}");
            }
        }
    }

    fn git_apply(directory: &Path, diff: &str) {
        let patch = tempfile::NamedTempFile::new().unwrap();
        fs::write(patch.path(), diff).unwrap();
        let output = Command::new("git").arg("apply").arg(patch.path()).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{}\n{diff}", String::from_utf8_lossy(&output.stderr));
    }

    fn files(directory: &Path) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> =
            entries.map(|entry| (entry.file_name().into(), fs::read_to_string(entry.path()).unwrap())).collect();
        files.sort();
        files
    }
}
