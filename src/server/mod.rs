//! placeholder
use std::io::{Read, Write};

use crate::protocol::{InitializationOptions, initialize::LogOptions};

pub(crate) type ConfigureLogging = Box<dyn Fn(&LogOptions) -> Result<(), String> + Send + Sync>;

#[derive(Default)]
pub(crate) struct ServerOptions {
    pub defaults: InitializationOptions,
    pub configure_logging: Option<ConfigureLogging>,
}

pub(crate) fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: ServerOptions,
) -> u8 {
    0
}
