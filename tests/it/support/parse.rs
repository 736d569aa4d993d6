//! Parses a transcript: a title, then blocks of a header line `-- ...` and a body.

use std::path::PathBuf;

use serde_json::Value;

use super::values::{unescape, unescaped_path};

/// One behaviour of the server.
pub struct Transcript {
    /// Where it stands, for messages.
    pub path: String,
    pub marks: Vec<Mark>,
    pub blocks: Vec<Block>,
}

/// Given in the title block, as in `marks: binary, unix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Also run against the built binary.
    Binary,
    /// Only where there are symbolic links and file modes.
    Unix,
    /// Only for users whom file modes bind.
    NotRoot,
}

#[derive(Debug)]
pub struct Block {
    /// Of the header, from 1.
    pub line: usize,
    pub header: String,
    /// Number of lines after the header.
    pub body_lines: usize,
    pub step: Step,
}

#[derive(Debug, PartialEq)]
pub enum Step {
    // Set-up, before the server starts.
    File { name: PathBuf, content: Vec<u8> },
    Dir(PathBuf),
    Link { name: PathBuf, target: String },
    Init(Value),
    NoInit,
    // To the server.
    Request { id: Value, method: String, params: Option<Value> },
    Notify { method: String, params: Option<Value> },
    Frame(String),
    Raw(String),
    Cancel(Value),
    Respond { outcome: Outcome, body: Value },
    Close,
    // From the server.
    Response { id: Value, outcome: Outcome, body: Value },
    Notification { method: String, params: Option<Value> },
    Asked { method: String, params: Option<Value> },
    Watching,
    Exit(Option<u8>),
    // On disk.
    Disk { name: PathBuf, content: Vec<u8> },
    Absent(PathBuf),
    Mode { name: PathBuf, mode: u32 },
    Write { name: PathBuf, content: Vec<u8> },
    Append { name: PathBuf, content: Vec<u8> },
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    Mkdir(PathBuf),
    Chmod { name: PathBuf, mode: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Error,
}

impl Step {
    pub fn is_set_up(&self) -> bool {
        use Step::*;
        matches!(self, File { .. } | Dir(_) | Link { .. } | Init(_) | NoInit)
    }
}

impl Transcript {
    /// An error names the line it is in.
    pub fn parse(path: &str, text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().collect();
        let is_header = |line: &&str| line.starts_with("-- ");
        let title_lines = lines.iter().position(is_header).unwrap_or(lines.len());
        let marks = title(&lines[..title_lines]).map_err(|error| format!("{path}:1: {error}"))?;
        let mut blocks: Vec<Block> = Vec::new();
        let mut at = title_lines;
        while at < lines.len() {
            let header = lines[at];
            let body_lines = lines[at + 1..].iter().position(is_header).unwrap_or(lines.len() - at - 1);
            let body = &lines[at + 1..=at + body_lines];
            let words: Vec<&str> = header.split_whitespace().skip(1).collect();
            let place = |error| format!("{path}:{}: `{header}`: {error}", at + 1);
            let step = step(&words, body).map_err(place)?;
            if step.is_set_up() && blocks.last().is_some_and(|before| !before.step.is_set_up()) {
                return Err(place("set-up comes before everything else".to_owned()));
            }
            blocks.push(Block { line: at + 1, header: header.to_owned(), body_lines, step });
            at += 1 + body_lines;
        }
        let transcript = Self { path: path.to_owned(), marks, blocks };
        if transcript.has(&Step::NoInit) && !transcript.ends_itself() {
            return Err(format!("{path}:1: with no-init it must say how the session ends: an exit block is missing"));
        }
        Ok(transcript)
    }

    pub fn has(&self, step: &Step) -> bool {
        self.blocks.iter().any(|block| block.step == *step)
    }

    /// Whether the runner is not to shut the session down.
    pub fn ends_itself(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block.step, Step::Exit(_)))
    }
}

fn title(lines: &[&str]) -> Result<Vec<Mark>, String> {
    if !lines.first().is_some_and(|line| line.starts_with("# ")) {
        return Err("the first line is not a title: `# What must hold.`".to_owned());
    }
    let mut marks = Vec::new();
    for line in lines {
        if let Some(names) = line.strip_prefix("marks: ") {
            for name in names.split(", ") {
                marks.push(match name {
                    "binary" => Mark::Binary,
                    "unix" => Mark::Unix,
                    "not-root" => Mark::NotRoot,
                    _ => return Err(format!("unknown mark: {name}")),
                });
            }
        } else if !line.starts_with('#') && !line.is_empty() {
            return Err(format!("neither a comment nor marks: {line}"));
        }
    }
    Ok(marks)
}

fn step(words: &[&str], body: &[&str]) -> Result<Step, String> {
    let path = unescaped_path;
    let step = match *words {
        ["file", name, ref how @ ..] => Step::File { name: path(name)?, content: content(body, how)? },
        ["disk", name, ref how @ ..] => Step::Disk { name: path(name)?, content: content(body, how)? },
        ["fs", "write", name, ref how @ ..] => Step::Write { name: path(name)?, content: content(body, how)? },
        ["fs", "append", name, ref how @ ..] => Step::Append { name: path(name)?, content: content(body, how)? },
        ["init"] => Step::Init(json(body)?.ok_or("no params to merge over the usual ones")?),
        [">", "raw"] => Step::Raw(body.concat()),
        [">", "frame"] => Step::Frame(body.concat()),
        [">", "notify", method] => Step::Notify { method: method.to_owned(), params: json(body)? },
        [">", "respond", "ok"] => Step::Respond { outcome: Outcome::Ok, body: value(body)? },
        [">", "respond", "error"] => Step::Respond { outcome: Outcome::Error, body: value(body)? },
        [">", request, method] => Step::Request { id: id(request)?, method: method.to_owned(), params: json(body)? },
        ["<", "notify", method] => Step::Notification { method: method.to_owned(), params: json(body)? },
        ["<", "request", method] => Step::Asked { method: method.to_owned(), params: json(body)? },
        ["<", request, "ok"] => Step::Response { id: id(request)?, outcome: Outcome::Ok, body: value(body)? },
        ["<", request, "error"] => Step::Response { id: id(request)?, outcome: Outcome::Error, body: value(body)? },
        _ if body.iter().any(|line| !line.is_empty()) => return Err("unknown, or a body where none belongs".to_owned()),
        ["dir", name] => Step::Dir(path(name)?),
        ["link", name, target] => Step::Link { name: path(name)?, target: target.to_owned() },
        ["fs", "chmod", name, digits] => Step::Chmod { name: path(name)?, mode: mode(digits)? },
        ["mode", name, digits] => Step::Mode { name: path(name)?, mode: mode(digits)? },
        ["no-init"] => Step::NoInit,
        ["cancel", request] => Step::Cancel(id(request)?),
        ["close"] => Step::Close,
        ["watching"] => Step::Watching,
        ["exit"] => Step::Exit(None),
        ["exit", code] => Step::Exit(Some(code.parse().map_err(|_| "not an exit code")?)),
        ["absent", name] => Step::Absent(path(name)?),
        ["fs", "rename", from, to] => Step::Rename { from: path(from)?, to: path(to)? },
        ["fs", "remove", name] => Step::Remove(path(name)?),
        ["fs", "mkdir", name] => Step::Mkdir(path(name)?),
        _ => return Err("unknown block".to_owned()),
    };
    Ok(step)
}

/// The body as it stands; `escaped`: one text with escapes, its line breaks do not count; `times=n`: n times.
fn content(body: &[&str], how: &[&str]) -> Result<Vec<u8>, String> {
    let plain = || body.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect::<Vec<u8>>();
    match *how {
        [] => Ok(plain()),
        ["escaped"] => unescape(&body.concat()),
        [times] if times.starts_with("times=") => {
            Ok(plain().repeat(times["times=".len()..].parse().map_err(|_| format!("not a number: {times}"))?))
        }
        _ => Err(format!("neither `escaped` nor `times=n`: {}", how.join(" "))),
    }
}

fn json(body: &[&str]) -> Result<Option<Value>, String> {
    let text = body.join("\n");
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| format!("not JSON: {error}"))
}

fn value(body: &[&str]) -> Result<Value, String> {
    json(body)?.ok_or_else(|| "no body to compare with".to_owned())
}

fn id(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|_| format!("not a JSON value: {text}"))
}

fn mode(digits: &str) -> Result<u32, String> {
    u32::from_str_radix(digits, 8).map_err(|_| format!("not a mode: {digits}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(blocks: &str) -> Vec<Step> {
        let transcript = Transcript::parse("t", &format!("# Title.\n{blocks}")).unwrap();
        transcript.blocks.into_iter().map(|block| block.step).collect()
    }

    fn error(text: &str) -> String {
        Transcript::parse("t", text).err().expect("it must not parse")
    }

    #[test]
    fn blocks_know_their_lines() {
        let transcript = Transcript::parse("t", "# Title.\nmarks: unix, binary\n\n-- close\n-- exit 1\n\n").unwrap();
        assert_eq!(transcript.marks, [Mark::Unix, Mark::Binary]);
        let places: Vec<_> = transcript.blocks.iter().map(|block| (block.line, block.body_lines)).collect();
        assert_eq!(places, [(4, 0), (5, 1)]);
    }

    #[test]
    fn messages_are_json_of_any_layout() {
        assert_eq!(
            steps("-- > \"a\" m\n{\n\"x\": 1}\n\n-- > notify n\n-- < null error\n{}\n-- < notify n\n[]\n"),
            [
                Step::Request { id: json!("a"), method: "m".into(), params: Some(json!({"x": 1})) },
                Step::Notify { method: "n".into(), params: None },
                Step::Response { id: json!(null), outcome: Outcome::Error, body: json!({}) },
                Step::Notification { method: "n".into(), params: Some(json!([])) },
            ]
        );
    }

    #[test]
    fn contents_are_exact() {
        let file = |content: &[u8]| Step::File { name: "a".into(), content: content.to_vec() };
        assert_eq!(steps("-- file a\nx\n\ny\n"), [file(b"x\n\ny\n")]);
        assert_eq!(steps("-- file a\n"), [file(b"")]);
        assert_eq!(steps("-- file a escaped\nx\\r\\n\ny\\xFF\n"), [file(b"x\r\ny\xFF")]);
        assert_eq!(steps("-- file a times=3\nx\n"), [file(b"x\nx\nx\n")]);
    }

    #[test]
    fn mistakes_name_their_line() {
        assert!(error("Title\n").starts_with("t:1: "));
        assert!(error("# T.\nmarks: binray\n").starts_with("t:1: unknown mark"));
        assert!(error("# T.\n-- flie a\n").starts_with("t:2: "));
        assert!(error("# T.\n-- close\nx\n").starts_with("t:2: "));
        assert!(error("# T.\n-- > 1 m\n{\n").starts_with("t:2: `-- > 1 m`: not JSON"));
        assert!(error("# T.\n-- < 1 ok\n").starts_with("t:2: "));
        assert!(error("# T.\n-- close\n-- file a\n").starts_with("t:3: "));
        assert!(error("# T.\n-- file ../a\n").starts_with("t:2: "));
        assert!(error("# T.\n-- file a escapd\n").starts_with("t:2: "));
        assert!(error("# T.\n-- no-init\n-- close\n").contains("exit block is missing"));
    }
}
