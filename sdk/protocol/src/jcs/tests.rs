//! Laws of canonical JSON.
