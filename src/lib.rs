//! `ploke-io` reads and changes files that other programs change at the same time: verified reads, change scans, guarded
//! atomic edits, and file events that say who caused them.
//!
//! ```
//! use ploke_io::{
//!     engine::{EmbeddingData, Guard, TextChange, WriteSnippetData},
//!     error::IoErrorKind,
//!     manager::IoManagerBuilder,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("lib.rs");
//! # std::fs::write(&path, "fn old() {}\n")?;
//! let manager = IoManagerBuilder::new().with_roots([dir.path()]).build()?;
//!
//! // Read, and remember what was read by its hash.
//! let request = EmbeddingData { path: path.clone(), ..Default::default() };
//! let snippet = manager.get_snippets_batch(vec![request]).await?.remove(0)?;
//!
//! // Edit, on the condition that the file still is what was read.
//! let edit = WriteSnippetData {
//!     path,
//!     expected: Guard { content_hash: Some(snippet.content_hash), ..Guard::default() },
//!     edits: vec![TextChange { range: None, new_text: "new".into(), expected_text: Some("old".into()) }],
//! };
//! let written = manager.write_snippets_batch(vec![edit.clone()]).await?.remove(0)?;
//! assert_ne!(written.content_hash, snippet.content_hash);
//!
//! // The same edit again is stale, and refused.
//! let refused = manager.write_snippets_batch(vec![edit]).await?.remove(0).unwrap_err();
//! assert!(matches!(refused.kind, IoErrorKind::ContentMismatch { .. }));
//!
//! manager.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Map of the crate
//!
//! | module | what it does |
//! | --- | --- |
//! | [`manager`] | builder and handle: the async face of everything below, and file events |
//! | [`engine`] | reads, scans, plans and commits, synchronously; locks, the cache of hashes |
//! | [`hash`], [`position`], [`splice`] | pure: hashes of bytes and tokens, LSP positions, checked edits of one text |
//! | [`roots`] | which paths may be touched, and where links may lead |
//! | `disk` | the few operations that change or sync the disk, and what differs between systems |
//! | `watch` | from the system's file events to net changes; knows the echo of own writes (feature `watcher`) |
//! | `protocol`, `server`, `cli` | wire types, the JSON-RPC sidecar, its command line (feature `server`) |
//!
//! A request flows one way: `server` (decode) → [`manager`] → [`engine`], on a blocking thread → [`roots`] (resolve) → `disk`,
//! and back as a typed result. A file event flows the other way: `watch` → [`manager`] → subscribers, the `server` among
//! them. Nothing below the server knows JSON.
//!
//! # Guarantees
//!
//! - Guards are checked on the very bytes that are returned or edited.
//! - A file is replaced as a whole or not at all: what was written is synced beside its target and renamed over it, and a
//!   full disk or a failed sync is an error that leaves the target untouched. Mode, owner, extended attributes and ACLs are
//!   kept, or named in a warning. Files with several hard links are written in place, and recovered after a crash.
//! - With a [state directory](manager::IoManagerBuilder::with_state_dir) a request over several files is all or nothing,
//!   also across a crash: the next manager with the same root finishes what was committed. It can be taken back by
//!   [`undo_edits`](manager::IoManagerHandle::undo_edits) as long as its files are what it left.
//! - Nothing outside of the roots is read or written, whatever links are made or swapped meanwhile (on Linux and other
//!   Unix systems; elsewhere only as far as looking before opening goes).
//! - All requests of one manager that concern the same real file wait for each other, however its path is spelled;
//!   [`engine::LockingPolicy::Advisory`] extends this to other processes that use this crate.
//!
//! Not guaranteed:
//!
//! - Programs that know nothing of this crate can write at any moment. Where two files can change places in one step (most
//!   file systems of Linux) a change up to that step is noticed; elsewhere what falls between the last look and the rename
//!   is lost. What a program writes later into a file that it opened before goes to the old file.
//! - Programs that read while a transaction is carried out may see some of its files new and others old.
//! - Files are read, never mapped into memory: another process that truncates a mapped file would end this one with
//!   SIGBUS. A file that changes all the time is returned as it was read once, with the hash of just those bytes.
//! - A change through another program's shared mapping shows in the file's times only when the kernel writes it back; until
//!   then a scan may answer from the cache. The guards of reads and edits never do.
//!
//! # Features
//!
//! `server` and `watcher`, both on by default. Without them the library needs neither tower-lsp nor notify.

mod cancel;
#[cfg(feature = "server")]
pub mod cli;
mod disk;
mod encoding;
pub mod engine;
pub mod error;
pub mod events;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod hash;
#[cfg(feature = "server")]
mod logging;
pub mod manager;
pub mod position;
#[cfg(feature = "server")]
pub mod protocol;
pub mod roots;
#[cfg(feature = "server")]
pub mod server;
pub mod splice;
mod temp_name;
#[cfg(feature = "watcher")]
pub mod watch;

pub use cancel::CancelToken;
