//! `ploke-io schema`: the JSON schema of the wire types.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::protocol::schema::schema;

pub(super) fn run() -> ExitCode {
    match writeln!(io::stdout(), "{:#}", schema()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as in `ploke-io schema | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ploke-io: could not print the schema: {error}");
            ExitCode::FAILURE
        }
    }
}
