//! The log on standard error, as lines or as JSON.
//!
//! Takes the form and a filter; gives a subscriber for the whole process. Fails on a filter that is none. Secrets
//! never reach it: types that hold them have a debug text without them.

use tracing_subscriber::EnvFilter;

use crate::cli::LogForm;
use crate::exit::Failure;

/// Starts logging. A second call in one process changes nothing.
///
/// # Errors
/// The filter cannot be read.
pub fn start(form: LogForm, filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::usage(format!("failed to read the log level {filter:?}: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that logging was started before.
    let _ = match form {
        LogForm::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogForm::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
