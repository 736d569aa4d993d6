//! `initializationOptions`: the settings of a session, which the command line and the environment give too.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FileUri, apply_edits::Durability, bounded::Bounded, status::WatchBackend, values::or_default};

/// Version of this protocol, told in `capabilities.experimental.ploke`.
pub const PROTOCOL: u32 = 1;

/// What `capabilities.experimental.ploke` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlokeCapabilities {
    /// Version of the protocol.
    pub protocol: u32,
    /// The `ploke/*` requests the server answers.
    pub methods: Vec<&'static str>,
    /// The `ploke/*` notifications the server sends.
    pub notifications: Vec<&'static str>,
    /// Documents that the client has open are followed: they are read, and edited through the client, in place of files
    /// with unsaved changes.
    pub open_buffers: bool,
}

/// Settings; what is absent is taken from the command line, the environment or the defaults, in this order.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitializationOptions {
    /// Used when the client names no workspace folders and no `rootUri`.
    pub roots: Option<Vec<FileUri>>,
    /// Where symbolic links may lead.
    #[schemars(extend("default" = "denyCrossRoot"))]
    pub symlink_policy: Option<SymlinkPolicy>,
    /// Namespace of tracking hashes for requests that name none.
    #[schemars(extend("default" = Uuid::nil()))]
    pub namespace: Option<Uuid>,
    #[serde(default, deserialize_with = "or_default")]
    pub watch: WatchOptions,
    #[serde(default, deserialize_with = "or_default")]
    pub limits: LimitOptions,
    #[serde(default, deserialize_with = "or_default")]
    pub cache: CacheOptions,
    /// Durability of edits that do not ask for one.
    #[schemars(extend("default" = "full"))]
    pub durability: Option<Durability>,
    /// Whether locks are taken that other sidecars of the same user honour.
    #[schemars(extend("default" = "advisory"))]
    pub locking: Option<Locking>,
    #[serde(default, deserialize_with = "or_default")]
    pub undo: UndoOptions,
    #[serde(default, deserialize_with = "or_default")]
    pub log: LogOptions,
}

/// Where symbolic links may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SymlinkPolicy {
    /// Anywhere inside their own root.
    DenyCrossRoot,
    /// Into any root.
    Follow,
}

/// Whether locks are taken that other sidecars honour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Locking {
    Advisory,
    None,
}

/// How changes of files are noticed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchOptions {
    /// Whether changes from outside are told; those of own requests always are.
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// How long a path must be quiet before its change is told, in milliseconds.
    #[schemars(extend("default" = 50))]
    pub debounce_ms: Option<Bounded<1, 60_000>>,
    /// Who notices changes.
    #[schemars(extend("default" = "native"))]
    pub backend: Option<WatchBackend>,
    /// How often the poll backend looks, in milliseconds.
    #[schemars(extend("default" = 2000))]
    pub poll_interval_ms: Option<Bounded<10, 3_600_000>>,
    /// How many events of the system may wait; more are dropped, and all is compared instead.
    #[schemars(extend("default" = 4096))]
    pub capacity: Option<Bounded<16, 16_777_216>>,
    /// What is not watched: lines as in a `.gitignore` file at each root.
    #[schemars(extend("default" = []))]
    pub ignore: Option<Vec<String>>,
    /// Whether what `.gitignore` files name is not told.
    #[schemars(extend("default" = true))]
    pub gitignore: Option<bool>,
}

/// How much is read and done at once.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitOptions {
    /// Largest file for text operations, in bytes.
    #[schemars(extend("default" = 64 << 20))]
    pub max_file_bytes: Option<Bounded<1, { i64::MAX as u64 }>>,
    /// Largest message body the client may send, and most bytes of text in one answer of `ploke/snippets`.
    #[schemars(extend("default" = 64 << 20))]
    pub max_message_bytes: Option<Bounded<1024, 4_294_967_295>>,
    /// How many files are worked on at once; by default a quarter of `fdLimit`.
    pub permits: Option<Bounded<1, 65_536>>,
    /// How many descriptors are used for files and directories at once, clamped to 4..=1024; by default a third of the
    /// soft limit of open files, at most 100, and 50 where there is no such limit.
    pub fd_limit: Option<u64>,
}

/// The cache of hashes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheOptions {
    /// Memory for it, in bytes; 0 turns it off.
    #[schemars(extend("default" = 32 << 20))]
    pub bytes: Option<u64>,
    /// How many files it knows; 0 turns it off.
    #[schemars(extend("default" = 100_000))]
    pub entries: Option<u64>,
}

/// How much of what edits replaced is kept for `ploke/undo`; 0 of either keeps nothing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoOptions {
    /// Bytes on disk for all sidecars of this user together; the oldest go first.
    #[schemars(extend("default" = 256 << 20))]
    pub keep_bytes: Option<u64>,
    /// Days after which a transaction can not be taken back any more.
    #[schemars(extend("default" = 7))]
    pub keep_days: Option<u64>,
}

/// The log file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogOptions {
    /// Directory of the log files; by default `ploke-io/log` in the platform's state directory.
    pub dir: Option<PathBuf>,
    /// How much is logged.
    #[schemars(extend("default" = "info"))]
    pub level: Option<LogLevel>,
    /// When a new file is begun.
    #[schemars(extend("default" = "daily"))]
    pub rotation: Option<LogRotation>,
    /// How many log files are kept.
    #[schemars(extend("default" = 7))]
    pub keep: Option<Bounded<1, 10_000>>,
}

/// The least serious events that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How long a log file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogRotation {
    Daily,
    Hourly,
    Never,
}

/// Builds `Self` out of two of them: of each value the upper one if there is one, of each section the same, inside.
/// Leaving a field out does not compile.
macro_rules! merged {
    ($upper:ident over $lower:ident: $($value:ident),* $(; $($section:ident),*)?) => {
        Self {
            $($value: $upper.$value.or($lower.$value),)*
            $($($section: $upper.$section.merge_over($lower.$section),)*)?
        }
    };
}

impl InitializationOptions {
    /// These settings, with those of `lower` where these have none; lists are replaced, not joined.
    pub fn merge_over(self, lower: Self) -> Self {
        merged!(self over lower: roots, symlink_policy, namespace, durability, locking; watch, limits, cache, undo, log)
    }
}

impl WatchOptions {
    fn merge_over(self, lower: Self) -> Self {
        merged!(self over lower: enabled, debounce_ms, backend, poll_interval_ms, capacity, ignore, gitignore)
    }
}

impl LimitOptions {
    fn merge_over(self, lower: Self) -> Self {
        merged!(self over lower: max_file_bytes, max_message_bytes, permits, fd_limit)
    }
}

impl CacheOptions {
    fn merge_over(self, lower: Self) -> Self {
        merged!(self over lower: bytes, entries)
    }
}

impl UndoOptions {
    fn merge_over(self, lower: Self) -> Self {
        merged!(self over lower: keep_bytes, keep_days)
    }
}

impl LogOptions {
    fn merge_over(self, lower: Self) -> Self {
        merged!(self over lower: dir, level, rotation, keep)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(json: Value) -> InitializationOptions {
        serde_json::from_value(json).unwrap()
    }

    /// Every setting there is, each with its own value.
    fn all() -> Value {
        json!({
            "roots": ["file:///r"],
            "symlinkPolicy": "follow",
            "namespace": Uuid::from_u128(1),
            "watch": {
                "enabled": true,
                "debounceMs": 50,
                "backend": "poll",
                "pollIntervalMs": 2000,
                "capacity": 4096,
                "ignore": ["target/**"],
                "gitignore": true,
            },
            "limits": { "maxFileBytes": 67108864, "maxMessageBytes": 67108864, "permits": 8, "fdLimit": 2000 },
            "cache": { "bytes": 0, "entries": 10 },
            "durability": "bestEffort",
            "locking": "none",
            "undo": { "keepBytes": 1000, "keepDays": 7 },
            "log": { "dir": "/var/log", "level": "info", "rotation": "daily", "keep": 7 },
        })
    }

    /// Pointers to all settings, such as `/watch/debounceMs`.
    fn settings() -> Vec<String> {
        let Value::Object(top) = all() else { unreachable!() };
        let below = |name: &String, value: &Value| match value {
            Value::Object(section) => section.keys().map(|key| format!("/{name}/{key}")).collect(),
            _ => vec![format!("/{name}")],
        };
        top.iter().flat_map(|(name, value)| below(name, value)).collect()
    }

    #[test]
    fn every_setting_can_be_left_out() {
        assert_eq!(options(json!({})), InitializationOptions::default());
        assert_eq!(options(json!({ "watch": {}, "log": {} })), InitializationOptions::default());
    }

    #[test]
    fn every_setting_of_the_upper_one_wins_and_of_the_lower_one_fills_in() {
        let all_settings = options(all());
        assert_eq!(all_settings.clone().merge_over(InitializationOptions::default()), all_settings);
        assert_eq!(InitializationOptions::default().merge_over(all_settings.clone()), all_settings);

        for setting in settings() {
            let mut without = all();
            *without.pointer_mut(&setting).unwrap() = Value::Null;
            let without = options(without);
            assert_ne!(without, all_settings, "{setting} is not read");
            assert_eq!(without.clone().merge_over(all_settings.clone()), all_settings, "{setting}");
            assert_eq!(all_settings.clone().merge_over(without), all_settings, "{setting}");
        }
    }

    #[test]
    fn the_upper_one_wins_where_both_have_a_value() {
        let upper = options(json!({ "roots": [], "watch": { "enabled": false }, "cache": { "bytes": 1 } }));
        let merged = upper.merge_over(options(all()));
        assert_eq!(merged.roots, Some(vec![]));
        assert_eq!(merged.watch.enabled, Some(false));
        assert_eq!(merged.watch.debounce_ms.map(Bounded::get), Some(50));
        assert_eq!((merged.cache.bytes, merged.cache.entries), (Some(1), Some(10)));
    }
}
