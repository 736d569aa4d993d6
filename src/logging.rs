//! The sidecar's log: one line per event in a rotating file, and on stderr if asked for.
//!
//! Where the log goes may be said only by the client's `initialize`. Until then events are held back, and nothing is
//! created on disk unless something went wrong that early.
//!
//! Only events of this crate are logged, since what a dependency says about a message may quote it whole. For the
//! same reason the text of a panic is logged only if it is a literal of the program; stderr has it in full.

use std::{
    fmt,
    io::{self, Write},
    panic::{self, PanicHookInfo},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_appender::{
    non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{MakeWriter, format, time::FormatTime, time::SystemTime},
    layer::SubscriberExt,
    reload,
};

use crate::protocol::initialize::{LogLevel, LogOptions, LogRotation};

const FILE_PREFIX: &str = "ploke-io";
const DEFAULT_KEEP: usize = 7;
/// Lines that wait for a slow disk; further ones are dropped, so that logging never holds up a request.
const QUEUED_LINES: usize = 8192;
/// Bytes held back until the log is opened; later lines are dropped, the first ones tell how it began.
const WAITING_BYTES: usize = 64 * 1024;

/// The log of this process; dropping it flushes and closes the file.
///
/// Left unconfigured, it is opened with the defaults it was started with when there is anything to be said: at the
/// end, or at once on a panic.
pub(crate) struct Logging {
    state: Arc<State>,
}

impl Logging {
    /// Makes this the process's log and logs panics from now on; writes nothing to disk yet.
    pub(crate) fn start(defaults: LogOptions, stderr: bool) -> Result<Self, LogError> {
        let (logging, subscriber) = Self::new(defaults, stderr);
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadyStarted)?;
        let state = Arc::clone(&logging.state);
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            log_panic(info);
            state.open_if_waiting();
            default_hook(info);
        }));
        Ok(logging)
    }

    /// What opens the log as the settings say, once they are known.
    ///
    /// When the file cannot be opened, the log goes to stderr instead and the error says why.
    pub(crate) fn configurer(&self) -> impl Fn(&LogOptions) -> Result<(), LogError> + Send + Sync + use<> {
        let state = Arc::clone(&self.state);
        move |options| state.configure(options)
    }

    fn new(defaults: LogOptions, stderr: bool) -> (Self, impl Subscriber + Send + Sync) {
        let (filter, filter_handle) = reload::Layer::new(own_events(&defaults));
        let state =
            Arc::new(State { filter: filter_handle, sink: Mutex::new(Sink::Waiting(Vec::new())), defaults, stderr });
        // One layer for both places: two of them would each add a span's fields to the same text.
        let lines = tracing_subscriber::fmt::layer()
            .with_timer(Stamp { process: std::process::id() })
            .with_ansi(false)
            .with_writer(LineWriters(Arc::clone(&state)))
            // It would be reported with `eprintln!`, which panics when stderr is closed.
            .log_internal_errors(false);
        (Self { state }, Registry::default().with(filter).with(lines))
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.state.open_if_waiting();
        self.state.replace_sink(Sink::Closed);
    }
}

/// Why the log file could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("the log of this process was started before")]
    AlreadyStarted,
    #[error("no place for the log: the home directory is not known; set log.dir")]
    NoDirectory,
    #[error("could not create the log directory {}: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("could not open the log in {}: {source}", .path.display())]
    File { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("could not set the log level: {0}")]
    Level(#[from] reload::Error),
}

struct State {
    filter: reload::Handle<Targets, Registry>,
    sink: Mutex<Sink>,
    defaults: LogOptions,
    /// Everything is printed on stderr, whatever becomes of the file.
    stderr: bool,
}

/// Where the lines meant for the file go.
enum Sink {
    Waiting(Vec<u8>),
    File { writer: NonBlocking, _flush_on_drop: WorkerGuard },
    Stderr,
    Closed,
}

impl State {
    fn configure(&self, options: &LogOptions) -> Result<(), LogError> {
        self.filter.reload(own_events(options))?;
        if level(options) == LevelFilter::OFF {
            self.replace_sink(Sink::Closed);
            return Ok(());
        }
        let (sink, result) = match open_file(options) {
            Ok(file) => (file, Ok(())),
            Err(error) if self.stderr => (Sink::Closed, Err(error)),
            Err(error) => (Sink::Stderr, Err(error)),
        };
        self.replace_sink(sink);
        if let Err(error) = &result {
            tracing::warn!(%error, "logging to stderr");
        }
        result
    }

    /// Opens the log as it was started when events wait for it.
    fn open_if_waiting(&self) {
        let events_wait = matches!(&*self.sink(), Sink::Waiting(lines) if !lines.is_empty());
        if events_wait {
            // The failure has been logged, to stderr.
            let _ = self.configure(&self.defaults);
        }
    }

    fn replace_sink(&self, mut new: Sink) {
        let old = {
            let mut sink = self.sink();
            if let Sink::Waiting(lines) = &*sink {
                new.write(lines);
            }
            std::mem::replace(&mut *sink, new)
        };
        // Closing a file waits for its lines to be written, which others need not wait for.
        drop(old);
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Writes whole lines; a log that cannot be written has nowhere to say so.
    fn write(&mut self, lines: &[u8]) {
        match self {
            Self::Waiting(waiting) if waiting.len() + lines.len() <= WAITING_BYTES => waiting.extend_from_slice(lines),
            Self::Waiting(_) | Self::Closed => {}
            Self::File { writer, .. } => _ = writer.write_all(lines),
            Self::Stderr => _ = io::stderr().write_all(lines),
        }
    }
}

fn own_events(options: &LogOptions) -> Targets {
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), level(options))
}

fn level(options: &LogOptions) -> LevelFilter {
    match options.level.unwrap_or(LogLevel::Info) {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn open_file(options: &LogOptions) -> Result<Sink, LogError> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => default_dir()?,
    };
    create_private_dir(&dir).map_err(|source| LogError::Directory { path: dir.clone(), source })?;
    let file = RollingFileAppender::builder().filename_prefix(FILE_PREFIX).filename_suffix("log");
    let keep = options.keep.map_or(DEFAULT_KEEP, |keep| keep.get() as usize);
    let file = match options.rotation.unwrap_or(LogRotation::Daily) {
        LogRotation::Daily => file.rotation(Rotation::DAILY).max_log_files(keep),
        LogRotation::Hourly => file.rotation(Rotation::HOURLY).max_log_files(keep),
        // No limit of files: the only one would be removed at each start.
        LogRotation::Never => file.rotation(Rotation::NEVER),
    };
    let file = file.build(&dir).map_err(|source| LogError::File { path: dir, source: source.into() })?;
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(QUEUED_LINES).finish(file);
    Ok(Sink::File { writer, _flush_on_drop: guard })
}

/// Where the sidecars of one user keep what outlives them; `None` without a home directory.
///
/// The platform's directory for state, or the one for local data where there is none (macOS, Windows): what is kept must
/// not be thrown away as a cache is.
pub(crate) fn state_dir() -> Option<PathBuf> {
    let platform = choose_native_strategy().ok()?;
    // On Windows, this strategy's cache is `%LOCALAPPDATA%` itself, while its data wander from machine to machine.
    let local_data = || if cfg!(windows) { platform.cache_dir() } else { platform.data_dir() };
    Some(platform.state_dir().unwrap_or_else(local_data).join("ploke-io"))
}

fn default_dir() -> Result<PathBuf, LogError> {
    Ok(state_dir().ok_or(LogError::NoDirectory)?.join("log"))
}

fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(its text is on stderr)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, thread = thread::current().name(), "panic: {message}");
}

/// How a line begins: UTC time in milliseconds, and the process, since several may share one file.
struct Stamp {
    process: u32,
}

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut format::Writer<'_>) -> fmt::Result {
        let mut micros = String::new();
        SystemTime.format_time(&mut format::Writer::new(&mut micros))?;
        let millis = micros.get(.."2026-01-31T23:59:59.999".len()).unwrap_or(&micros);
        write!(writer, "{millis}Z {}", self.process)
    }
}

struct LineWriters(Arc<State>);

impl<'a> MakeWriter<'a> for LineWriters {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.0)
    }
}

/// Takes one event per call and keeps it on one line.
struct LineWriter<'a>(&'a State);

impl Write for LineWriter<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = text.trim_end_matches('\n').replace('\n', "\\n");
        line.push('\n');
        if self.0.stderr {
            Sink::Stderr.write(line.as_bytes());
        }
        self.0.sink().write(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
