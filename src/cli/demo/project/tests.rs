use super::*;

const NO_LIMITS: Limits = Limits { files: usize::MAX, bytes: u64::MAX };

#[test]
fn the_sample_has_rust_files_and_crlf_and_its_library_is_edited() {
    let project = Project::sample().unwrap();
    assert_eq!(project.files.iter().filter(|file| is_rust(&file.path)).count(), 3);
    assert!(fs::read_to_string(project.root.join("windows.txt")).unwrap().contains("\r\n"));
    assert_eq!(project.target.path, Path::new("src/lib.rs"));
    assert_eq!(target_lines(&project), ["pub fn greet(name: &str) -> String {", "pub fn part(name: &str) -> String {"]);
    assert_eq!(project.skipped, Skipped::default());
}

#[test]
fn a_project_is_gone_when_it_is_dropped() {
    let project = Project::sample().unwrap();
    let root = project.root.clone();
    assert!(root.exists());
    drop(project);
    assert!(!root.exists());
}

#[test]
fn a_copy_has_the_files_but_no_repository_and_no_build_output() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["a/b/c.txt", "notes.txt", ".git/config", "a/target/x", "node_modules/y/z"] {
        write(&dir.path().join(path), b"one\r\ntwo\r\n").unwrap();
    }
    let project = Project::copy_of(dir.path(), NO_LIMITS).unwrap();

    assert_eq!(paths(&project), ["a/b/c.txt", "notes.txt"]);
    assert_eq!(project.skipped, Skipped { directories: 3, ..Skipped::default() });
    assert_eq!(fs::read(project.root.join("notes.txt")).unwrap(), b"one\r\ntwo\r\n");
    assert_eq!(project.files[0].hash, ContentHash::of(b"one\r\ntwo\r\n"));
    assert_eq!(target_lines(&project), ["one", "two"]);
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("secret.txt"), b"a\nb\n").unwrap();
    write(&dir.path().join("notes.txt"), b"a\nb\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();

    let project = Project::copy_of(dir.path(), NO_LIMITS).unwrap();
    assert_eq!(paths(&project), ["notes.txt"]);
    assert_eq!(project.skipped, Skipped { links: 2, unreadable: 1, ..Skipped::default() });
}

#[test]
fn copying_stops_at_a_limit_of_files_or_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["a.txt", "b.txt", "deep/c.txt"] {
        write(&dir.path().join(path), b"a\nb\n").unwrap();
    }
    for limits in [Limits { files: 2, ..NO_LIMITS }, Limits { bytes: 11, ..NO_LIMITS }] {
        let project = Project::copy_of(dir.path(), limits).unwrap();
        assert_eq!(paths(&project), ["a.txt", "b.txt"]);
        assert!(project.skipped.beyond_limit);
    }
    let all = Project::copy_of(dir.path(), Limits { files: 3, bytes: 12 }).unwrap();
    assert!(!all.skipped.beyond_limit);
}

#[test]
fn rust_is_edited_before_other_text_and_text_before_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.bin"), b"\xff\xfe\n\xff\n").unwrap();
    write(&dir.path().join("b.txt"), b"only one line\n\n").unwrap();
    let error = Project::copy_of(dir.path(), NO_LIMITS).unwrap_err().to_string();
    assert!(error.contains("no text file") && error.contains(dir.path().file_name().unwrap().to_str().unwrap()));

    write(&dir.path().join("c.md"), b"# c\n\ntext").unwrap();
    assert_eq!(Project::copy_of(dir.path(), NO_LIMITS).unwrap().target.path, Path::new("c.md"));

    write(&dir.path().join("z.rs"), b"struct Z;\nfn z() {}").unwrap();
    let project = Project::copy_of(dir.path(), NO_LIMITS).unwrap();
    assert_eq!(project.target.path, Path::new("z.rs"));
    assert_eq!(target_lines(&project), ["fn z() {}", "struct Z;"]);
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    let error = Project::copy_of(Path::new("/no/such/directory"), NO_LIMITS).unwrap_err().to_string();
    assert!(error.contains("no/such/directory"), "{error}");
}

fn paths(project: &Project) -> Vec<String> {
    project.files.iter().map(|file| file.path.to_str().unwrap().replace('\\', "/")).collect()
}

fn target_lines(project: &Project) -> [&str; 2] {
    project.target.lines.clone().map(|line| &project.target.text[line])
}
