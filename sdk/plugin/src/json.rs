//! Canonical JSON without a tree: a checked view over received bytes, and a writer.
//!
//! Takes bytes, checks them once ([`Json::parse`]), and gives views that borrow from them: nothing is decoded before it
//! is asked for, and a text without escapes is not copied. [`Object`] and [`Array`] write what the host accepts:
//! members in order, no white space, integers within ±(2^53 − 1).
//! There are no floats in a plugin, so a number with a fraction or an exponent can be passed on but not read.

mod read;
mod write;

pub use read::{DEPTH_MAX, Json, Malformed};
pub use write::{Array, INTEGER_MAX, Object};

#[cfg(test)]
mod tests;
