//! The SHA-256 block function (FIPS 180-4 section 6.2.2) in eight lanes with AVX2 and sixteen with AVX-512.
//!
//! A token proves that the processor has the instructions, so calling is safe. Every lane is a block of its own: row
//! by row the sixteen words are loaded, then turned so that each vector holds one word of all lanes.

use archmage::intrinsics::x86_64::*;
use archmage::{SimdToken, X64V3Token, X64V4Token, arcane, rite};

use super::{Block, States};

/// Proof of AVX2.
pub(super) type Avx2 = X64V3Token;
/// Proof of AVX-512 F, BW, CD, DQ and VL.
pub(super) type Avx512 = X64V4Token;

pub(super) fn avx2() -> Option<Avx2> {
    X64V3Token::summon()
}

pub(super) fn avx512() -> Option<Avx512> {
    X64V4Token::summon()
}

/// The round constants (FIPS 180-4 section 4.2.2).
const ROUND: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];

/// Reverses the bytes of each word.
const SWAP: [u8; 16] = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];

/// Sixty-four rounds over vectors: the same text for both widths.
macro_rules! rounds {
    ($states:ident, $words:ident, $load:ident, $store:ident, $set:ident, $add:ident, $shift:ident,
     $rotate:ident, $xor3:ident, $choose:ident, $majority:ident) => {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = $states.each_ref().map(|state| $load(state));
        for (group, constants) in ROUND.iter().enumerate() {
            for i in 0..16 {
                if group > 0 {
                    let (near, far) = ($words[(i + 1) & 15], $words[(i + 14) & 15]);
                    let small0 = $xor3!($rotate!(near, 7), $rotate!(near, 18), $shift::<3>(near));
                    let small1 = $xor3!($rotate!(far, 17), $rotate!(far, 19), $shift::<10>(far));
                    $words[i] = $add($add($words[i], small0), $add($words[(i + 9) & 15], small1));
                }
                let constant = $set(constants[i].cast_signed());
                let big1 = $xor3!($rotate!(e, 6), $rotate!(e, 11), $rotate!(e, 25));
                let one = $add($add($add(h, constant), $words[i]), $add(big1, $choose!(e, f, g)));
                let big0 = $xor3!($rotate!(a, 2), $rotate!(a, 13), $rotate!(a, 22));
                let two = $add(big0, $majority!(a, b, c));
                (h, g, f, e, d, c, b, a) = (g, f, e, $add(d, one), c, b, a, $add(one, two));
            }
        }
        for (state, vector) in $states.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            let sum = $add($load(state), vector);
            $store(state, sum);
        }
    };
}

macro_rules! rotate512 {
    ($x:expr, $by:literal) => {
        _mm512_ror_epi32::<$by>($x)
    };
}
// Any function of three bits is one instruction; the number is its truth table.
macro_rules! xor512 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi32::<0x96>($x, $y, $z)
    };
}
macro_rules! choose512 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi32::<0xca>($x, $y, $z)
    };
}
macro_rules! majority512 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi32::<0xe8>($x, $y, $z)
    };
}
macro_rules! rotate256 {
    ($x:expr, $by:literal) => {
        _mm256_or_si256(_mm256_srli_epi32::<$by>($x), _mm256_slli_epi32::<{ 32 - $by }>($x))
    };
}
macro_rules! xor256 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm256_xor_si256(_mm256_xor_si256($x, $y), $z)
    };
}
macro_rules! choose256 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm256_xor_si256($z, _mm256_and_si256($x, _mm256_xor_si256($y, $z)))
    };
}
macro_rules! majority256 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm256_or_si256(_mm256_and_si256($x, $y), _mm256_and_si256($z, _mm256_or_si256($x, $y)))
    };
}

/// One block in each of sixteen lanes.
#[arcane]
pub(super) fn compress16(token: X64V4Token, states: &mut States<16>, blocks: &[&Block; 16]) {
    let mut words = turn16(token, blocks);
    rounds!(
        states,
        words,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_set1_epi32,
        _mm512_add_epi32,
        _mm512_srli_epi32,
        rotate512,
        xor512,
        choose512,
        majority512
    );
}

/// One block in each of eight lanes.
#[arcane]
pub(super) fn compress8(token: X64V3Token, states: &mut States<8>, blocks: &[&Block; 8]) {
    let mut words = [_mm256_setzero_si256(); 16];
    let (low, high) = words.split_at_mut(8);
    low.copy_from_slice(&turn8(token, blocks, 0));
    high.copy_from_slice(&turn8(token, blocks, 1));
    rounds!(
        states,
        words,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_set1_epi32,
        _mm256_add_epi32,
        _mm256_srli_epi32,
        rotate256,
        xor256,
        choose256,
        majority256
    );
}

/// The words of sixteen blocks: vector w holds word w of each block.
#[rite]
fn turn16(_: X64V4Token, blocks: &[&Block; 16]) -> [__m512i; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_loadu_si128(&SWAP));
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        *row = _mm512_shuffle_epi8(_mm512_loadu_si512(*block), swap);
    }
    // Four rows at a time, within the 128-bit quarters: afterwards vector 4g+j holds, in quarter q, word 4q+j of
    // blocks 4g to 4g+3.
    for four in rows.chunks_exact_mut(4) {
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(four[0], four[1]), _mm512_unpackhi_epi32(four[0], four[1]));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(four[2], four[3]), _mm512_unpackhi_epi32(four[2], four[3]));
        four[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
        four[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
        four[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        four[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    // Then the quarters themselves.
    let mut out = [_mm512_setzero_si512(); 16];
    for j in 0..4 {
        let even_low = _mm512_shuffle_i32x4::<0x88>(rows[j], rows[4 + j]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(rows[j], rows[4 + j]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(rows[8 + j], rows[12 + j]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(rows[8 + j], rows[12 + j]);
        out[j] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        out[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        out[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        out[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    out
}

/// Eight words of eight blocks, from the first or the second half of each: vector w holds word w of each block.
#[rite]
fn turn8(_: X64V3Token, blocks: &[&Block; 8], half: usize) -> [__m256i; 8] {
    let swap = _mm256_broadcastsi128_si256(_mm_loadu_si128(&SWAP));
    let mut rows = [_mm256_setzero_si256(); 8];
    for (row, block) in rows.iter_mut().zip(blocks) {
        let (halves, _) = block.as_chunks::<32>();
        *row = _mm256_shuffle_epi8(_mm256_loadu_si256(&halves[half]), swap);
    }
    for four in rows.chunks_exact_mut(4) {
        let (ab_low, ab_high) = (_mm256_unpacklo_epi32(four[0], four[1]), _mm256_unpackhi_epi32(four[0], four[1]));
        let (cd_low, cd_high) = (_mm256_unpacklo_epi32(four[2], four[3]), _mm256_unpackhi_epi32(four[2], four[3]));
        four[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
        four[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
        four[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
        four[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
    }
    let mut out = [_mm256_setzero_si256(); 8];
    for j in 0..4 {
        out[j] = _mm256_permute2x128_si256::<0x20>(rows[j], rows[4 + j]);
        out[4 + j] = _mm256_permute2x128_si256::<0x31>(rows[j], rows[4 + j]);
    }
    out
}
