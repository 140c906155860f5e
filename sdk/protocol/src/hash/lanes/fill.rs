//! Keeps the lanes filled: which block comes next in which lane.
//!
//! Takes messages and a block function for N lanes, gives digests in the messages' order. Blocks that lie whole in a
//! message are used where they are; only those with a prefix, padding or the length are put together.

use sha2::block_api::compress256;

/// Bytes of a block.
const BLOCK: usize = 64;
/// The state before the first block (FIPS 180-4 section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

pub(super) type Block = [u8; BLOCK];
/// Word by word, the state of each lane.
pub(super) type States<const N: usize> = [[u32; N]; 8];

/// A padded block of SHA-512.
pub(super) type WideBlock = [u8; 128];
/// Word by word, the state of SHA-512 of each lane.
pub(super) type WideStates<const N: usize> = [[u64; N]; 8];

/// The state of SHA-512 before the first block (FIPS 180-4 section 5.3.5).
const WIDE_INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// With this many lanes at work or fewer, one by one is faster.
const BUSY_MIN: usize = 1;

/// SHA-256 of `prefix | message` for each message, `prefix` being shorter than a block.
pub(super) fn narrow<const N: usize>(
    compress: impl Fn(&mut States<N>, &[&Block; N]),
    prefix: &[u8],
    messages: &mut dyn Iterator<Item = &[u8]>,
    out: &mut Vec<[u8; 32]>,
) {
    let mut lanes = Lanes {
        states: INITIAL.map(|word| [word; N]),
        todo: [Todo::Idle; N],
        rest: [&[]; N],
        total: [0; N],
        index: [0; N],
        buffers: [[0; BLOCK]; N],
    };
    let mut busy = (0..N).filter(|&lane| lanes.take(lane, prefix, messages, out)).count();
    while busy > BUSY_MIN {
        let mut finished = 0u32;
        let mut direct: [Option<&Block>; N] = [None; N];
        for (lane, direct) in direct.iter_mut().enumerate() {
            let (block, last) = lanes.next_block(lane);
            *direct = block;
            finished |= u32::from(last) << lane;
        }
        let blocks: [&Block; N] = core::array::from_fn(|lane| direct[lane].unwrap_or(&lanes.buffers[lane]));
        compress(&mut lanes.states, &blocks);
        while finished != 0 {
            let lane = finished.trailing_zeros() as usize;
            finished &= finished - 1;
            out[lanes.index[lane]] = digest(&lanes.states.map(|word| word[lane]));
            if !lanes.take(lane, prefix, messages, out) {
                busy -= 1;
            }
        }
    }
    for lane in 0..N {
        lanes.finish(lane, out);
    }
}

/// What one lane has before it.
#[derive(Clone, Copy)]
enum Todo {
    Idle,
    /// The first block, already in the lane's buffer; behind it the message goes on.
    First,
    /// What is left of the message.
    Rest,
    /// The message is out; only padding and length are left.
    Length,
}

struct Lanes<'a, const N: usize> {
    states: States<N>,
    todo: [Todo; N],
    rest: [&'a [u8]; N],
    /// Bytes of prefix and message together.
    total: [usize; N],
    /// Whose digest the lane makes.
    index: [usize; N],
    /// Blocks that are not simply bytes of the message.
    buffers: [Block; N],
}

impl<'a, const N: usize> Lanes<'a, N> {
    /// Gives the lane the next message; false if there is none.
    fn take(
        &mut self,
        lane: usize,
        prefix: &[u8],
        messages: &mut dyn Iterator<Item = &'a [u8]>,
        out: &mut Vec<[u8; 32]>,
    ) -> bool {
        let Some(message) = messages.next() else {
            self.todo[lane] = Todo::Idle;
            return false;
        };
        self.index[lane] = out.len();
        out.push([0; 32]);
        for (word, initial) in self.states.iter_mut().zip(INITIAL) {
            word[lane] = initial;
        }
        self.total[lane] = prefix.len() + message.len();
        (self.todo[lane], self.rest[lane]) = (Todo::Rest, message);
        if !prefix.is_empty() {
            // The prefix is shorter than a block, so it and what follows fill at most the first.
            let here = message.len().min(BLOCK - prefix.len());
            let buffer = &mut self.buffers[lane];
            buffer[..prefix.len()].copy_from_slice(prefix);
            buffer[prefix.len()..prefix.len() + here].copy_from_slice(&message[..here]);
            self.rest[lane] = &message[here..];
            self.todo[lane] = Todo::First;
        }
        true
    }

    /// The lane's next block, `None` if it is in the lane's buffer; and whether it is the message's last.
    #[inline(always)]
    fn next_block(&mut self, lane: usize) -> (Option<&'a Block>, bool) {
        match self.todo[lane] {
            Todo::Rest => match self.rest[lane].split_first_chunk() {
                Some((block, rest)) => {
                    self.rest[lane] = rest;
                    (Some(block), false)
                }
                None => {
                    let rest = self.rest[lane];
                    self.buffers[lane][..rest.len()].copy_from_slice(rest);
                    (None, self.pad(lane, rest.len()))
                }
            },
            Todo::First if self.total[lane] >= BLOCK => {
                self.todo[lane] = Todo::Rest;
                (None, false)
            }
            Todo::First => (None, self.pad(lane, self.total[lane])),
            Todo::Length => {
                self.buffers[lane] = [0; BLOCK];
                self.length(lane);
                (None, true)
            }
            Todo::Idle => (None, false),
        }
    }

    /// Pads the buffer after `used` bytes of the message; true if the length had room too.
    fn pad(&mut self, lane: usize, used: usize) -> bool {
        let buffer = &mut self.buffers[lane];
        buffer[used] = 0x80;
        buffer[used + 1..].fill(0);
        let room = used + 9 <= BLOCK;
        if room {
            self.length(lane);
        } else {
            self.todo[lane] = Todo::Length;
        }
        room
    }

    fn length(&mut self, lane: usize) {
        let bits = self.total[lane] as u64 * 8;
        self.buffers[lane][BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    }

    /// Finishes the lane's message by itself.
    fn finish(&mut self, lane: usize, out: &mut [[u8; 32]]) {
        if matches!(self.todo[lane], Todo::Idle) {
            return;
        }
        let mut state = self.states.map(|word| word[lane]);
        if matches!(self.todo[lane], Todo::Rest) {
            let (blocks, rest) = self.rest[lane].as_chunks();
            compress256(&mut state, blocks);
            self.rest[lane] = rest;
        }
        loop {
            let (direct, last) = self.next_block(lane);
            compress256(&mut state, core::slice::from_ref(direct.unwrap_or(&self.buffers[lane])));
            if last {
                out[self.index[lane]] = digest(&state);
                return;
            }
        }
    }
}

fn digest(state: &[u32; 8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}

/// SHA-512 of messages of 96 bytes, each in three parts.
pub(super) fn wide<'a, const N: usize>(
    compress: impl Fn(&mut WideStates<N>, &[WideBlock; N]),
    mut messages: impl Iterator<Item = [&'a [u8; 32]; 3]>,
) -> Vec<[u8; 64]> {
    let mut out = Vec::with_capacity(messages.size_hint().0);
    let mut blocks = [[0; 128]; N];
    for block in &mut blocks {
        block[96] = 0x80;
        block[112..].copy_from_slice(&(96u128 * 8).to_be_bytes());
    }
    loop {
        let mut taken = 0;
        for (block, message) in blocks.iter_mut().zip(&mut messages) {
            for (place, part) in block.chunks_exact_mut(32).zip(message) {
                place.copy_from_slice(part);
            }
            taken += 1;
        }
        if taken == 0 {
            return out;
        }
        let mut states = WIDE_INITIAL.map(|word| [word; N]);
        compress(&mut states, &blocks);
        out.extend((0..taken).map(|lane| wide_digest(&states.map(|word| word[lane]))));
    }
}

fn wide_digest(state: &[u64; 8]) -> [u8; 64] {
    let mut out = [0; 64];
    for (bytes, word) in out.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}
