//! Changes bytes the way mistakes and attackers do: flips, lengths off by one, cuts, repeats, splices, words.
//!
//! Takes a seed, so that the same seed makes the same inputs. Gives inputs of bounded size.

/// Inputs grow to at most this; larger ones only slow the loop down.
const INPUT_BYTES_MAX: usize = 8192;

/// A repeatable source of mutations.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// The same seed gives the same mutations.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// A mutant of one of the inputs.
    pub fn mutate(&mut self, inputs: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let which = self.below(inputs.len());
        let mut bytes = inputs.get(which).cloned().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, inputs, words);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&[u8]]) {
        match self.below(10) {
            0 => self.flip(bytes),
            1 => self.replace_byte(bytes),
            2 => self.shift_number(bytes),
            3 => bytes.truncate(self.below(bytes.len() + 1)),
            4 => self.remove(bytes),
            5 => self.repeat(bytes),
            6 => self.splice(bytes, inputs),
            7 => self.insert_byte(bytes),
            _ => self.insert_word(bytes, words),
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        let bit = self.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn replace_byte(&mut self, bytes: &mut [u8]) {
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'\n'];
        let at = self.below(bytes.len());
        let edge = EDGES[self.below(EDGES.len())];
        if let Some(byte) = bytes.get_mut(at) {
            *byte = edge;
        }
    }

    /// Treats four bytes as a length and moves it a little, or to an edge.
    fn shift_number(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        let step = [1, u32::MAX, 4, 0x100, u32::MAX - 3][self.below(5)];
        let absolute = [0, u32::MAX, 0x7fff_ffff, 0x10_0000][self.below(4)];
        let edge = self.below(4) == 0;
        if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            let number = u32::from_be_bytes(*field);
            *field = if edge { absolute } else { number.wrapping_add(step) }.to_be_bytes();
        }
    }

    fn remove(&mut self, bytes: &mut Vec<u8>) {
        let from = self.below(bytes.len());
        let length = 1 + self.below(16);
        let to = (from + length).min(bytes.len());
        bytes.drain(from..to);
    }

    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let from = self.below(bytes.len());
        let length = 1 + self.below(64);
        let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
        let times = 1 + self.below(4);
        let at = self.below(bytes.len() + 1);
        bytes.splice(at..at, piece.repeat(times));
    }

    fn splice(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let which = self.below(inputs.len());
        let Some(other) = inputs.get(which) else { return };
        let (from, at) = (self.below(other.len()), self.below(bytes.len() + 1));
        bytes.truncate(at);
        bytes.extend_from_slice(&other[from..]);
    }

    fn insert_byte(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let byte = (self.next() & 0xff) as u8;
        bytes.insert(at, byte);
    }

    /// Puts a word in, or over what is there.
    fn insert_word(&mut self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
        let which = self.below(words.len());
        let Some(word) = words.get(which) else { return self.flip(bytes) };
        let at = self.below(bytes.len() + 1);
        let over = if self.below(2) == 0 { 0 } else { word.len() };
        let end = (at + over).min(bytes.len());
        bytes.splice(at..end, word.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_never_one_too_large() {
        let inputs = [vec![1, 2, 3, 4, 5, 6, 7, 8], Vec::new(), vec![b'x'; INPUT_BYTES_MAX]];
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..500).map(|_| mutator.mutate(&inputs, &[b"word"])).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(3).iter().all(|input| input.len() <= INPUT_BYTES_MAX));
        assert_eq!(Mutator::new(1).mutate(&[], &[]).len().min(1), Mutator::new(1).mutate(&[], &[]).len().min(1));
    }
}
