//! The built sidecar, over its stdin and stdout.

use std::{collections::HashSet, path::Path, time::Duration};

use ploke_io::protocol::FileUri;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Result,
    corpus::{Corpus, SourceFile},
    floor,
    peer::{Peer, body, frame, request},
    table::Line,
    timing::{Rounds, median, time},
};

const SNIPPETS: &str = "ploke/snippets";

/// Ten pieces of each of 500 files in one request, beside reading and hashing these files.
pub fn snippets(corpus: &Corpus) -> Result<Vec<Line>> {
    let files = corpus.sample(500);
    let paths: Vec<_> = files.iter().map(|file| file.path.as_path()).collect();
    let queries: Vec<_> = files.iter().flat_map(|file| queries(file)).collect();
    let params = json!({ "snippets": queries });
    let mut sidecar = Peer::sidecar(&corpus.root)?;
    refuse_errors(&sidecar.request(SNIPPETS, &params)?)?;

    let request = frame(&request(1, SNIPPETS, &params));
    let rounds = Rounds::side_by_side(
        || {
            let (time, answered) = time(|| {
                sidecar.send(&request)?;
                sidecar.receive().map(drop)
            });
            answered.map(|()| time)
        },
        || {
            let (time, hashes) = time(|| floor::read_and_hash(&paths));
            hashes?;
            Ok(time)
        },
    )?;
    Ok(vec![Line::times_floor(", 10 of each of 500 files", &rounds, 2.5)])
}

/// One small snippet again and again, alone and 64 at a time, beside the echo of the same requests; and a small one of
/// each of 64 files in turn, which have no reading in common.
pub fn one_snippet(corpus: &Corpus) -> Result<Vec<Line>> {
    let mut files = corpus.sample(500);
    files.sort_by_key(|file| file.text.len());
    let mut sidecar = Peer::sidecar(&corpus.root)?;
    let mut echo = Peer::echo()?;
    let of_one = Conversation::about(&files[..1], &mut sidecar)?;
    let of_many = Conversation::about(&files[..IN_FLIGHT], &mut sidecar)?;
    let echoed = of_one.echoed();
    let alone = Rounds::side_by_side(|| of_one.one_by_one(&mut sidecar), || echoed.one_by_one(&mut echo))?;
    let together = Rounds::side_by_side(|| of_one.in_flight(&mut sidecar), || echoed.in_flight(&mut echo))?;
    let echoed = of_many.echoed();
    let of_many = Rounds::side_by_side(|| of_many.in_flight(&mut sidecar), || echoed.in_flight(&mut echo))?;
    Ok(vec![
        Line::times_floor(", round trip", &alone, 8.0),
        Line::throughput(", 64 in flight", &together, 0.15),
        Line::other_throughput(", 64 in flight, each of another file", &of_many),
    ])
}

const REQUESTS: usize = 1_000;
/// All ids have as many digits, so that the answers to all requests for one file have the same length.
const FIRST_ID: usize = 1_000;
const IN_FLIGHT: usize = 64;

/// Requests for one snippet each, and how long their answers are.
struct Conversation {
    requests: Vec<Vec<u8>>,
    answers: Vec<usize>,
}

impl Conversation {
    /// About these files in turn; how long the answers are is learned from good ones.
    fn about(files: &[&SourceFile], sidecar: &mut Peer) -> Result<Self> {
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for (number, file) in (0..REQUESTS).zip(files.iter().cycle()) {
            let params = json!({ "snippets": [queries(file).next()] });
            let id = i64::try_from(FIRST_ID + number)?;
            let message = frame(&request(id, SNIPPETS, &params));
            sidecar.send(&message)?;
            let answer = sidecar.receive()?;
            answers.push(answer.len());
            refuse_errors(&serde_json::from_slice::<Value>(body(answer))?["result"])?;
            requests.push(message);
        }
        Ok(Self { requests, answers })
    }

    /// The same requests, as the echo answers them.
    fn echoed(&self) -> Self {
        Self { requests: self.requests.clone(), answers: self.requests.iter().map(Vec::len).collect() }
    }

    /// The median time from a request to its answer.
    fn one_by_one(&self, peer: &mut Peer) -> Result<Duration> {
        let mut answers = Answers::to(self);
        let mut times = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            let (time, answer) = time(|| -> Result<()> {
                peer.send(request)?;
                answers.take(peer.receive()?)
            });
            answer?;
            times.push(time);
        }
        answers.refuse_missing()?;
        Ok(median(times))
    }

    /// The time for one request while others are on their way.
    fn in_flight(&self, peer: &mut Peer) -> Result<Duration> {
        let mut answers = Answers::to(self);
        let (time, answered) = time(|| -> Result<()> {
            let (first, rest) = self.requests.split_at(IN_FLIGHT);
            first.iter().try_for_each(|request| peer.send(request))?;
            for next in rest {
                answers.take(peer.receive()?)?;
                peer.send(next)?;
            }
            first.iter().try_for_each(|_| answers.take(peer.receive()?))
        });
        answered?;
        answers.refuse_missing()?;
        Ok(time / u32::try_from(self.requests.len())?)
    }
}

/// The answers of one conversation, which any client has to match with its requests.
struct Answers<'c> {
    to: &'c Conversation,
    ids: HashSet<usize>,
}

impl<'c> Answers<'c> {
    fn to(to: &'c Conversation) -> Self {
        Self { to, ids: HashSet::new() }
    }

    fn take(&mut self, message: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Answer {
            id: usize,
        }
        let id = serde_json::from_slice::<Answer>(body(message))?.id;
        // An error would be shorter or longer than the good answer.
        let expected = id.checked_sub(FIRST_ID).and_then(|number| self.to.answers.get(number));
        if expected != Some(&message.len()) {
            return Err(format!("an answer of {} bytes instead of {expected:?}", message.len()).into());
        }
        self.ids.insert(id);
        Ok(())
    }

    fn refuse_missing(&self) -> Result<()> {
        let (ids, requests) = (self.ids.len(), self.to.requests.len());
        if ids == requests { Ok(()) } else { Err(format!("{ids} of {requests} ids").into()) }
    }
}

/// From the start of the process to the result of `initialize`, with the corpus as root.
pub fn start(corpus: &Corpus) -> Result<Vec<Line>> {
    let starts = (0..21).map(|_| {
        let (time, started) = time(|| Peer::sidecar(&corpus.root));
        started.map(|_| time)
    });
    let starts = starts.collect::<Result<Vec<_>>>()?;
    Ok(vec![Line::time(" to initialize result", median(starts), Duration::from_millis(20))])
}

pub fn uri(path: &Path) -> Value {
    json!(FileUri::from_path(path))
}

fn queries(file: &SourceFile) -> impl Iterator<Item = Value> + '_ {
    let uri = uri(&file.path);
    file.pieces().map(move |range| {
        let range = json!({ "startByte": range.start, "endByte": range.end });
        json!({ "uri": uri, "range": range, "expected": { "contentHash": file.hash } })
    })
}

fn refuse_errors(result: &Value) -> Result<()> {
    let snippets = result["snippets"].as_array().ok_or("no snippets")?;
    match snippets.iter().find(|snippet| snippet["status"] != "ok") {
        Some(error) => Err(format!("a snippet was refused: {error}").into()),
        None => Ok(()),
    }
}
