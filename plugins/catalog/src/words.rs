//! The words of a text, as they are searched for.
//!
//! A word is a run of ASCII letters and digits and of all characters beyond ASCII. ASCII capitals are folded; nothing else
//! is: no other case, no accents, no stems. Of a longer word the first 32 bytes count, cut where a character ends.

use alloc::string::String;
use alloc::vec::Vec;

use crate::manifest::Manifest;

/// Longest word in bytes.
const WORD_BYTES_MAX: usize = 32;
/// Words under which one SKU is found: what a publication writes is bounded by it.
pub(crate) const WORDS_MAX: usize = 64;

/// The words of a text, in its order.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let runs = text.split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| {
        let mut end = run.len().min(WORD_BYTES_MAX);
        while !run.is_char_boundary(end) {
            end -= 1;
        }
        run[..end].to_ascii_lowercase()
    })
}

/// The words under which a version is found, each once, in order of their bytes: the first 64 of its name, category, tags
/// and description, in this order.
pub(crate) fn of_manifest(manifest: &Manifest<'_>) -> Vec<String> {
    let texts = [&manifest.name, &manifest.category].into_iter().chain(&manifest.tags).chain([&manifest.description]);
    let mut found: Vec<String> = Vec::new();
    for word in texts.flat_map(|text| words(text)) {
        if let Err(at) = found.binary_search(&word) {
            found.insert(at, word);
        }
        if found.len() == WORDS_MAX {
            break;
        }
    }
    found
}
