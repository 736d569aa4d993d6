//! `ploke/status`.

use std::{collections::BTreeMap, time::Duration};

use super::method::{Call, Method, Reply, RpcError};
use crate::{
    engine,
    manager::ManagerStatus,
    protocol::{
        FileUri, status,
        status::{
            CacheStatus, MethodStats, RecoveryStatus, StatusParams, StatusResult, WatchState, WatchStatus, WriteStatus,
        },
    },
};
#[cfg(feature = "watcher")]
use crate::{protocol::status::WatchBackend, watch};

pub(crate) struct Status;

impl Method for Status {
    const NAME: &'static str = status::METHOD;
    type Params = StatusParams;
    type Result = StatusResult;

    fn run(call: &Call, StatusParams {}: StatusParams) -> Result<Reply<StatusResult>, RpcError> {
        let session = &call.session;
        Ok(answer(session.manager.status(), session.requests(), session.started.elapsed()).into())
    }
}

fn answer(manager: ManagerStatus, requests: BTreeMap<String, MethodStats>, uptime: Duration) -> StatusResult {
    let engine::CacheStatus { entries, bytes, hits, misses } = manager.cache;
    #[cfg(feature = "watcher")]
    let watch = manager.watch.map_or(WatchStatus::OFF, WatchStatus::from);
    #[cfg(not(feature = "watcher"))]
    let watch = WatchStatus::OFF;
    StatusResult {
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        roots: manager.roots.iter().map(|root| FileUri::from_path(root)).collect(),
        requests,
        watch,
        cache: CacheStatus { entries, bytes, hits, misses },
        locks: manager.locks as u64,
        writes: WriteStatus {
            applied: manager.writes.applied,
            bytes: manager.writes.bytes,
            recovered: (&manager.recovered).into(),
        },
    }
}

impl From<&engine::RecoveryReport> for RecoveryStatus {
    fn from(report: &engine::RecoveryReport) -> Self {
        Self {
            finished: report.finished.len() as u64,
            left_alone: report.left_alone.len() as u64,
            set_aside: report.set_aside.len() as u64,
        }
    }
}

impl WatchStatus {
    const OFF: Self = Self {
        backend: None,
        state: WatchState::Off,
        watches: 0,
        limit: None,
        pending: 0,
        overflows: 0,
        dropped: 0,
        reason: None,
    };
}

#[cfg(feature = "watcher")]
impl From<watch::WatchStatus> for WatchStatus {
    fn from(watch: watch::WatchStatus) -> Self {
        Self {
            backend: Some(match watch.backend {
                watch::Backend::Native => WatchBackend::Native,
                watch::Backend::Poll => WatchBackend::Poll,
            }),
            state: match watch.state {
                watch::WatchState::Starting => WatchState::Starting,
                watch::WatchState::Watching => WatchState::Watching,
                watch::WatchState::Polling => WatchState::Polling,
                watch::WatchState::Off => WatchState::Off,
            },
            watches: watch.watches as u64,
            limit: watch.limit.map(|limit| limit as u64),
            pending: watch.pending as u64,
            overflows: watch.overflows,
            dropped: watch.dropped,
            reason: watch.reason,
        }
    }
}

#[cfg(all(test, feature = "watcher"))]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_number_has_its_place() {
        let manager = ManagerStatus {
            roots: vec!["/r".into()],
            cache: engine::CacheStatus { entries: 1, bytes: 2, hits: 3, misses: 4 },
            locks: 5,
            writes: engine::WriteStatus { applied: 6, bytes: 7 },
            recovered: engine::RecoveryReport {
                finished: vec![(Uuid::nil(), vec!["/r/a".into(), "/r/b".into()])],
                left_alone: ["/r/c", "/r/d"].map(|file| (Uuid::nil(), file.into(), String::new())).into(),
                set_aside: vec![("/s/a".into(), String::new()); 3],
                kept: Vec::new(),
                problems: Vec::new(),
            },
            watch: Some(watch::WatchStatus {
                backend: watch::Backend::Native,
                state: watch::WatchState::Watching,
                watches: 8,
                limit: Some(9),
                pending: 10,
                overflows: 11,
                dropped: 12,
                reason: None,
            }),
        };
        let stats = MethodStats { count: 13, errors: 14, p50_us: 15, p99_us: 16 };
        let answer = answer(manager, [("ploke/scan".to_owned(), stats)].into(), Duration::from_millis(17));
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "uptimeMs": 17,
                "roots": ["file:///r"],
                "requests": { "ploke/scan": { "count": 13, "errors": 14, "p50Us": 15, "p99Us": 16 } },
                "watch": {
                    "backend": "native",
                    "state": "watching",
                    "watches": 8,
                    "limit": 9,
                    "pending": 10,
                    "overflows": 11,
                    "dropped": 12,
                },
                "cache": { "entries": 1, "bytes": 2, "hits": 3, "misses": 4 },
                "locks": 5,
                "writes": {
                    "applied": 6,
                    "bytes": 7,
                    "recovered": { "finished": 1, "leftAlone": 2, "setAside": 3 },
                },
            })
        );
    }

    #[test]
    fn a_manager_that_does_not_watch_says_off() {
        let manager = crate::manager::IoManagerBuilder::new().build().unwrap().status();
        let answer = answer(manager, BTreeMap::new(), Duration::ZERO);
        assert_eq!(
            serde_json::to_value(answer.watch).unwrap(),
            json!({ "backend": null, "limit": null, "state": "off", "watches": 0, "pending": 0, "overflows": 0, "dropped": 0 })
        );
    }
}
