//! How many descriptors the manager may use.

use crate::error::{IoError, IoErrorKind};

/// The environment variable that sets the limit where the program does not.
pub const FD_LIMIT_VARIABLE: &str = "PLOKE_IO_FD_LIMIT";

const LEAST: u64 = 4;
const MOST: u64 = 1024;
const USUAL_MOST: u64 = 100;
const WITHOUT_KNOWLEDGE: u64 = 50;

/// The limit asked for, else that of the environment, both clamped to 4..=1024; else a third of the soft limit of open
/// files, at most 100; else 50.
pub(super) fn fd_limit(asked: Option<u64>) -> Result<u64, IoError> {
    let environment = match std::env::var_os(FD_LIMIT_VARIABLE) {
        Some(value) if !value.is_empty() => Some(parse(&value.to_string_lossy())?),
        _ => None,
    };
    Ok(choose(asked, environment, soft_limit()))
}

/// Directories that one transaction may keep open: three quarters of the soft limit of open files.
pub(super) fn max_commit_dirs() -> usize {
    let soft = soft_limit().and_then(|soft| usize::try_from(soft).ok()).unwrap_or(usize::MAX);
    soft / 4 * 3
}

fn choose(asked: Option<u64>, environment: Option<u64>, soft_limit: Option<u64>) -> u64 {
    match asked.or(environment) {
        Some(limit) => limit.clamp(LEAST, MOST),
        None => soft_limit.map_or(WITHOUT_KNOWLEDGE, |soft| (soft / 3).clamp(LEAST, USUAL_MOST)),
    }
}

fn parse(value: &str) -> Result<u64, IoError> {
    value.trim().parse().map_err(|_| {
        IoError::new("", IoErrorKind::InvalidSetting(format!("{FD_LIMIT_VARIABLE} is {value:?}, not a whole number")))
    })
}

#[cfg(unix)]
fn soft_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    // No limit is as good as a high one.
    Some(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

#[cfg(not(unix))]
fn soft_limit() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_and_clamp() {
        for (asked, environment, soft, limit) in [
            (Some(64), Some(7), Some(900), 64),
            (Some(1), Some(7), Some(900), 4),
            (Some(5000), None, Some(900), 1024),
            (None, Some(7), Some(900), 7),
            (None, Some(0), Some(900), 4),
            (None, Some(9999), None, 1024),
            (None, None, Some(60), 20),
            (None, None, Some(1024), 100),
            (None, None, Some(u64::MAX), 100),
            (None, None, Some(3), 4),
            (None, None, None, 50),
        ] {
            assert_eq!(choose(asked, environment, soft), limit, "{asked:?} {environment:?} {soft:?}");
        }
    }

    #[test]
    fn a_malformed_variable_is_an_error_that_names_it() {
        assert_eq!(parse(" 12 ").unwrap(), 12);
        assert!(parse("many").unwrap_err().to_string().contains(FD_LIMIT_VARIABLE));
    }
}
