//! The `ploke-io` sidecar.

use std::process::ExitCode;

use clap::Parser;
use ploke_io::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
