//! Writing over the content of a file that must stay the same file.

use std::{
    fs::File,
    io::{self, Seek},
};

use crate::disk::{Disk, stat_file, write_all};

/// Makes this the whole content of an open file, which keeps this mode.
pub(super) fn overwrite(disk: &dyn Disk, mut file: &File, content: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    file.rewind()?;
    write_all(disk, file, content)?;
    disk.set_len(file, content.len() as u64)?;
    // Writing takes away the set-id bits.
    if stat_file(file)?.mode != mode {
        disk.set_mode(file, mode & 0o7777)?;
    }
    if sync { disk.sync_file(file) } else { Ok(()) }
}
