//! Replays a transcript against a server in a temporary root.

use std::{collections::VecDeque, fs, path::Path, thread, time::Instant};

use serde_json::{Value, json};

use super::{
    connection::{Connection, PATIENCE, frame},
    disk::Disk,
    matching::{differences, pretty},
    parse::{Block, Outcome, Step, Transcript},
    peer::{Peer, initialize_params},
    update::{Rewrite, updated},
    values::{Values, file_uri, unescape},
};

/// Runs a transcript; `start` is given a directory that the server may use for its own files.
///
/// With `update` an expectation that does not hold is no error but a rewrite, which is returned.
pub fn run(
    transcript: &Transcript,
    update: bool,
    start: impl FnOnce(&Path) -> Connection,
) -> Result<Vec<Rewrite>, String> {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = home.path().canonicalize().map_err(|error| error.to_string())?.join("root");
    fs::create_dir(&root).map_err(|error| error.to_string())?;
    let set_up = transcript.blocks.iter().take_while(|block| block.step.is_set_up()).count();
    let (set_up, steps) = transcript.blocks.split_at(set_up);

    let place = |block: &Block, error| format!("{}:{}: `{}`: {error}", transcript.path, block.line, block.header);
    let disk = Disk { root: &root };
    for block in set_up {
        disk.change(&block.step).map_err(|error| place(block, error.to_string()))?;
    }
    let values = Values::new(&root);
    let peer = Peer::new(start(home.path()));
    let mut session = Session { peer, values, disk, update, asked: VecDeque::new(), rewrites: Vec::new() };
    let at_start = |error| format!("{}:1: at the start: {error}", transcript.path);
    session.start(set_up).map_err(at_start)?;
    for block in steps {
        session.step(block).map_err(|error| place(block, error))?;
    }
    let at_end = |error| format!("{}:1: at the end: {error}", transcript.path);
    if !transcript.ends_itself() {
        session.peer.shut_down().map_err(at_end)?;
    }
    disk.check_nothing_else(transcript).map_err(at_end)?;
    Ok(session.rewrites)
}

struct Session<'a> {
    peer: Peer,
    values: Values,
    disk: Disk<'a>,
    update: bool,
    /// Ids of the server's requests that have not been answered.
    asked: VecDeque<Value>,
    rewrites: Vec<Rewrite>,
}

impl Session<'_> {
    fn start(&mut self, set_up: &[Block]) -> Result<(), String> {
        let mut patch = json!({});
        for block in set_up {
            match &block.step {
                Step::NoInit => return Ok(()),
                Step::Init(params) => patch = self.values.message(params)?,
                _ => {}
            }
        }
        self.peer.initialize(&initialize_params(&file_uri(&self.values.root), &patch))
    }

    fn step(&mut self, block: &Block) -> Result<(), String> {
        match &block.step {
            Step::Request { id, method, params } => {
                let params = self.message(params)?;
                self.peer.request(id, method, params.as_ref())
            }
            Step::Notify { method, params } => {
                let params = self.message(params)?;
                self.peer.notify(method, params.as_ref())
            }
            Step::Frame(body) => {
                let body = unescape(&self.values.text(body)?)?;
                self.peer.send_bytes(&frame(&body))
            }
            Step::Raw(bytes) => {
                let bytes = unescape(&self.values.text(bytes)?)?;
                self.peer.send_bytes(&bytes)
            }
            Step::Cancel(id) => self.peer.notify("$/cancelRequest", Some(&json!({"id": id}))),
            Step::Close => {
                self.peer.close_input();
                Ok(())
            }
            Step::Response { id, outcome, body } => self.response(block, id, *outcome, body),
            Step::Notification { method, params } => self.notification(block, method, params.as_ref()),
            Step::Asked { method, params } => self.asked(block, method, params.as_ref()),
            Step::Respond { outcome, body } => {
                let id = self.asked.pop_front().ok_or("the server has asked nothing that is not answered")?;
                let member = if *outcome == Outcome::Ok { "result" } else { "error" };
                self.peer.respond(&id, member, &self.values.message(body)?)
            }
            Step::Watching => self.wait_for_watching(),
            Step::Exit(expected) => match (self.peer.end()?, expected) {
                (code, Some(expected)) if code != *expected => Err(format!("the exit code is {code}")),
                _ => Ok(()),
            },
            Step::Disk { name, content } => self.file_content(block, name, content),
            step => self.disk.change(step).map_err(|error| error.to_string()),
        }
    }

    fn message(&self, template: &Option<Value>) -> Result<Option<Value>, String> {
        template.as_ref().map(|template| self.values.message(template)).transpose()
    }

    fn response(&mut self, block: &Block, id: &Value, outcome: Outcome, body: &Value) -> Result<(), String> {
        let message = |member: &str, body: &Value| json!({"jsonrpc": "2.0", "id": id, member: body});
        let expected = message(if outcome == Outcome::Ok { "result" } else { "error" }, body);
        let actual = self.peer.response(id)?;
        self.compare(&expected, &actual, |values| {
            let (word, member) = if actual.get("error").is_some() { ("error", "error") } else { ("ok", "result") };
            Rewrite::message(block, format!("-- < {id} {word}"), &updated(body, &actual[member], values))
        })
    }

    fn notification(&mut self, block: &Block, method: &str, params: Option<&Value>) -> Result<(), String> {
        let mut expected = json!({"jsonrpc": "2.0", "method": method});
        if let Some(params) = params {
            expected["params"] = params.clone();
        }
        let actual = self.peer.notification(method)?;
        self.compare_params(block, params, &expected, &actual)
    }

    fn asked(&mut self, block: &Block, method: &str, params: Option<&Value>) -> Result<(), String> {
        let actual = self.peer.asked(method)?;
        self.asked.push_back(actual["id"].clone());
        let mut expected = json!({"jsonrpc": "2.0", "id": actual["id"], "method": method});
        if let Some(params) = params {
            expected["params"] = params.clone();
        }
        self.compare_params(block, params, &expected, &actual)
    }

    fn compare_params(
        &mut self,
        block: &Block,
        params: Option<&Value>,
        expected: &Value,
        actual: &Value,
    ) -> Result<(), String> {
        self.compare(expected, actual, |values| {
            let new = updated(params.unwrap_or(&Value::Null), &actual["params"], values);
            Rewrite::message(block, block.header.clone(), &new)
        })
    }

    fn compare(
        &mut self,
        expected: &Value,
        actual: &Value,
        rewrite: impl FnOnce(&Values) -> Rewrite,
    ) -> Result<(), String> {
        let pattern = self.values.pattern(expected)?;
        let found = differences(&pattern, actual, &self.values);
        if found.is_empty() {
            return Ok(());
        }
        if self.update {
            self.rewrites.push(rewrite(&self.values));
            return Ok(());
        }
        Err(format!(
            "the message is another one\n  {}\nexpected:\n{}\ngot:\n{}",
            found.join("\n  "),
            pretty(&pattern),
            pretty(actual)
        ))
    }

    fn file_content(&mut self, block: &Block, name: &Path, expected: &[u8]) -> Result<(), String> {
        let actual = fs::read(self.disk.root.join(name)).map_err(|error| error.to_string())?;
        if actual == expected {
            return Ok(());
        }
        if self.update {
            let name = block.header.split_whitespace().nth(2).unwrap_or_default();
            self.rewrites.push(Rewrite::disk(block, name, &actual));
            return Ok(());
        }
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\n", "\\n\n");
        Err(format!("the file is another one\nexpected:\n{}\ngot:\n{}", show(expected), show(&actual)))
    }

    /// Watching may still be starting when the session does; a change made before it is not reported.
    fn wait_for_watching(&mut self) -> Result<(), String> {
        let id = json!("watching");
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            self.peer.request(&id, "ploke/status", Some(&json!({})))?;
            let response = self.peer.response(&id)?;
            match response["result"]["watch"]["state"].as_str() {
                Some("watching" | "polling") => return Ok(()),
                Some("starting") => thread::yield_now(),
                _ => return Err(format!("the server does not watch: {response}")),
            }
        }
        Err("the server never came to watch".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{peer::tests::scripted, update::rewritten};

    /// Replays the blocks against a server that sends `messages`, whatever it is asked.
    fn replay(blocks: &str, messages: Vec<Value>, update: bool) -> Result<String, String> {
        let text = format!("# Title.\n{blocks}");
        let transcript = Transcript::parse("t", &text)?;
        let rewrites = run(&transcript, update, |_| scripted(messages))?;
        Ok(rewritten(&text, &rewrites))
    }

    fn error(blocks: &str, messages: Vec<Value>) -> String {
        replay(blocks, messages, false).expect_err("it must fail")
    }

    fn answer(result: Value) -> Vec<Value> {
        vec![json!({"jsonrpc": "2.0", "id": 1, "result": result})]
    }

    #[test]
    fn a_transcript_that_holds_passes() {
        let blocks = "-- file a\nx\n-- > 1 m\n-- < 1 ok\n{\"a\": 1, \"..\": \"..\"}\n-- disk a\nx\n-- absent b\n";
        replay(blocks, answer(json!({"a": 1, "b": 2})), false).unwrap();
    }

    #[test]
    fn another_message_fails_with_its_line_and_the_difference() {
        let error = error("-- > 1 m\n-- < 1 ok\n{\"a\": 1}\n", answer(json!({"a": 2})));
        assert!(error.starts_with("t:3: `-- < 1 ok`: "), "{error}");
        assert!(error.contains("result.a: expected 1, got 2"), "{error}");
    }

    #[test]
    fn an_error_is_no_result() {
        let message = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -1}});
        let error = error("-- > 1 m\n-- < 1 ok\n\"..\"\n", vec![message.clone()]);
        assert!(error.contains("result: expected \"..\", but it is missing"), "{error}");
        replay("-- > 1 m\n-- < 1 error\n{\"code\":-1}\n", vec![message], false).unwrap();
    }

    #[test]
    fn requests_of_the_server_are_claimed_and_answered() {
        let asked = vec![json!({"jsonrpc": "2.0", "id": "s1", "method": "ask", "params": {"a": 1}})];
        replay("-- < request ask\n{\"a\": 1}\n-- > respond ok\n{}\n", asked.clone(), false).unwrap();
        let wrong = error("-- < request ask\n{\"a\": 2}\n", asked.clone());
        assert!(wrong.contains("params.a: expected 2, got 1"), "{wrong}");
        assert!(error("-- < notify ask\n", asked).contains("unclaimed message"));
        assert!(error("-- > respond ok\n{}\n", vec![]).contains("has asked nothing"));
    }

    #[test]
    fn a_message_that_no_block_claims_fails() {
        let error = error("-- > 1 m\n", answer(json!(null)));
        assert!(error.contains("at the end: ") && error.contains("unclaimed message"), "{error}");
    }

    #[test]
    fn a_file_that_no_block_names_fails() {
        let leave_a_file = |blocks: &str| {
            let transcript = Transcript::parse("t", &format!("# Title.\n{blocks}"))?;
            run(&transcript, false, |home| {
                fs::write(home.join("root/left"), "").unwrap();
                scripted(vec![])
            })
        };
        let error = leave_a_file("").err().expect("it must fail");
        assert!(error.contains("no block names: left"), "{error}");
        leave_a_file("-- disk left\n").unwrap();
    }

    #[test]
    fn files_on_disk_must_be_as_told() {
        assert!(error("-- file a\nx\n-- disk a\ny\n", vec![]).starts_with("t:4: `-- disk a`: "));
        assert!(error("-- file a\n-- absent a\n", vec![]).starts_with("t:3: `-- absent a`: "));
        assert!(error("-- disk a\n", vec![]).starts_with("t:2: "));
    }

    #[test]
    fn changes_from_outside_are_made() {
        replay(
            "-- file d/a\nx\n-- fs append d/a\ny\n-- disk d/a\nx\ny\n-- fs rename d/a d/b\n-- absent d/a\n\
             -- fs mkdir e\n-- fs write e/c\n-- fs remove d\n-- absent d/b\n-- disk e/c\n",
            vec![],
            false,
        )
        .unwrap();
    }

    #[test]
    fn the_end_of_the_session_is_checked() {
        replay("-- close\n-- exit 1\n", vec![], false).unwrap();
        assert!(error("-- close\n-- exit 0\n", vec![]).contains("the exit code is 1"));
        assert!(error("-- close\n-- exit\n", vec![json!({"method": "m"})]).contains("unclaimed message"));
        assert!(error("-- > 1 m\n-- close\n-- < 1 ok\n1\n-- exit\n", vec![]).contains("the server's output ended"));
    }

    #[test]
    fn an_update_rewrites_what_does_not_hold_and_nothing_else() {
        let updated = replay(
            "-- file a\nx\n-- > 1 m\n-- < 1 ok\n{\"a\": 1,\n \"m\": \"..\"}\n-- disk a\nold\n-- close\n-- exit 1\n",
            answer(json!({"a": 2, "m": "text"})),
            true,
        );
        let expected = "# Title.\n-- file a\nx\n-- > 1 m\n-- < 1 ok\n{\"a\": 2, \"m\": \"..\"}\n-- disk a\nx\n\
                        -- close\n-- exit 1\n";
        assert_eq!(updated.as_deref(), Ok(expected));
    }

    #[test]
    fn an_update_turns_an_expected_result_into_an_error() {
        let message = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -1}});
        let updated = replay("-- > 1 m\n-- < 1 ok\n{}\n", vec![message], true);
        assert_eq!(updated.as_deref(), Ok("# Title.\n-- > 1 m\n-- < 1 error\n{\"code\": -1}\n"));
    }
}
