//! The floors: what any program has to do, done with as little around it as possible on all cores.

use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use quote::ToTokens;

/// Threads that a floor uses.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

pub fn read_and_hash(files: &[&Path]) -> io::Result<Vec<blake3::Hash>> {
    on_each(files, |path| Ok(blake3::hash(&fs::read(path)?)))
}

pub fn stat(files: &[&Path]) -> io::Result<Vec<fs::Metadata>> {
    on_each(files, |path| fs::symlink_metadata(path))
}

/// The string of the token stream of each file; empty if it is not Rust.
pub fn token_strings(files: &[&Path]) -> io::Result<Vec<String>> {
    on_each(files, |path| {
        let file = syn::parse_file(&fs::read_to_string(path)?);
        Ok(file.map(|file| file.to_token_stream().to_string()).unwrap_or_default())
    })
}

fn on_each<R: Send>(files: &[&Path], work: impl Fn(&Path) -> io::Result<R> + Sync) -> io::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let run = || -> io::Result<Vec<R>> {
        let mut done = Vec::with_capacity(files.len());
        while let Some(path) = files.get(next.fetch_add(1, Relaxed)) {
            done.push(work(path)?);
        }
        Ok(done)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads()).map(|_| scope.spawn(run)).collect();
        let mut done = Vec::with_capacity(files.len());
        for thread in threads {
            done.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(done)
    })
}
