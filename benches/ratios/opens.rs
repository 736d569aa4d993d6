//! Counts how often files are opened, as the kernel tells it.

use std::{fs, io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

/// Notices every opening of a file beneath a directory, by any program.
pub struct OpenCounter {
    inotify: OwnedFd,
}

impl OpenCounter {
    pub fn on(root: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        watch(&inotify, root)?;
        Ok(Self { inotify })
    }

    /// Files opened since the last count.
    pub fn count(&mut self) -> io::Result<usize> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut opened = 0;
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    return Err(io::Error::other("more files were opened than can be counted"));
                }
                Ok(event) => opened += usize::from(!event.events().contains(ReadFlags::ISDIR)),
                Err(Errno::WOULDBLOCK) => return Ok(opened),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn watch(inotify: &OwnedFd, dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            watch(inotify, &entry.path())?;
        }
    }
    inotify::add_watch(inotify, dir, WatchFlags::OPEN | WatchFlags::ONLYDIR)?;
    Ok(())
}
