//! What a file keeps when its content is replaced, and which files are not replaced.

#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use super::{Fixture, error_of};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_mode_is_kept() {
    let fixture = Fixture::new();
    for bits in [0o755, 0o640, 0o600, 0o666, 0o4755, 0o2751, 0o1644] {
        let path = fixture.write(&format!("{bits:o}"), "x");
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        let outcome = fixture.edit(&path, "x", (0, 1), "y");
        assert!(outcome.applied, "{bits:o}: {}", error_of(&outcome));
        assert_eq!(mode(&path), bits, "{bits:o}");
        assert!(outcome.files[0].warnings.is_empty());
    }
}

#[test]
fn a_new_file_gets_the_usual_mode() {
    let fixture = Fixture::new();
    let usual = fixture.write("made-by-std", "");
    let path = fixture.path("made-by-us");
    let create = ploke_io::engine::CreateFileData { path: path.clone(), text: "x".into(), ..Default::default() };
    assert!(fixture.apply(&super::request([ploke_io::engine::Change::Create(create)])).applied);
    assert_eq!(mode(&path), mode(&usual));
}

#[test]
fn owner_and_group_are_kept_by_who_may() {
    let fixture = Fixture::new();
    let path = fixture.write("f", "x");
    if std::os::unix::fs::chown(&path, Some(12345), Some(54321)).is_err() {
        eprintln!("SKIPPED: only root may give files away");
        return;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
    assert!(fixture.edit(&path, "x", (0, 1), "y").applied);
    let now = fs::metadata(&path).unwrap();
    assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (12345, 54321, 0o4750));
}

#[cfg(target_os = "linux")]
#[test]
fn extended_attributes_and_acls_are_kept() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let fixture = Fixture::new();
    let path = fixture.write("f", "x");
    // user::rw-, user:12345:r--, group::r--, mask::r--, other::---
    let acl: Vec<u8> = [2_u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain([(1_u16, 6_u16, u32::MAX), (2, 4, 12345), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)].map(
            |(tag, permissions, id)| {
                [tag.to_le_bytes().to_vec(), permissions.to_le_bytes().to_vec(), id.to_le_bytes().to_vec()].concat()
            },
        ))
        .flatten()
        .collect();
    let attributes = [("user.note", b"kept".to_vec()), ("system.posix_acl_access", acl)];
    let mut set = Vec::new();
    for (name, value) in &attributes {
        match setxattr(&path, *name, value, XattrFlags::empty()) {
            Ok(()) => set.push((*name, value)),
            Err(error) => eprintln!("SKIPPED {name}: {error}"),
        }
    }
    let before = mode(&path);
    let outcome = fixture.edit(&path, "x", (0, 1), "y");
    assert!(outcome.applied && outcome.files[0].warnings.is_empty(), "{:?}", outcome.files[0]);
    for (name, value) in set {
        let mut now = vec![0; 1_000];
        let length = getxattr(&path, name, &mut now[..]).unwrap();
        assert_eq!(&now[..length], value, "{name}");
    }
    assert_eq!(mode(&path), before);
}

#[test]
fn files_that_nobody_may_write_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.write("f", "x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(error_of(&fixture.edit(&path, "x", (0, 1), "y")).starts_with("ReadOnly"));
    assert_eq!((fixture.read("f"), mode(&path)), ("x".into(), 0o444));
}

#[test]
fn hard_links_are_not_torn_apart() {
    let fixture = Fixture::new();
    let path = fixture.write("f", "x");
    fs::hard_link(&path, fixture.path("g")).unwrap();
    let outcome = fixture.edit(&path, "x", (0, 1), "y");
    assert!(error_of(&outcome).starts_with("NotSupported"), "{}", error_of(&outcome));
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 2);
    assert_eq!((fixture.read("f"), fixture.read("g")), ("x".into(), "x".into()));
}
