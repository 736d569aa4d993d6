//! The workers of a session: they take in what the client sends, carry requests out and answer each of them once.

use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use lsp_types::{
    LogTraceParams,
    notification::{LogTrace, Notification},
};
use tracing::field::Empty;

use super::{
    End,
    envelope::{Params, ReadAgain, Refused},
    in_flight::{Asked, Help, InFlight, Limits, NotAdmitted, Ticket, Turn, Waiting, Worker},
    lsp::Lsp,
    outbox::encode_notification,
    reader::Reader,
    spawn,
};
use crate::{
    CancelToken,
    engine::OpenDocuments,
    server::{
        Connection,
        errors::code,
        method::{Call, RequestId, RpcError},
        routes::{Answer, Route, encode_error, encode_result},
        session::Session,
    },
};

pub(super) struct Dispatch {
    in_flight: InFlight<Job>,
    /// Held by whoever reads; `None` once the input has ended.
    reader: Mutex<Option<Reader>>,
    pub lsp: Lsp,
    pub connection: Connection,
    shut_down: AtomicBool,
    ended: AtomicBool,
}

/// What is to be done for a request.
pub(super) enum Job {
    Ploke { route: &'static Route, session: Arc<Session>, documents: Arc<OpenDocuments>, params: Arc<Params> },
    Shutdown,
}

impl Job {
    /// Why it is no request, if that has been found out only now.
    fn refused(self) -> Option<Refused> {
        match self {
            Self::Ploke { params, .. } => match params.read_again() {
                ReadAgain::Refused(refused) => Some(refused),
                ReadAgain::TheSame | ReadAgain::Others(_) => None,
            },
            Self::Shutdown => None,
        }
    }
}

impl Dispatch {
    pub fn new(limits: Limits, reader: Reader, lsp: Lsp, connection: Connection) -> Self {
        let outbox = connection.outbox.clone();
        // A client that does not read gets no further work done, so that results do not pile up.
        let in_flight = InFlight::new(limits, move || outbox.has_room());
        let (reader, ended) = (Mutex::new(Some(reader)), AtomicBool::new(false));
        Self { in_flight, reader, lsp, connection, shut_down: AtomicBool::new(false), ended }
    }

    /// Takes a request in, to be carried out when its turn comes, or refuses it.
    pub fn admit(self: &Arc<Self>, asked: Asked, job: Job) {
        let (bytes, alone) = match &job {
            Job::Ploke { params, .. } => (params.bytes(), false),
            Job::Shutdown => (0, true),
        };
        let bytes = bytes + size_of::<Waiting<Job>>();
        let cancel = CancelToken::new();
        if alone {
            // A client that has asked for the end is never told that there was none.
            cancel.begin_commit();
        }
        match self.in_flight.admit(Waiting { asked, cancel, bytes, alone, job }) {
            Ok(help) => {
                self.shut_down.fetch_or(alone, Relaxed);
                self.help(help);
            }
            Err((NotAdmitted::Duplicate, request)) => match request.job.refused() {
                Some(Refused { id, error }) => self.answer_at_once(&id, &error),
                None => {
                    let error = RpcError::invalid_request("id: a request with this id is in flight");
                    self.refuse(&request.asked, &error);
                }
            },
            // The process is about to end; nothing is answered any more.
            Err((NotAdmitted::Closed, _)) => {}
        }
    }

    /// Ends a request if it has not passed its commit point.
    pub fn cancel(self: &Arc<Self>, id: &RequestId) {
        let help = self.in_flight.cancel(id, |asked| self.push_cancelled(asked));
        self.help(help);
        self.connection.outbox.wait_for_room();
    }

    /// Answers a message that was admitted as the request with this id and is none, unless that has been done.
    pub fn retract(self: &Arc<Self>, id: &RequestId, refused: &Refused) {
        let answer = || encode_error(&refused.id, &refused.error);
        let help = self.in_flight.cancel(id, |_| self.connection.outbox.push(answer()));
        self.help(help);
        self.connection.outbox.wait_for_room();
    }

    /// Answers a request of a known method that is not carried out; waits when there is no room for the answer.
    pub fn refuse(&self, asked: &Asked, error: &RpcError) {
        self.connection.metrics.record(asked.method, asked.received.elapsed(), true);
        self.answer_at_once(&asked.id, error);
    }

    /// Answers a message that is not carried out; waits when there is no room for the answer.
    pub fn answer_at_once(&self, id: &RequestId, error: &RpcError) {
        tracing::debug!(%id, code = error.code, "refused a message");
        self.connection.outbox.push(encode_error(id, error));
        self.connection.outbox.wait_for_room();
    }

    /// Whether another message may be read.
    pub fn has_room(&self) -> bool {
        self.in_flight.has_room()
    }

    /// Whether `shutdown` has been received.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down.load(Relaxed)
    }

    /// Whether no more messages are to be read.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Takes in nothing more; what has been received is still carried out.
    pub fn close(&self) {
        self.ended.store(true, Relaxed);
        self.leave_editor();
        self.in_flight.close();
    }

    /// Takes in nothing more; only what has passed its commit point still comes to its end.
    pub fn abandon(&self) {
        self.ended.store(true, Relaxed);
        self.leave_editor();
        self.in_flight.abandon(|asked| self.push_cancelled(asked));
    }

    /// Nobody reads the client's answers any more.
    fn leave_editor(&self) {
        if let Some(session) = self.lsp.agreed().session() {
            session.editor.leave();
        }
    }

    pub fn wait_until_answered(&self) {
        self.in_flight.wait_until_answered();
    }

    /// Waits until reading has to stop.
    #[cfg(all(test, unix))]
    pub fn wait_until_full(&self) {
        while self.has_room() {
            std::thread::yield_now();
        }
    }

    /// Writes to the client until the outbox is closed.
    pub fn write_to(self: &Arc<Self>, output: impl Write + Send + 'static) {
        self.connection.outbox.write_to(output, || self.help(self.in_flight.resume()));
    }

    /// Starts the first worker, which reads; others come and go.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        let this = self.clone();
        spawn("ploke-worker", move || this.work(Worker::First))
    }

    fn help(self: &Arc<Self>, help: Help) {
        if help == Help::NotNeeded {
            return;
        }
        let this = self.clone();
        if let Err(error) = spawn("ploke-worker", move || this.work(Worker::Called)) {
            tracing::warn!(%error, "no further thread could be started, requests wait for those there are");
            self.in_flight.worker_not_made();
        }
    }

    fn work(self: &Arc<Self>, mut worker: Worker) {
        let _runtime = self.lsp.runtime().enter();
        while let Some((turn, help)) = self.in_flight.next(worker) {
            self.help(help);
            worker = match turn {
                Turn::Read => {
                    self.read();
                    Worker::HasRead
                }
                Turn::CarryOut(ticket, request) => {
                    self.carry_out(ticket, request);
                    Worker::HasCarriedOut
                }
                Turn::Write => {
                    self.connection.outbox.write_queued(|| self.help(self.in_flight.resume()));
                    Worker::HasWritten
                }
            };
        }
    }

    fn read(self: &Arc<Self>) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let end = catch_unwind(AssertUnwindSafe(|| reader.as_mut()?.read(self))).unwrap_or_else(|_| {
            tracing::error!("the reader panicked, the session ends");
            Some(End::Broken)
        });
        if let Some((end, reader)) = end.zip(reader.take_if(|_| end.is_some())) {
            self.in_flight.end_input();
            reader.end(end);
        }
    }

    fn carry_out(&self, ticket: Ticket, Waiting { asked, cancel, job, .. }: Waiting<Job>) {
        let Asked { id, method, received } = &asked;
        let span = tracing::info_span!("request", %id, method, duration_us = Empty, result = Empty);
        let _span = span.enter();
        let answer = catch_unwind(AssertUnwindSafe(|| self.run(&asked, cancel, job))).unwrap_or_else(|_| {
            tracing::error!("the handler panicked");
            Ok(RpcError::internal(format!("{method}: the handler panicked")).into())
        });
        let is_request = answer.is_ok();
        let (changes, message, error) = match answer {
            Ok(Answer { changes, response: Ok(message) }) => (changes, message, None),
            Ok(Answer { changes, response: Err(error) }) => {
                (changes, encode_error(id, &error).into(), Some(error.code))
            }
            Err(Refused { id, error }) => (Vec::new(), encode_error(&id, &error).into(), Some(error.code)),
        };
        let Connection { outbox, metrics, .. } = &self.connection;
        let in_time = self.in_flight.finish(ticket, || {
            if is_request {
                metrics.record(method, received.elapsed(), error.is_some());
            }
            outbox.push_answer(changes, message);
        });
        span.record("duration_us", received.elapsed().as_micros());
        match error {
            _ if !in_time => span.record("result", code::REQUEST_CANCELLED),
            Some(code) => span.record("result", code),
            None => span.record("result", "ok"),
        };
        if in_time && is_request {
            self.trace(&asked, error);
        }
        tracing::debug!("done");
    }

    /// Carries a request out, or refuses what turns out to be none.
    fn run(&self, &Asked { ref id, received, .. }: &Asked, cancel: CancelToken, job: Job) -> Result<Answer, Refused> {
        match job {
            Job::Ploke { route, session, documents, params } => {
                let call = Call { session, documents, id: id.clone(), received, cancel };
                let answer = (route.answer)(&call, params.get());
                if answer.response.is_ok() {
                    return Ok(answer);
                }
                match params.read_again() {
                    // Whatever has been done was done for what was asked.
                    ReadAgain::TheSame => Ok(answer),
                    // They were no JSON value, and could not be decoded: nothing has been done yet.
                    ReadAgain::Others(params) => Ok((route.answer)(&call, params.get())),
                    ReadAgain::Refused(refused) => Err(refused),
                }
            }
            Job::Shutdown => {
                let response = self.lsp.request("shutdown", None).and_then(|result| encode_result(id, result));
                Ok(Answer { changes: Vec::new(), response })
            }
        }
    }

    fn push_cancelled(&self, asked: &Asked) {
        self.connection.metrics.record(asked.method, asked.received.elapsed(), true);
        self.connection.outbox.push(encode_error(&asked.id, &RpcError::cancelled()));
    }

    /// Tells a client that has asked for it that a request is done.
    fn trace(&self, asked: &Asked, error: Option<i64>) {
        if !self.lsp.agreed().traces() {
            return;
        }
        let result = error.map_or("ok".to_owned(), |code| format!("error {code}"));
        let (took, Asked { id, method, .. }) = (asked.received.elapsed(), asked);
        let message = format!("{method} ({id}): {result} after {} us", took.as_micros());
        let notification = encode_notification(LogTrace::METHOD, &LogTraceParams { message, verbose: None });
        // A client that does not read misses it.
        let _ = notification.map(|notification| self.connection.outbox.try_push(notification));
    }
}
