//! `ploke-io serve`: the sidecar itself, with the settings of command line and environment as defaults.

mod input;

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io,
    path::{self, PathBuf},
    process::ExitCode,
};

use clap::{
    Arg, Args, Command, Error,
    builder::{PathBufValueParser, PossibleValuesParser, StringValueParser, TypedValueParser},
    parser::ValueSource,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    logging::{self, Logging},
    protocol::{
        FileUri, InitializationOptions,
        apply_edits::Durability,
        bounded::Bounded,
        initialize::{
            CacheOptions, LimitOptions, Locking, LogLevel, LogOptions, LogRotation, SymlinkPolicy, UndoOptions,
            WatchOptions,
        },
        status::WatchBackend,
    },
    server::{self, ServerOptions},
};

pub(super) fn run(args: ServeArgs) -> ExitCode {
    let stderr = args.log_stderr;
    let defaults = args.into_settings();
    let logging = match Logging::start(defaults.log.clone(), stderr) {
        Ok(logging) => logging,
        Err(error) => {
            eprintln!("ploke-io: {error}");
            return ExitCode::FAILURE;
        }
    };
    let configure = logging.configurer();
    let options = ServerOptions {
        defaults,
        configure_logging: Some(Box::new(move |log| configure(log).map_err(|error| error.to_string()))),
        state_dir: logging::state_dir(),
    };
    let code = match stdio() {
        Ok((input, output)) => server::serve(input::Input::new(input), output, options),
        Err(error) => {
            tracing::error!(%error, "stdin or stdout can not be used");
            1
        }
    };
    drop(logging);
    ExitCode::from(code)
}

/// Input and output without std's buffers: stdout's would write each message in two pieces, as it ends at a newline.
fn stdio() -> io::Result<(File, File)> {
    #[cfg(unix)]
    use std::os::fd::AsFd as Own;
    #[cfg(windows)]
    use std::os::windows::io::AsHandle as Own;
    #[cfg(unix)]
    let (input, output) =
        (Own::as_fd(&io::stdin()).try_clone_to_owned()?, Own::as_fd(&io::stdout()).try_clone_to_owned()?);
    #[cfg(windows)]
    let (input, output) =
        (Own::as_handle(&io::stdin()).try_clone_to_owned()?, Own::as_handle(&io::stdout()).try_clone_to_owned()?);
    // Nothing else writes between the messages, and when they cannot be written any more and the output is closed, the
    // client sees its end.
    #[cfg(unix)]
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    widen_pipe(&input);
    widen_pipe(&output);
    Ok((input.into(), output.into()))
}

/// Lets large messages pass in few turns between client and server; a pipe holds 64 KiB unless told otherwise.
#[cfg(target_os = "linux")]
fn widen_pipe(stream: impl std::os::fd::AsFd) {
    // What is no pipe, or may not be made larger, stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(stream, 256 << 10);
}

#[cfg(not(target_os = "linux"))]
fn widen_pipe<S>(_: S) {}

/// Settings of the server. The client's initializationOptions take precedence over the command line, the command
/// line over the environment.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Accepted and ignored: stdio is the only transport
    #[arg(long)]
    stdio: bool,

    /// Workspace root, used when the client names none; may be repeated. In the environment a list like PATH
    #[arg(long = "root", env = "PLOKE_IO_ROOT", value_name = "DIR", value_parser = RepeatableParser(root_parser()))]
    roots: Vec<Repeatable<FileUri>>,

    /// Where symbolic links may lead: inside their root, or into any root
    #[arg(long, env = "PLOKE_IO_SYMLINK_POLICY", value_name = "POLICY", value_parser = wire_value::<SymlinkPolicy>(["denyCrossRoot", "follow"]))]
    symlink_policy: Option<SymlinkPolicy>,

    /// Namespace of tracking hashes, when a request gives none
    #[arg(long, env = "PLOKE_IO_NAMESPACE", value_name = "UUID")]
    namespace: Option<Uuid>,

    /// Whether files are watched
    #[arg(long, env = "PLOKE_IO_WATCH", value_name = "BOOL")]
    watch: Option<bool>,

    /// How long a file must be quiet before its change is told, in milliseconds
    #[arg(long, env = "PLOKE_IO_DEBOUNCE_MS", value_name = "MS")]
    debounce_ms: Option<Bounded<1, 60_000>>,

    /// How changes are noticed
    #[arg(long, env = "PLOKE_IO_WATCH_BACKEND", value_name = "BACKEND", value_parser = wire_value::<WatchBackend>(["native", "poll"]))]
    watch_backend: Option<WatchBackend>,

    /// Time between two looks of the poll backend, in milliseconds
    #[arg(long, env = "PLOKE_IO_POLL_INTERVAL_MS", value_name = "MS")]
    poll_interval_ms: Option<Bounded<10, 3_600_000>>,

    /// Events of the system that may wait; more are dropped, and all is compared instead
    #[arg(long, env = "PLOKE_IO_WATCH_CAPACITY", value_name = "COUNT")]
    watch_capacity: Option<Bounded<16, 16_777_216>>,

    /// Glob of files not to watch; may be repeated. In the environment a list like PATH
    #[arg(long, env = "PLOKE_IO_WATCH_IGNORE", value_name = "GLOB", value_parser = RepeatableParser(StringValueParser::new()))]
    watch_ignore: Vec<Repeatable<String>>,

    /// Whether files ignored by git are not watched
    #[arg(long, env = "PLOKE_IO_GITIGNORE", value_name = "BOOL")]
    gitignore: Option<bool>,

    /// Largest file for text operations
    #[arg(long, env = "PLOKE_IO_MAX_FILE_BYTES", value_name = "BYTES")]
    max_file_bytes: Option<Bounded<1, { i64::MAX as u64 }>>,

    /// Largest message a client may send
    #[arg(long, env = "PLOKE_IO_MAX_MESSAGE_BYTES", value_name = "BYTES")]
    max_message_bytes: Option<Bounded<1024, 4_294_967_295>>,

    /// Requests that work on files at the same time
    #[arg(long, env = "PLOKE_IO_PERMITS", value_name = "COUNT")]
    permits: Option<Bounded<1, 65_536>>,

    /// Files open at the same time
    #[arg(long, env = "PLOKE_IO_FD_LIMIT", value_name = "COUNT")]
    fd_limit: Option<u64>,

    /// Memory for the cache of hashes; 0 turns it off
    #[arg(long, env = "PLOKE_IO_CACHE_BYTES", value_name = "BYTES")]
    cache_bytes: Option<u64>,

    /// Files in the cache of hashes
    #[arg(long, env = "PLOKE_IO_CACHE_ENTRIES", value_name = "COUNT")]
    cache_entries: Option<u64>,

    /// Whether writes are synced to disk before they are reported
    #[arg(long, env = "PLOKE_IO_DURABILITY", value_name = "LEVEL", value_parser = wire_value::<Durability>(["full", "bestEffort"]))]
    durability: Option<Durability>,

    /// Whether locks are taken that other sidecars honour
    #[arg(long, env = "PLOKE_IO_LOCKING", value_name = "POLICY", value_parser = wire_value::<Locking>(["advisory", "none"]))]
    locking: Option<Locking>,

    /// Bytes of replaced contents kept for ploke/undo; 0 keeps none [default: 256 MiB]
    #[arg(long, env = "PLOKE_IO_UNDO_KEEP_BYTES", value_name = "BYTES")]
    undo_keep_bytes: Option<u64>,

    /// Days for which an edit can be undone; 0 keeps nothing [default: 7]
    #[arg(long, env = "PLOKE_IO_UNDO_KEEP_DAYS", value_name = "DAYS")]
    undo_keep_days: Option<u64>,

    /// Directory of the log files [default: ploke-io/log in the platform's state directory]
    #[arg(long, env = "PLOKE_IO_LOG_DIR", value_name = "DIR")]
    log_dir: Option<PathBuf>,

    /// How much is logged [default: info]
    #[arg(long, env = "PLOKE_IO_LOG_LEVEL", value_name = "LEVEL", value_parser = wire_value::<LogLevel>(["off", "error", "warn", "info", "debug", "trace"]))]
    log_level: Option<LogLevel>,

    /// When a new log file is begun [default: daily]
    #[arg(long, env = "PLOKE_IO_LOG_ROTATION", value_name = "WHEN", value_parser = wire_value::<LogRotation>(["daily", "hourly", "never"]))]
    log_rotation: Option<LogRotation>,

    /// How many log files are kept [default: 7]
    #[arg(long, env = "PLOKE_IO_LOG_KEEP", value_name = "COUNT")]
    log_keep: Option<Bounded<1, 10_000>>,

    /// Log to stderr as well
    #[arg(long, env = "PLOKE_IO_LOG_STDERR")]
    log_stderr: bool,
}

impl ServeArgs {
    fn into_settings(self) -> InitializationOptions {
        InitializationOptions {
            roots: given(self.roots),
            symlink_policy: self.symlink_policy,
            namespace: self.namespace,
            watch: WatchOptions {
                enabled: self.watch,
                debounce_ms: self.debounce_ms,
                backend: self.watch_backend,
                poll_interval_ms: self.poll_interval_ms,
                capacity: self.watch_capacity,
                ignore: given(self.watch_ignore),
                gitignore: self.gitignore,
            },
            limits: LimitOptions {
                max_file_bytes: self.max_file_bytes,
                max_message_bytes: self.max_message_bytes,
                permits: self.permits,
                fd_limit: self.fd_limit,
            },
            cache: CacheOptions { bytes: self.cache_bytes, entries: self.cache_entries },
            durability: self.durability,
            locking: self.locking,
            undo: UndoOptions { keep_bytes: self.undo_keep_bytes, keep_days: self.undo_keep_days },
            log: LogOptions {
                dir: self.log_dir,
                level: self.log_level,
                rotation: self.log_rotation,
                keep: self.log_keep,
            },
        }
    }
}

/// The values given by an option's occurrences or by its environment variable; `None` if there are none.
fn given<T>(occurrences: Vec<Repeatable<T>>) -> Option<Vec<T>> {
    let values: Vec<T> = occurrences.into_iter().flat_map(|Repeatable(values)| values).collect();
    (!values.is_empty()).then_some(values)
}

/// Reads one of `names` as the wire type it stands for.
fn wire_value<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value::<T>(Value::String(name)))
}

/// Reads a directory, made absolute from the current one; whether it exists is seen when it is opened.
fn root_parser() -> impl TypedValueParser<Value = FileUri> {
    PathBufValueParser::new().try_map(|dir| path::absolute(dir).map(|dir| FileUri::from_path(&dir)))
}

/// One value on the command line, or several in an environment variable that is separated like PATH.
#[derive(Debug, Clone)]
struct Repeatable<T>(Vec<T>);

#[derive(Clone)]
struct RepeatableParser<P>(P);

impl<P> TypedValueParser for RepeatableParser<P>
where
    P: TypedValueParser,
    P::Value: Clone + Send + Sync + 'static,
{
    type Value = Repeatable<P::Value>;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Self::Value, Error> {
        Ok(Repeatable(vec![self.0.parse_ref(command, arg, value)?]))
    }

    fn parse_ref_(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Self::Value, Error> {
        if source != ValueSource::EnvVariable {
            return self.parse_ref(command, arg, value);
        }
        let parts = env::split_paths(value).filter(|part| !part.as_os_str().is_empty());
        parts.map(|part| self.0.parse_ref(command, arg, part.as_os_str())).collect::<Result<_, _>>().map(Repeatable)
    }
}

#[cfg(test)]
mod tests;
