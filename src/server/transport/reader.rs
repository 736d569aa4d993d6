//! Reads the client's messages and decides what becomes of each, by the phase the session is in.

use std::{
    io::Read,
    sync::{Arc, Weak, mpsc},
    time::Instant,
};

use lsp_types::InitializeParams;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    End,
    client_process::ClientProcess,
    dispatch::{Dispatch, Job},
    envelope::{self, Incoming, Params, ReadAgain},
    frames::{Frame, FrameReader},
    in_flight::Asked,
};
use crate::{
    engine::Editor,
    server::{
        decode::{decode, decode_params},
        method::{RequestId, RpcError},
        routes::{LSP_NOTIFICATIONS, Route, encode_result},
        session::Session,
    },
};

pub(super) struct Reader {
    frames: FrameReader<Box<dyn Read + Send>>,
    routes: &'static [Route],
    phase: Phase,
    session_ends: mpsc::Sender<End>,
    client_process: Option<ClientProcess>,
    /// The request that was read last, if it is not known yet whether it is one, for as long as it is carried out.
    unchecked: Option<(RequestId, Weak<Params>)>,
}

enum Phase {
    Uninitialized,
    Running(Arc<Session>),
    /// Requests that came before may still need the client.
    ShutDown(Arc<Session>),
}

impl Reader {
    pub fn new(
        input: impl Read + Send + 'static,
        max_message_bytes: u64,
        routes: &'static [Route],
        session_ends: mpsc::Sender<End>,
    ) -> Self {
        let frames = FrameReader::new(Box::new(input) as Box<_>, max_message_bytes);
        Self { frames, routes, phase: Phase::Uninitialized, session_ends, client_process: None, unchecked: None }
    }

    /// Waits for a message and takes it in, with all others that have come by then; returns why the session ends, if it
    /// does.
    pub fn read(&mut self, dispatch: &Arc<Dispatch>) -> Option<End> {
        loop {
            let frame = self.frames.next();
            if dispatch.has_ended() {
                return Some(End::InputEnded);
            }
            match frame {
                Frame::Body(body) => {
                    let end = self.receive(dispatch, body);
                    if end.is_some() {
                        return end;
                    }
                }
                Frame::TooLong { bytes } => {
                    let limit = self.frames.max_body_bytes();
                    let message = format!("a message of {bytes} bytes is above the limit of {limit} bytes");
                    dispatch.answer_at_once(&RequestId::Null, &RpcError::invalid_request(message));
                }
                Frame::Broken(reason) => {
                    dispatch.answer_at_once(&RequestId::Null, &RpcError::parse_error(reason.to_string()));
                    return Some(End::Broken);
                }
                Frame::End => return Some(End::InputEnded),
            }
            if !(self.frames.has_next() && dispatch.has_room()) {
                return None;
            }
        }
    }

    fn receive(&mut self, dispatch: &Arc<Dispatch>, body: Vec<u8>) -> Option<End> {
        let received = Instant::now();
        self.check_last(dispatch);
        let incoming = match &self.phase {
            Phase::Running(_) => envelope::skim(body, |method| self.routes.iter().any(|route| route.name == method)),
            Phase::Uninitialized | Phase::ShutDown(_) => envelope::parse(body),
        };
        match incoming {
            Ok(Incoming::Request { id, method, params }) => self.request(dispatch, id, &method, params, received),
            Ok(Incoming::Notification { method, params }) => return self.notification(dispatch, &method, &params),
            Ok(Incoming::Response(text)) => match &self.phase {
                Phase::Running(session) | Phase::ShutDown(session) if session.editor.answered(&text) => {}
                _ => dispatch.lsp.answered_by_client(&text),
            },
            Err(refused) => dispatch.answer_at_once(&refused.id, &refused.error),
        }
        None
    }

    fn request(&mut self, dispatch: &Arc<Dispatch>, id: RequestId, method: &str, params: Params, received: Instant) {
        let route = self.routes.iter().find(|route| route.name == method);
        let name = match method {
            "initialize" => Some("initialize"),
            "shutdown" => Some("shutdown"),
            _ => route.map(|route| route.name),
        };
        let Some(method) = name else { return self.unknown(dispatch, &id, method) };
        let asked = Asked { id, method, received };
        match (&self.phase, route) {
            (Phase::Uninitialized, _) if method == "initialize" => self.initialize(dispatch, &asked, &params),
            (Phase::Uninitialized, _) => dispatch.refuse(&asked, &RpcError::not_initialized()),
            (Phase::ShutDown(_), _) => dispatch.refuse(&asked, &after_shutdown()),
            (Phase::Running(session), Some(route)) => {
                let documents = session.editor.documents();
                let params = Arc::new(params);
                self.unchecked = Some((asked.id.clone(), Arc::downgrade(&params)));
                dispatch.admit(asked, Job::Ploke { route, session: session.clone(), documents, params });
            }
            (Phase::Running(session), None) if method == "shutdown" => {
                dispatch.admit(asked, Job::Shutdown);
                self.phase = Phase::ShutDown(session.clone());
            }
            (Phase::Running(_), None) => {
                dispatch.refuse(&asked, &RpcError::invalid_request("the server has been initialized already"));
            }
        }
    }

    /// What comes next may speak of the request before by its id: that must be one.
    fn check_last(&mut self, dispatch: &Arc<Dispatch>) {
        let Some((id, params)) = self.unchecked.take() else { return };
        if let Some(ReadAgain::Refused(refused)) = params.upgrade().map(|params| params.read_again()) {
            dispatch.retract(&id, &refused);
        }
    }

    fn notification(&self, dispatch: &Arc<Dispatch>, method: &str, params: &Params) -> Option<End> {
        match method {
            "exit" => return Some(End::Exit),
            "$/cancelRequest" => {
                if let Some(id) = cancelled_id(params.get()) {
                    dispatch.cancel(&id);
                }
            }
            _ if LSP_NOTIFICATIONS.contains(&method) => dispatch.lsp.notify(method, params.get()),
            _ => {
                if let Phase::Running(session) | Phase::ShutDown(session) = &self.phase {
                    session.editor.notified(method, params.get().unwrap_or("null"));
                }
            }
        }
        None
    }

    fn unknown(&self, dispatch: &Dispatch, id: &RequestId, method: &str) {
        let error = match self.phase {
            Phase::Uninitialized => RpcError::not_initialized(),
            Phase::Running(_) => RpcError::method_not_found(method),
            Phase::ShutDown(_) => after_shutdown(),
        };
        dispatch.answer_at_once(id, &error);
    }

    /// Says why the session ends.
    pub fn end(self, why: End) {
        // Nobody listens when the session has ended for another reason.
        let _ = self.session_ends.send(why);
    }

    /// Opens the session; nothing else is read meanwhile.
    fn initialize(&mut self, dispatch: &Dispatch, asked: &Asked, params: &Params) {
        let params = params.get().unwrap_or("null");
        // tower-lsp decodes them again, but does not say where they are wrong.
        let decoded = decode_params::<InitializeParams>(params);
        let process_id = decoded.as_ref().ok().and_then(|params| params.process_id);
        let result = decoded
            .and_then(|_| decode::<Value>(params))
            .and_then(|params| dispatch.lsp.request("initialize", Some(params)))
            .and_then(|result| encode_result(&asked.id, result));
        let (response, session) = match (result, dispatch.lsp.agreed().session()) {
            (Ok(response), Some(session)) => (response, session.clone()),
            (Ok(_), None) => {
                return dispatch.refuse(asked, &RpcError::internal("initialize: there is no session"));
            }
            (Err(error), _) => return dispatch.refuse(asked, &error),
        };
        let connection = &dispatch.connection;
        connection.metrics.record(asked.method, asked.received.elapsed(), false);
        connection.outbox.push(response);
        session.connect(connection.clone());
        self.frames.set_max_body_bytes(session.max_message_bytes);
        self.phase = Phase::Running(session);
        let session_ends = self.session_ends.clone();
        self.client_process = process_id.and_then(|id| {
            ClientProcess::watch(id, move || {
                // Nobody listens when the session has ended already.
                let _ = session_ends.send(End::InputEnded);
            })
        });
    }
}

fn after_shutdown() -> RpcError {
    RpcError::invalid_request("the server has been shut down")
}

fn cancelled_id(params: Option<&str>) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct CancelParams<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let params: CancelParams = serde_json::from_str(params?).ok()?;
    RequestId::parse(params.id)
}
