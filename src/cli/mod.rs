//! The command line: a file per subcommand.

mod demo;
mod schema;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// File sidecar for agents and editors: verified reads, change scans, guarded edits and file events.
///
/// Without a subcommand it serves: it speaks JSON-RPC on stdin and stdout until the client ends the session.
#[derive(Debug, Parser)]
#[command(name = "ploke-io", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one client on stdin and stdout (the default)
    Serve(Box<serve::ServeArgs>),
    /// Print the JSON schema of all ploke/* messages
    Schema,
    /// Show a working session on a temporary copy of a project
    Demo(demo::DemoArgs),
}

impl Cli {
    /// Runs what was asked for; to be called once in a process, by its main thread.
    pub fn run(self) -> ExitCode {
        match self.command {
            None => serve::run(self.serve),
            Some(Command::Serve(args)) => serve::run(*args),
            Some(Command::Schema) => schema::run(),
            Some(Command::Demo(args)) => demo::run(&args),
        }
    }
}

/// Runs the test that calls this once more in a process of its own, there without a result.
#[cfg(test)]
pub(crate) fn in_own_process(
    test: &str,
    prepare: impl FnOnce(&mut std::process::Command),
) -> Option<std::process::Output> {
    const MARK: &str = "TEST_IN_OWN_PROCESS";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let this_binary = std::env::current_exe().expect("a test binary has a path");
    let mut process = std::process::Command::new(this_binary);
    process.args(["--exact", test, "--nocapture"]).env(MARK, "1");
    prepare(&mut process);
    Some(process.output().expect("a test binary can be run"))
}
