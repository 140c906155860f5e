//! The kept inputs: `corpus/<target>/`, one file an input, and `artifacts/<target>/` for those that broke a law.
//!
//! Takes and gives bytes. Fails when a folder cannot be read or written.

use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// Where a target's corpus lies.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Every kept input of a target in the order of their names; none if the folder is not there.
///
/// # Errors
/// If a file cannot be read.
pub fn load(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match std::fs::read_dir(folder(target)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut inputs = Vec::new();
    for entry in entries {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Keeps an input of a new shape.
///
/// # Errors
/// If the file cannot be written.
pub fn keep(target: &Target, shape: &str, input: &[u8]) -> io::Result<PathBuf> {
    let slug: String =
        shape.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let words = slug.split('-').filter(|word| !word.is_empty()).take(6).collect::<Vec<_>>().join("-");
    write(&folder(target), &format!("{words}-{:08x}", name_of(input)), input)
}

/// Keeps an input that broke a law, outside of the corpus.
///
/// # Errors
/// If the file cannot be written.
pub fn keep_artifact(target: &Target, input: &[u8]) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name);
    write(&folder, &format!("{:08x}", name_of(input)), input)
}

fn write(folder: &Path, name: &str, input: &[u8]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(name);
    std::fs::write(&path, input)?;
    Ok(path)
}

/// FNV-1a: a name for a file, nothing more.
fn name_of(input: &[u8]) -> u32 {
    input.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
