//! Ways in for the fuzz targets in `fuzz/`; not part of the API.

use crate::{
    engine::{plan_model, state},
    protocol::{
        apply_edits::ApplyEditsParams, scan::ScanParams, snippets::SnippetsParams, status::StatusParams,
        undo::UndoParams,
    },
    server::{decode_params, transport},
};

/// Any byte stream as frames.
pub fn frames(bytes: &[u8]) {
    transport::read_all_frames(bytes);
}

/// Any text as the params of each method.
pub fn params(json: &str) {
    let _ = decode_params::<SnippetsParams>(json);
    let _ = decode_params::<ScanParams>(json);
    let _ = decode_params::<ApplyEditsParams>(json);
    let _ = decode_params::<UndoParams>(json);
    let _ = decode_params::<StatusParams>(json);
    transport::parse_envelope(json.as_bytes());
}

/// Any bytes as changes of files.
pub fn plan(bytes: &[u8]) {
    plan_model::check(&plan_model::ops_of(bytes));
}

/// Any bytes as a record and as an entry for an undo.
pub fn records(bytes: &[u8]) {
    state::decode_any(bytes);
}
