//! File systems that are there for one test. All of it needs the rights of root.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::scene::run;

/// A place where something is mounted; unmounted when dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn tmpfs(place: &Path, size: &str) -> Result<Self, String> {
        Self::mount(place, &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
    }

    /// A new file system in a new image file of so many bytes.
    pub fn ext4(place: &Path, image: &Path, bytes: u64) -> Result<Self, String> {
        let file = fs::File::create(image).map_err(|error| error.to_string())?;
        file.set_len(bytes).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", text(image)])?;
        Self::image(place, image)
    }

    /// The file system of an image file.
    pub fn image(place: &Path, image: &Path) -> Result<Self, String> {
        Self::mount(place, &["-o", "loop", text(image)])
    }

    /// What is at `from` also at `place`, a directory or a file that is there.
    pub fn bound(place: &Path, from: &Path, read_only: bool) -> Result<Self, String> {
        run("mount", &["--bind", text(from), text(place)])?;
        let mounted = Self(place.to_owned());
        if read_only {
            run("mount", &["-o", "remount,bind,ro", text(place)])?;
        }
        Ok(mounted)
    }

    fn mount(place: &Path, arguments: &[&str]) -> Result<Self, String> {
        fs::create_dir_all(place).map_err(|error| error.to_string())?;
        run("mount", &[arguments, &[text(place)]].concat())?;
        Ok(Self(place.to_owned()))
    }

    /// Unmounts it now; fails if anybody still uses it.
    pub fn unmount(self) -> Result<(), String> {
        // A program that another test is starting has a copy of every open file until it runs.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match run("umount", &[text(&self.0)]) {
                Err(error) if error.contains("busy") && Instant::now() < deadline => thread::sleep(BUSY),
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        std::mem::forget(self);
        Ok(())
    }
}

const BUSY: Duration = Duration::from_millis(2);

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &["--lazy", text(&self.0)]) {
            crate::scene::say(&error);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
