//! Files with a secret in them: keys, PINs, tokens, credentials.
//!
//! A file is read only if nobody but its owner can use it and its owner is this process's user (or root). It is opened
//! first and asked then, so that the answer is about the file that is read. Messages name the file and the rule, never
//! what is in it.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::config::OpenError;

/// Longer than any secret that is read; nothing is read past it.
const BYTES_MAX: u64 = 64 * 1024;

/// Reads a file with a secret in it, after checking who else could.
///
/// # Errors
/// [`OpenError::Unsafe`] if others may use it; [`OpenError::Config`] if it cannot be read, is no file or is too long.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let fail = |error: std::io::Error| OpenError::Config(format!("failed to read {}: {error}", path.display()));
    let file = File::open(path).map_err(fail)?;
    check(path, &file.metadata().map_err(fail)?)?;
    read_bounded(file, path)
}

/// Reads one line from an inherited file descriptor, a pipe as a rule: what was written there is read once.
///
/// # Errors
/// [`OpenError::Config`] if there is no such descriptor or it gives no line.
pub(super) fn read_descriptor(descriptor: u32) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let path = format!("/dev/fd/{descriptor}");
    let path = Path::new(&path);
    let fail = |error: std::io::Error| OpenError::Config(format!("failed to read {}: {error}", path.display()));
    read_bounded(File::open(path).map_err(fail)?, path)
}

/// One line of text: a final line end is taken off, another one or an empty line is an error.
pub(super) fn one_line(bytes: &[u8], path: &str) -> Result<Zeroizing<String>, OpenError> {
    let text = std::str::from_utf8(bytes).map_err(|_| OpenError::Config(format!("{path} is not UTF-8")))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(OpenError::Config(format!("{path} does not hold exactly one line")));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn read_bounded(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| OpenError::Config(format!("failed to read {}: {error}", path.display())))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(OpenError::Config(format!("{} is longer than {BYTES_MAX} bytes", path.display())));
    }
    Ok(bytes)
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), OpenError> {
    let name = path.display();
    if !metadata.is_file() {
        return Err(OpenError::Config(format!("{name} is not a file")));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::Unsafe(format!(
            "{name} holds a secret and has mode {mode:04o}, so that others may use it; chmod 600"
        )));
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user && owner != 0 {
        return Err(OpenError::Unsafe(format!("{name} holds a secret and belongs to user {owner}, not to {user}")));
    }
    Ok(())
}
