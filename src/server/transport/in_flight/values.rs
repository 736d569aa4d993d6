//! What is said about requests in flight, and to the workers that carry them out.

use std::time::Instant;

use crate::{CancelToken, server::method::RequestId};

#[derive(Clone, Copy)]
pub struct Limits {
    /// Requests that run at the same time.
    pub running: usize,
    /// Of these, as many as are begun before it is known whether they take long.
    pub short: usize,
    /// Bytes of requests that wait; reading stops beyond.
    pub waiting_bytes: usize,
}

/// A request that waits; `J` is whatever is needed to carry it out.
pub struct Waiting<J> {
    pub asked: Asked,
    pub cancel: CancelToken,
    /// Memory it keeps.
    pub bytes: usize,
    /// Starts only after everything before it has been answered.
    pub alone: bool,
    pub job: J,
}

/// What a request is called, and since when it is in flight.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: RequestId,
    pub method: &'static str,
    pub received: Instant,
}

/// What a worker is to do next.
pub enum Turn<J> {
    /// Take in what the client has sent; nobody else does meanwhile.
    Read,
    CarryOut(Ticket, Waiting<J>),
    /// Write the answers that have been given.
    Write,
}

/// What a worker comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Worker {
    First,
    Called,
    HasRead,
    HasCarriedOut,
    HasWritten,
}

/// Requests by the order they came in; ids may be used again once they have been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// Whether another worker has to be made for what waits.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub enum Help {
    NewWorker,
    NotNeeded,
}

#[derive(Debug, PartialEq)]
pub enum NotAdmitted {
    /// A request with this id has not been answered yet.
    Duplicate,
    /// The session has ended.
    Closed,
}
