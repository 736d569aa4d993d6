//! What of the sidecar is in RAM.

use std::{fs, path::Path, thread, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Result, corpus::Corpus, peer::Peer, stdio::uri, table::Line};

const MB: i64 = 1_000_000;
const SCANS: u128 = 20;

/// Idle without files, and after many scans of the corpus; no lines where the system does not tell.
pub fn lines(corpus: &Corpus) -> Result<Vec<Line>> {
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-empty");
    fs::create_dir_all(&empty)?;
    let Some(idle) = watching_sidecar(&empty)?.resident_bytes()? else { return Ok(Vec::new()) };
    let (content, _) = growth(corpus, |_| params(corpus, &json!({})))?;
    // Another namespace for each scan makes it parse every file again.
    let (tracking, second_half) =
        growth(corpus, |scan| params(corpus, &json!({ "namespace": Uuid::from_u128(scan), "hashes": ["tracking"] })))?;
    Ok(vec![
        Line::memory(" when idle", idle, 15 * MB),
        Line::memory(" more after 20 content scans", content, 60 * MB),
        Line::memory(" more after 20 tracking scans", tracking, 60 * MB),
        Line::memory(" more by the last 10 of these", second_half, 5 * MB),
    ])
}

/// Bytes that all scans have added, and by how much the most after any of the second half is above the most after any of
/// the first: from one scan to the next it goes up and down by some megabytes.
fn growth(corpus: &Corpus, params: impl Fn(u128) -> Value) -> Result<(i64, i64)> {
    let mut sidecar = watching_sidecar(&corpus.root)?;
    let before = resident(&sidecar)?;
    let mut after = Vec::new();
    for scan in 1..=SCANS {
        sidecar.request("ploke/scan", &params(scan))?;
        after.push(resident(&sidecar)?);
    }
    let (first, second) = after.split_at(after.len() / 2);
    let most = |of: &[i64]| of.iter().copied().max().unwrap_or(before);
    Ok((most(&after) - before, most(second) - most(first)))
}

fn params(corpus: &Corpus, options: &Value) -> Value {
    let namespace = &options["namespace"];
    let files = corpus.files.iter().map(|file| {
        let mut expected = json!({ "contentHash": file.hash });
        if !namespace.is_null() {
            expected["namespace"] = namespace.clone();
        }
        json!({ "uri": uri(&file.path), "expected": expected })
    });
    let mut params = json!({ "files": files.collect::<Vec<_>>() });
    if !options["hashes"].is_null() {
        params["hashes"] = options["hashes"].clone();
    }
    params
}

fn resident(sidecar: &Peer) -> Result<i64> {
    Ok(sidecar.resident_bytes()?.ok_or("no /proc")?)
}

/// A sidecar that has found all that it watches.
fn watching_sidecar(root: &Path) -> Result<Peer> {
    let mut sidecar = Peer::sidecar(root)?;
    while sidecar.request("ploke/status", &json!({}))?["watch"]["state"] == "starting" {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(sidecar)
}
