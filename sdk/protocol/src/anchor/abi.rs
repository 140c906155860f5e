//! The words of Solidity's contract ABI (specification, "Formal Specification of the Encoding"): 32 bytes each.
//!
//! Takes and gives whole words. Numbers are right-aligned, big-endian, their unused bytes zero. Of the encodings that
//! the specification allows a reader to meet there is one that is written: every dynamic part right behind the head it
//! belongs to, in order, without gaps.

use super::AnchorError;
use crate::hash::{self, Address, NodeHash};

/// A number as a word.
pub(super) const fn number(value: u64) -> [u8; 32] {
    let (mut word, bytes) = ([0; 32], value.to_be_bytes());
    let mut at = 0;
    while at < 8 {
        word[24 + at] = bytes[at];
        at += 1;
    }
    word
}

/// An address as a word.
pub(super) fn address(address: &Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address.as_bytes());
    word
}

/// The number of a word.
pub(super) fn read_number(word: &[u8; 32]) -> Result<u64, AnchorError> {
    let (zeros, number) = word.split_last_chunk::<8>().ok_or(AnchorError::Number)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(AnchorError::Number);
    }
    Ok(u64::from_be_bytes(*number))
}

fn selector(function: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = hash::abi_signature(function);
    [a, b, c, d]
}

/// Writes words.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Call data of a function.
    pub(super) fn call(function: &str) -> Self {
        Self(selector(function).to_vec())
    }

    /// Data without a selector.
    pub(super) const fn data() -> Self {
        Self(Vec::new())
    }

    pub(super) fn word(&mut self, word: [u8; 32]) {
        self.0.extend_from_slice(&word);
    }

    pub(super) fn number(&mut self, value: u64) {
        self.word(number(value));
    }

    /// The tail of a `bytes32[]`: its length, then its words.
    pub(super) fn hashes(&mut self, hashes: &[NodeHash]) {
        self.number(hashes.len() as u64);
        hashes.iter().for_each(|hash| self.word(*hash.as_bytes()));
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads words.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Call data of a function.
    pub(super) fn call(function: &str, data: &'a [u8]) -> Result<Self, AnchorError> {
        data.strip_prefix(&selector(function)).map(Self).ok_or(AnchorError::Selector)
    }

    /// Data without a selector.
    pub(super) const fn data(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn word(&mut self) -> Result<[u8; 32], AnchorError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(AnchorError::Truncated)?;
        self.0 = rest;
        Ok(*word)
    }

    pub(super) fn number(&mut self) -> Result<u64, AnchorError> {
        read_number(&self.word()?)
    }

    /// An offset, which must be this many words.
    pub(super) fn offset(&mut self, words: usize) -> Result<(), AnchorError> {
        if self.number()? == (words * 32) as u64 { Ok(()) } else { Err(AnchorError::Offset) }
    }

    /// A length, bounded.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, AnchorError> {
        let count = usize::try_from(self.number()?).map_err(|_| AnchorError::Count)?;
        if count > max { Err(AnchorError::Count) } else { Ok(count) }
    }

    /// The tail of a `bytes32[]`.
    pub(super) fn hashes(&mut self, max: usize) -> Result<Vec<NodeHash>, AnchorError> {
        let count = self.count(max)?;
        (0..count).map(|_| self.word().map(NodeHash::from_bytes)).collect()
    }

    /// Nothing may follow.
    pub(super) const fn end(self) -> Result<(), AnchorError> {
        if self.0.is_empty() { Ok(()) } else { Err(AnchorError::Surplus) }
    }
}
