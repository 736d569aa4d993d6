//! What a file has beside its content: mode, owner, group, and extended attributes, ACLs and labels among them.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::unix::fs::{MetadataExt, fchown},
};

use rustix::{
    fs::{self, Mode},
    io::Errno,
};

use super::super::Metadata;

/// What an open file has beside its content.
pub(crate) fn metadata_of(file: &File) -> io::Result<Metadata> {
    let meta = file.metadata()?;
    let attributes = attribute_names(file)?.into_iter().filter_map(|name| match attribute(file, &name) {
        Ok(value) => Some((name, Some(value))),
        Err(NO_ATTRIBUTE) => None,
        Err(_) => Some((name, None)),
    });
    let attributes = attributes.collect();
    Ok(Metadata { mode: meta.mode() & 0o7777, owner: meta.uid(), group: meta.gid(), attributes })
}

/// Gives a file its metadata; returns what it could not.
pub(super) fn set(file: &File, metadata: &Metadata) -> io::Result<Vec<String>> {
    let Metadata { mode, owner, group, attributes } = metadata;
    let now = file.metadata()?;
    let mut lost = Vec::new();
    let has_group = now.gid() == *group || fchown(file, None, Some(*group)).is_ok();
    if !has_group {
        lost.push(format!("group {group}"));
    }
    let has_owner = now.uid() == *owner || fchown(file, Some(*owner), None).is_ok();
    if !has_owner {
        lost.push(format!("owner {owner}"));
    }
    set_attributes(file, attributes, &mut lost)?;
    // Last, because a change of owner and an ACL both change the mode.
    let allowed = allowed_mode(mode & 0o7777, has_owner, has_group);
    if (allowed ^ mode) & 0o6000 != 0 {
        lost.push("set-user-ID and set-group-ID".into());
    }
    if (allowed ^ mode) & 0o070 != 0 {
        lost.push("permissions of the group".into());
    }
    fs::fchmod(file, Mode::from_raw_mode(allowed as _))?;
    Ok(lost)
}

/// The mode for a file that may have got neither its owner nor its group.
fn allowed_mode(mode: u32, has_owner: bool, has_group: bool) -> u32 {
    // A set-id bit is no use to another owner.
    let mode = if has_owner && has_group { mode } else { mode & !0o6000 };
    // What another group may do is what everybody may.
    if has_group { mode } else { mode & (!0o070 | (mode & 0o007) << 3) }
}

/// Gives a file these extended attributes and no others; names those it could not.
fn set_attributes(file: &File, attributes: &[(CString, Option<Vec<u8>>)], lost: &mut Vec<String>) -> io::Result<()> {
    for (name, value) in attributes {
        let is_set = value.as_ref().is_some_and(|value| {
            attribute(file, name).is_ok_and(|present| present == *value)
                || fs::fsetxattr(file, name, value, fs::XattrFlags::empty()).is_ok()
        });
        if !is_set {
            lost.push(describe_attribute(name));
        }
    }
    // A directory's default ACL gives its new files one that the file is not to have.
    let is_wanted = |name: &CString| attributes.iter().any(|(wanted, _)| wanted == name);
    for name in attribute_names(file)?.iter().filter(|name| !is_wanted(name)) {
        if fs::fremovexattr(file, name).is_err() {
            lost.push(format!("absence of {}", describe_attribute(name)));
        }
    }
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_ATTRIBUTE: Errno = Errno::NODATA;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NO_ATTRIBUTE: Errno = Errno::NOATTR;

fn describe_attribute(name: &CStr) -> String {
    format!("extended attribute {}", name.to_string_lossy())
}

fn attribute_names(file: &File) -> io::Result<Vec<CString>> {
    let names = match read_growing(|| fs::flistxattr_query(file), |buffer| fs::flistxattr(file, buffer)) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let terminated = names.split_inclusive(|&byte| byte == 0);
    terminated.map(|name| CStr::from_bytes_with_nul(name).map(CString::from).map_err(io::Error::other)).collect()
}

fn attribute(file: &File, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    read_growing(|| fs::fgetxattr_query(file, name), |buffer| fs::fgetxattr(file, name, buffer))
}

/// Reads a value whose size is asked for first and may have grown until it is read.
fn read_growing(
    size: impl Fn() -> rustix::io::Result<usize>,
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; size()?];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_owners_and_groups_own_gives_nobody_more_than_everybody_has() {
        assert_eq!(allowed_mode(0o6775, true, true), 0o6775);
        assert_eq!(allowed_mode(0o6770, false, true), 0o0770);
        assert_eq!(allowed_mode(0o2770, true, false), 0o0700);
        assert_eq!(allowed_mode(0o1664, true, false), 0o1644);
        assert_eq!(allowed_mode(0o4755, false, false), 0o0755);
    }
}
