#[cfg(feature = "server")]
mod command_line;
