//! Lines for people: truncated by the host, never part of state or outcome.

use crate::abi;

/// The author must look at it.
pub fn error(text: &str) {
    abi::log(0, text);
}

/// Odd, but handled.
pub fn warn(text: &str) {
    abi::log(1, text);
}

/// Worth a line.
pub fn info(text: &str) {
    abi::log(2, text);
}

/// For development.
pub fn debug(text: &str) {
    abi::log(3, text);
}
