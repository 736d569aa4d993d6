//! The steps of the demo: what an agent sends, and what must come back.

use std::{
    ffi::OsStr,
    fmt::Display,
    fs, iter,
    ops::Range,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    client::{Client, ClientError},
    project::{Project, ProjectFile},
};
use crate::{hash::ContentHash, protocol::FileUri};

type Step = fn(&mut Session) -> Result<Told, Failure>;

/// The whole session in its order; each step relies on those before it.
pub(super) const STEPS: [(&str, Step); 10] = [
    ("initialize", Session::initialize),
    ("scan", Session::scan),
    ("snippets", Session::read_snippets),
    ("dry run", Session::dry_run),
    ("apply", Session::apply),
    ("event", Session::see_own_change),
    ("outside", Session::change_from_outside),
    ("event", Session::see_outside_change),
    ("stale edit", Session::stale_edit),
    ("shutdown", Session::shut_down),
];

/// What a step tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub text: String,
    /// Lines that stand below; empty if there are none.
    pub detail: String,
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self { text, detail: String::new() }
    }
}

/// Why a step failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub expected: String,
    pub came: String,
}

/// An agent at work with its sidecar.
pub(super) struct Session {
    client: Client,
    project: Project,
    patience: Duration,
    /// What the edited file must hold now, byte by byte.
    text: String,
    /// Hash of the edited file as the agent last saw it.
    known: ContentHash,
    apply_id: i64,
}

impl Session {
    pub(super) fn start(program: &OsStr, project: Project, patience: Duration) -> Result<Self, ClientError> {
        let log_dir = project.log_dir();
        let client = Client::start(program, [OsStr::new("serve"), "--log-dir".as_ref(), log_dir.as_ref()], patience)?;
        let text = project.target.text.clone();
        let known = ContentHash::of(text.as_bytes());
        Ok(Self { client, project, patience, text, known, apply_id: 0 })
    }

    /// Ends the sidecar at once and returns what it wrote to stderr.
    pub(super) fn kill(&mut self) -> String {
        self.client.kill()
    }

    fn initialize(&mut self) -> Result<Told, Failure> {
        let root = FileUri::from_path(&self.project.root);
        let result = self.request(
            "initialize",
            json!({
                "processId": std::process::id(),
                "capabilities": { "general": { "positionEncodings": ["utf-8"] } },
                "workspaceFolders": [{ "uri": root.as_str(), "name": "demo" }],
                "initializationOptions": { "watch": { "enabled": true, "gitignore": false } },
            }),
        )?;
        let capabilities = &result["capabilities"];
        must(capabilities["experimental"]["ploke"]["protocol"] == 1, "protocol 1 of ploke", &result)?;
        self.client.notify("initialized", json!({})).map_err(failed("initialized can be sent"))?;
        let state = self.wait_until_watching()?;
        let version = text_of(&result["serverInfo"]["version"]);
        let encoding = text_of(&capabilities["positionEncoding"]);
        Ok(format!("server {version}, protocol 1, positions in {encoding}, {state}").into())
    }

    /// Watching may still be starting when `initialize` is answered.
    fn wait_until_watching(&mut self) -> Result<String, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let status = self.request("ploke/status", json!({}))?;
            match status["watch"]["state"].as_str() {
                Some("starting") if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                Some(state @ ("watching" | "polling")) => return Ok(state.to_owned()),
                _ => return Err(failure("files are watched", &status["watch"])),
            }
        }
    }

    /// The agent remembers the hashes of all files, that of the last one from an older version.
    fn scan(&mut self) -> Result<Told, Failure> {
        let changed = self.project.files.iter().rposition(|file| file.path != self.project.target.path);
        let file = |(index, file): (usize, &ProjectFile)| {
            let remembered = if Some(index) == changed { ContentHash::of(b"an older version") } else { file.hash };
            json!({ "id": index, "uri": self.uri(&file.path), "expected": { "contentHash": remembered.to_string() } })
        };
        let files: Vec<Value> = self.project.files.iter().enumerate().map(file).collect();
        let count = files.len();
        let result = self.request("ploke/scan", json!({ "files": files }))?;

        let scanned = result["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        must(scanned.len() == count, format!("{count} files, as asked for"), &result)?;
        for (index, (scanned, file)) in iter::zip(scanned, &self.project.files).enumerate() {
            let status = if Some(index) == changed { "changed" } else { "unchanged" };
            let path = file.path.display();
            must(scanned["id"] == index && scanned["status"] == status, format!("{path} is {status}"), scanned)?;
        }
        let named = changed.map(|index| format!(", 1 changed: {}", self.project.files[index].path.display()));
        let unchanged = count - usize::from(changed.is_some());
        Ok(format!("{count} files against remembered hashes: {unchanged} unchanged{}", named.unwrap_or_default())
            .into())
    }

    fn read_snippets(&mut self) -> Result<Told, Failure> {
        let snippet = |line: &Range<usize>| {
            json!({
                "uri": self.target_uri(),
                "range": { "startByte": line.start, "endByte": line.end },
                "expected": { "contentHash": self.known.to_string() },
            })
        };
        let lines = self.project.target.lines.clone();
        let result = self.request("ploke/snippets", json!({ "snippets": lines.each_ref().map(snippet) }))?;

        for (index, line) in lines.iter().enumerate() {
            let expected =
                json!({ "status": "ok", "text": &self.text[line.clone()], "contentHash": self.known.to_string() });
            let came = &result["snippets"][index];
            let same = ["status", "text", "contentHash"].iter().all(|field| came[field] == expected[field]);
            must(same, &expected, came)?;
        }
        let told = |line: &Range<usize>| format!("{}..{}: {}\n", line.start, line.end, self.text[line.clone()].trim());
        let text = format!("2 verified snippets of {}, by byte range:", self.target_name());
        Ok(Told { text, detail: lines.each_ref().map(told).concat() })
    }

    fn dry_run(&mut self) -> Result<Told, Failure> {
        let (mut params, edited) = self.edit();
        params["dryRun"] = true.into();
        let result = self.request("ploke/applyEdits", params)?;

        let file = &result["files"][0];
        must(file["status"] == "wouldApply", "an edit that would apply", &result)?;
        must(result["applied"] == false, "applied: false, since nothing is written", &result)?;
        must(file["newContentHash"] == hash_of(&edited), "the hash of the edited text", &result)?;
        let diff = text_of(&result["diff"]);
        must(diff.lines().any(|line| line.starts_with('+')), "a unified diff", &result)?;
        self.must_be_on_disk("the dry run wrote nothing")?;
        let text = format!("would change {}, nothing is written:", self.target_name());
        Ok(Told { text, detail: diff.to_owned() })
    }

    fn apply(&mut self) -> Result<Told, Failure> {
        let (params, edited) = self.edit();
        let result = self.request("ploke/applyEdits", params)?;
        self.apply_id = self.client.last_id();

        let file = &result["files"][0];
        must(result["applied"] == true && file["status"] == "applied", "an applied edit", &result)?;
        must(file["newContentHash"] == hash_of(&edited), "the hash of the edited text", &result)?;
        let delta = edited.len() - self.text.len();
        self.text = edited;
        self.known = ContentHash::of(self.text.as_bytes());
        self.must_be_on_disk("exactly the edited text is in the file")?;
        let durability = text_of(&result["durability"]);
        Ok(format!("{} edited, {delta} bytes longer, durability {durability}", self.target_name()).into())
    }

    /// The change must have been pushed before the response to the edit.
    fn see_own_change(&mut self) -> Result<Told, Failure> {
        let pushed = self.client.received("ploke/fileChanged").unwrap_or_default();
        let change = self.change_of_target(&pushed);
        let expected = format!("ploke/fileChanged before the response, with the request id {}", self.apply_id);
        must(change["requestId"] == self.apply_id, &expected, &pushed)?;
        must(change["contentHash"] == hash_of(&self.text), "the hash of what was written", &pushed)?;
        must(change["origin"].is_string(), "the origin of the edit", &pushed)?;
        let (kind, id) = (text_of(&change["kind"]), self.apply_id);
        Ok(format!("{} was {kind} by request {id}, pushed before its response", self.target_name()).into())
    }

    fn change_from_outside(&mut self) -> Result<Told, Failure> {
        let line_ending = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let comment = if self.project.target.is_rust() { "// " } else { "" };
        self.text.push_str(&format!("{line_ending}{comment}Written by somebody else.{line_ending}"));
        let path = self.project.root.join(&self.project.target.path);
        fs::write(path, &self.text).map_err(failed("the file can be written from outside"))?;
        Ok(format!("another program appends a line to {}", self.target_name()).into())
    }

    /// The sidecar's own write must not come back as one from outside.
    fn see_outside_change(&mut self) -> Result<Told, Failure> {
        loop {
            let expected = "ploke/fileChanged with what was written from outside";
            let pushed = self.client.wait_for("ploke/fileChanged").map_err(failed(expected))?;
            let change = self.change_of_target(&pushed);
            let own = change["contentHash"] == self.known.to_string();
            must(!own, "only one notification of the agent's own edit", &pushed)?;
            if change["contentHash"] != hash_of(&self.text) {
                continue;
            }
            let foreign = change["requestId"].is_null() && change["origin"].is_null();
            must(foreign, "neither request id nor origin", &pushed)?;
            let kind = text_of(&change["kind"]);
            return Ok(format!("{} was {kind} by somebody else, no request of ours", self.target_name()).into());
        }
    }

    /// The agent edits what it last saw, which is no longer what is there.
    fn stale_edit(&mut self) -> Result<Told, Failure> {
        let (params, _) = self.edit();
        let result = self.request("ploke/applyEdits", params)?;

        let error = &result["files"][0]["error"];
        must(result["applied"] == false, "a refusal", &result)?;
        must(error["kind"] == "contentMismatch" && error["guard"] == "contentHash", "a contentMismatch", &result)?;
        must(error["actual"]["contentHash"] == hash_of(&self.text), "the hash of what is there now", &result)?;
        self.must_be_on_disk("the refused edit left the file alone")?;
        let text = "refused as contentMismatch, nothing is written:".to_owned();
        Ok(Told { text, detail: text_of(&error["message"]).to_owned() })
    }

    fn shut_down(&mut self) -> Result<Told, Failure> {
        self.request("shutdown", Value::Null)?;
        self.client.notify("exit", Value::Null).map_err(failed("exit can be sent"))?;
        let status = self.client.wait_for_end().map_err(failed("the sidecar ends after exit"))?;
        must(status.success(), "exit code 0", status)?;
        Ok("the sidecar ended with exit code 0".to_owned().into())
    }

    /// The params of an edit of one line, guarded by the hash the agent knows, and the text as it would be.
    fn edit(&self) -> (Value, String) {
        let [line, _] = &self.project.target.lines;
        let remark = if self.project.target.is_rust() { " // reviewed" } else { " (reviewed)" };
        let new_line = self.project.target.text[line.clone()].to_owned() + remark;
        let mut edited = self.text.clone();
        edited.replace_range(line.clone(), &new_line);
        let params = json!({
            "label": "demo",
            "documentChanges": [{
                "textDocument": { "uri": self.target_uri() },
                "expected": { "contentHash": self.known.to_string() },
                "edits": [{ "range": { "startByte": line.start, "endByte": line.end }, "newText": new_line }],
            }],
        });
        (params, edited)
    }

    fn request(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        self.client.request(method, params).map_err(failed(format!("the result of {method}")))
    }

    fn uri(&self, path: &Path) -> String {
        FileUri::from_path(&self.project.root.join(path)).as_str().to_owned()
    }

    fn target_uri(&self) -> String {
        self.uri(&self.project.target.path)
    }

    fn target_name(&self) -> impl Display + use<> {
        self.project.target.path.display().to_string()
    }

    /// The change of the edited file in a notification; null if there is none.
    fn change_of_target(&self, pushed: &Value) -> Value {
        let target = FileUri::from_path(&self.project.root.join(&self.project.target.path));
        let is_target = |change: &&Value| text_of(&change["uri"]).parse().is_ok_and(|uri: FileUri| uri == target);
        pushed["changes"].as_array().into_iter().flatten().find(is_target).cloned().unwrap_or_default()
    }

    fn must_be_on_disk(&self, expected: &str) -> Result<(), Failure> {
        let there = fs::read(self.project.root.join(&self.project.target.path)).map_err(failed(expected))?;
        must(there == self.text.as_bytes(), expected, String::from_utf8_lossy(&there))
    }
}

fn must(holds: bool, expected: impl Display, came: impl Display) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(failure(expected, came)) }
}

fn failure(expected: impl Display, came: impl Display) -> Failure {
    Failure { expected: expected.to_string(), came: shortened(&came.to_string(), 2000) }
}

fn failed<E: Display>(expected: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| failure(expected, error)
}

fn hash_of(text: &str) -> String {
    ContentHash::of(text.as_bytes()).to_string()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
