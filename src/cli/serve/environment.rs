//! Settings in environment variables.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, Args, Command, Error, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::ServeArgs;

/// The settings that are in the environment; an empty variable is none.
///
/// # Errors
/// If a variable has a value that its flag would not take; the error names the variable.
pub(super) fn environment() -> Result<ServeArgs, Error> {
    let mut settings = ServeArgs::default();
    let command = ServeArgs::augment_args(Command::new("ploke-io").no_binary_name(true));
    for arg in command.get_arguments() {
        let Some((flag, variable)) = arg.get_long().zip(variable(arg)) else { continue };
        let Some(value) = env::var_os(&variable).filter(|value| !value.is_empty()) else { continue };
        let flags = values(arg, value).map(|value| with_value(flag, &value));
        let matches = command.clone().try_get_matches_from(flags).map_err(|error| naming(variable, error))?;
        settings.update_from_arg_matches(&matches)?;
    }
    Ok(settings)
}

/// The option with its variable in its help.
pub(super) fn telling_variable(arg: Arg) -> Arg {
    match (variable(&arg), arg.get_help()) {
        (Some(variable), Some(help)) => {
            let help = format!("{help} [env: {variable}]");
            arg.help(help)
        }
        _ => arg,
    }
}

/// `PLOKE_IO_` and the name of the flag; flags that are no settings have none.
fn variable(arg: &Arg) -> Option<String> {
    let flag = arg.get_long().filter(|_| arg.get_action().takes_values())?;
    Some(format!("PLOKE_IO_{}", flag.to_uppercase().replace('-', "_")))
}

/// What a flag may be given several times is in its variable a list like PATH.
fn values(arg: &Arg, value: OsString) -> impl Iterator<Item = OsString> {
    let values = match arg.get_action() {
        ArgAction::Append => env::split_paths(&value).map(PathBuf::into_os_string).collect(),
        _ => vec![value],
    };
    values.into_iter().filter(|value| !value.is_empty())
}

fn with_value(flag: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(format!("--{flag}="));
    argument.push(value);
    argument
}

fn naming(variable: String, mut error: Error) -> Error {
    if error.kind() == ErrorKind::InvalidUtf8 {
        return Error::raw(ErrorKind::InvalidUtf8, format!("{variable} is not UTF-8\n"));
    }
    error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    error
}
