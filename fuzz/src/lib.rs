//! Hostile input for every decoder: each check is a plain function over bytes.
//!
//! *In scope*: the table of targets, their seeds, the mutator, the loop that runs them.
//! *Out of scope*: what bytes mean; that is the decoders' business.
//!
//! A check decodes and holds the laws of strict decoding: no input panics, what is accepted encodes to the same bytes,
//! and two ways to read the same bytes agree. It gives the [`Shape`] of what happened; an input with a new shape is
//! worth keeping, which guides the loop without an instrumented compiler. `tests/replay.rs` replays the corpus.

pub mod checks;
pub mod corpus;
pub mod hunt;
pub mod mutate;

// The gateway's reader of request bodies, from its own source: it uses the protocol alone, so that no database is
// compiled to fuzz it.
#[allow(dead_code, reason = "the gateway uses more of it than its checks do")]
#[path = "../../sequencer/gateway/src/envelope.rs"]
mod envelope;
#[path = "../../sequencer/gateway/src/json.rs"]
mod json;

pub use checks::TARGETS;

/// What happened to an input, without its values: accepted and how, or the kind of refusal.
pub type Shape = String;

/// One decoder under fire.
pub struct Target {
    /// Its name on the command line and its folder in `corpus/`.
    pub name: &'static str,
    /// What it decodes.
    pub about: &'static str,
    /// The files of `sdk/*/src/` whose decoders it reaches.
    pub files: &'static [&'static str],
    /// Pieces of its grammar, for the mutator.
    pub words: &'static [&'static [u8]],
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Decodes, and panics when a law breaks.
    pub check: fn(&[u8]) -> Shape,
}

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs one input for a loop that has coverage to go by and needs no shape: `fuzz_targets/`.
///
/// # Panics
/// When a law breaks, and when there is no target of that name.
pub fn fire(name: &str, input: &[u8]) {
    let target = find(name).expect("a target of that name");
    let _ = (target.check)(input);
}

/// The shape of a refusal: the error's debug text without its numbers and quoted parts.
pub fn shape_of(error: &impl core::fmt::Debug) -> Shape {
    let text = format!("{error:?}");
    let mut shape = String::with_capacity(text.len());
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        if !quoted && !c.is_ascii_digit() {
            shape.push(c);
        }
    }
    shape
}
