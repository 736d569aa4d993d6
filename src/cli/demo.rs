use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {}
pub(super) fn run(args: &DemoArgs) -> ExitCode {
    ExitCode::SUCCESS
}
