//! `ploke-io serve`: the sidecar itself, with the settings of command line and environment as defaults.

mod environment;
mod input;

use std::{
    fs::File,
    io,
    path::{self, PathBuf},
    process::ExitCode,
};

use clap::{
    Args,
    builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use self::environment::{environment, telling_variable};
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
    let environment = match environment() {
        Ok(environment) => environment,
        Err(error) => {
            // There is no other place to say it.
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    let stderr = args.log_stderr.or(environment.log_stderr).unwrap_or(false);
    let defaults = args.into_settings().merge_over(environment.into_settings());
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
#[derive(Debug, Default, Args)]
#[command(mut_args = telling_variable)]
pub(super) struct ServeArgs {
    /// Accepted and ignored: stdio is the only transport
    #[arg(long)]
    stdio: bool,

    /// Workspace root, used when the client names none; may be repeated. In the environment a list like PATH
    /// [default: none]
    #[arg(long = "root", value_name = "DIR", value_parser = root_parser())]
    roots: Vec<FileUri>,

    /// Where symbolic links may lead: inside their root, or into any root [default: denyCrossRoot]
    #[arg(long, value_name = "POLICY", value_parser = wire_value::<SymlinkPolicy>(["denyCrossRoot", "follow"]))]
    symlink_policy: Option<SymlinkPolicy>,

    /// Namespace of tracking hashes, when a request gives none [default: 00000000-0000-0000-0000-000000000000]
    #[arg(long, value_name = "UUID")]
    namespace: Option<Uuid>,

    /// Whether files are watched [default: true]
    #[arg(long, value_name = "BOOL")]
    watch: Option<bool>,

    /// How long a file must be quiet before its change is told, in milliseconds, 1 to 60000 [default: 50]
    #[arg(long, value_name = "MS")]
    debounce_ms: Option<Bounded<1, 60_000>>,

    /// How changes are noticed [default: native]
    #[arg(long, value_name = "BACKEND", value_parser = wire_value::<WatchBackend>(["native", "poll"]))]
    watch_backend: Option<WatchBackend>,

    /// Time between two looks of the poll backend, in milliseconds, 10 to 3600000 [default: 2000]
    #[arg(long, value_name = "MS")]
    poll_interval_ms: Option<Bounded<10, 3_600_000>>,

    /// Events of the system that may wait, 16 to 16777216; more are dropped, and all is compared instead [default: 4096]
    #[arg(long, value_name = "COUNT")]
    watch_capacity: Option<Bounded<16, 16_777_216>>,

    /// What is not watched, a line as in a .gitignore file at each root; may be repeated. In the environment a list
    /// like PATH [default: none]
    #[arg(long, value_name = "LINE")]
    watch_ignore: Vec<String>,

    /// Whether files ignored by git are not watched [default: true]
    #[arg(long, value_name = "BOOL")]
    gitignore: Option<bool>,

    /// Largest file for text operations, in bytes, 1 to 9223372036854775807 [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    max_file_bytes: Option<Bounded<1, { i64::MAX as u64 }>>,

    /// Largest message a client may send, in bytes, 1024 to 4294967295 [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    max_message_bytes: Option<Bounded<1024, 4_294_967_295>>,

    /// Files worked on at once, 1 to 65536 [default: a quarter of --fd-limit]
    #[arg(long, value_name = "COUNT")]
    permits: Option<Bounded<1, 65_536>>,

    /// Files and directories open at the same time; below 4 means 4, above 1024 means 1024 [default: a third of the
    /// limit of open files, at most 100]
    #[arg(long, value_name = "COUNT")]
    fd_limit: Option<u64>,

    /// Memory for the cache of hashes, in bytes; 0 turns it off [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    cache_bytes: Option<u64>,

    /// Files in the cache of hashes; 0 turns it off [default: 100000]
    #[arg(long, value_name = "COUNT")]
    cache_entries: Option<u64>,

    /// Whether writes are synced to disk before they are reported [default: full]
    #[arg(long, value_name = "LEVEL", value_parser = wire_value::<Durability>(["full", "bestEffort"]))]
    durability: Option<Durability>,

    /// Whether locks are taken that other sidecars honour [default: advisory]
    #[arg(long, value_name = "POLICY", value_parser = wire_value::<Locking>(["advisory", "none"]))]
    locking: Option<Locking>,

    /// Bytes of replaced contents kept for ploke/undo; 0 keeps none [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    undo_keep_bytes: Option<u64>,

    /// Days for which an edit can be undone; 0 keeps nothing [default: 7]
    #[arg(long, value_name = "DAYS")]
    undo_keep_days: Option<u64>,

    /// Directory of the log files [default: ploke-io/log in the platform's state directory]
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,

    /// How much is logged [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = wire_value::<LogLevel>(["off", "error", "warn", "info", "debug", "trace"]))]
    log_level: Option<LogLevel>,

    /// When a new log file is begun [default: daily]
    #[arg(long, value_name = "WHEN", value_parser = wire_value::<LogRotation>(["daily", "hourly", "never"]))]
    log_rotation: Option<LogRotation>,

    /// How many log files are kept, 1 to 10000 [default: 7]
    #[arg(long, value_name = "COUNT")]
    log_keep: Option<Bounded<1, 10_000>>,

    /// Log to stderr as well [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    log_stderr: Option<bool>,
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

/// `None` if there are none.
fn given<T>(values: Vec<T>) -> Option<Vec<T>> {
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

#[cfg(test)]
mod tests;
