//! The real disk, with one operation that fails or is the last one before a crash.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use super::{Dir, Disk, Metadata, NewFileAccess, OsDisk};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Error(io::ErrorKind),
    /// Only half of what was to be written is.
    ShortWrite,
    /// The same, and nothing more after that.
    FullDisk,
    /// Nothing works from here on, as if the process had died.
    Death,
}

pub(crate) const FAULTS: [Fault; 6] = [
    Fault::Error(io::ErrorKind::StorageFull),
    Fault::Error(io::ErrorKind::Other),
    Fault::Error(io::ErrorKind::Interrupted),
    Fault::ShortWrite,
    Fault::FullDisk,
    Fault::Death,
];

type Act = Box<dyn FnOnce() + Send>;

/// The real disk, but for one operation.
pub(crate) struct FaultyDisk {
    /// Operations so far.
    pub done: AtomicUsize,
    /// The operation that fails, counted from 1, and how.
    fault: Option<(usize, Fault)>,
    has_recovered: AtomicBool,
    names: Mutex<Vec<&'static str>>,
    /// The operations that the file system or the system does not know.
    unsupported: &'static [&'static str],
    /// Those that fail from now on.
    broken: Mutex<&'static [&'static str]>,
    /// What somebody else does before the first operation of a name.
    outsider: Mutex<Option<(&'static str, Act)>>,
}

impl FaultyDisk {
    pub fn new(fault: Option<(usize, Fault)>) -> Self {
        Self {
            done: AtomicUsize::new(0),
            fault,
            has_recovered: AtomicBool::new(false),
            names: Mutex::default(),
            unsupported: &[],
            broken: Mutex::default(),
            outsider: Mutex::default(),
        }
    }

    /// The same where some operations do not exist.
    pub fn without(unsupported: &'static [&'static str], fault: Option<(usize, Fault)>) -> Self {
        Self { unsupported, ..Self::new(fault) }
    }

    /// Lets somebody else do something before the next operation of this name.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub fn before(&self, name: &'static str, act: impl FnOnce() + Send + 'static) {
        *self.outsider.lock().unwrap() = Some((name, Box::new(act)));
    }

    /// Lets all operations of these names fail, and only these.
    pub fn break_down(&self, names: &'static [&'static str]) {
        *self.broken.lock().unwrap() = names;
    }

    /// Lets everything work from now on.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub fn recover(&self) {
        *self.broken.lock().unwrap() = &[];
        self.has_recovered.store(true, SeqCst);
    }

    /// The names of the operations so far.
    pub fn names(&self) -> Vec<&'static str> {
        self.names.lock().unwrap().clone()
    }

    fn step(&self, name: &'static str) -> io::Result<Option<Fault>> {
        if self.unsupported.contains(&name) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.names.lock().unwrap().push(name);
        let outsider = self.outsider.lock().unwrap().take_if(|(before, _)| *before == name);
        if let Some((_, act)) = outsider {
            act();
        }
        if self.broken.lock().unwrap().contains(&name) {
            return Err(io::Error::other("broken"));
        }
        let step = self.done.fetch_add(1, SeqCst) + 1;
        match self.fault.filter(|_| !self.has_recovered.load(SeqCst)) {
            Some((at, Fault::Death)) if step >= at => Err(io::Error::other("dead")),
            Some((at, Fault::FullDisk)) if step > at && name == "write" => Err(io::ErrorKind::StorageFull.into()),
            Some((at, Fault::Error(kind))) if step == at => Err(kind.into()),
            Some((at, fault)) if step == at => Ok(Some(fault)),
            _ => Ok(None),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, dir: &Dir, name: &OsStr, access: NewFileAccess) -> io::Result<File> {
        self.step("create")?;
        OsDisk.create(dir, name, access)
    }

    fn create_unnamed(&self, dir: &Dir, access: NewFileAccess) -> io::Result<File> {
        self.step("create_unnamed")?;
        OsDisk.create_unnamed(dir, access)
    }

    fn name(&self, file: &File, dir: &Dir, name: &OsStr) -> io::Result<()> {
        self.step("name")?;
        OsDisk.name(file, dir, name)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        match self.step("write")? {
            Some(Fault::ShortWrite | Fault::FullDisk) => OsDisk.write(file, &bytes[..bytes.len().div_ceil(2)]),
            _ => OsDisk.write(file, bytes),
        }
    }

    fn set_metadata(&self, file: &File, metadata: &Metadata) -> io::Result<Vec<String>> {
        self.step("set_metadata")?;
        OsDisk.set_metadata(file, metadata)
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.step("set_len")?;
        OsDisk.set_len(file, bytes)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        self.step("set_mode")?;
        OsDisk.set_mode(file, mode)
    }

    /// Nothing loses power here: the sync itself would only take time.
    fn sync_file(&self, _: &File) -> io::Result<()> {
        self.step("sync_file").map(drop)
    }

    fn replace(&self, dir: &Dir, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.step("replace")?;
        OsDisk.replace(dir, from, to)
    }

    fn exchange(&self, one: (&Dir, &OsStr), other: (&Dir, &OsStr)) -> io::Result<()> {
        self.step("exchange")?;
        OsDisk.exchange(one, other)
    }

    fn link(&self, dir: &Dir, name: &OsStr, second: &OsStr) -> io::Result<()> {
        self.step("link")?;
        OsDisk.link(dir, name, second)
    }

    fn rename_new(&self, from: (&Dir, &OsStr), to: (&Dir, &OsStr)) -> io::Result<()> {
        self.step("rename_new")?;
        OsDisk.rename_new(from, to)
    }

    fn remove(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        self.step("remove")?;
        OsDisk.remove(dir, name)
    }

    fn remove_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        self.step("remove_dir")?;
        OsDisk.remove_dir(dir, name)
    }

    fn make_dir(&self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        self.step("make_dir")?;
        OsDisk.make_dir(dir, name)
    }

    fn sync_dir(&self, _: &Dir) -> io::Result<()> {
        self.step("sync_dir").map(drop)
    }
}
