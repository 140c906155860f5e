//! The block functions of SHA-256 and SHA-512 (FIPS 180-4 section 6) in the lanes of AVX2 and AVX-512.
//!
//! A token proves that the processor has the instructions, so calling is safe. Every lane is a block of its own: row
//! by row the sixteen words are loaded, then turned so that each vector holds one word of all lanes. The rounds are
//! one text for all: the two hashes differ in their words' width, the constants and the distances of rotation.

use archmage::intrinsics::x86_64::*;
use archmage::{SimdToken, X64V3Token, X64V4Token, arcane, rite};

use super::fill::{Block, States, WideBlock, WideStates};

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

/// The round constants of SHA-256.
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

/// The round constants of SHA-512.
const WIDE_ROUND: [[u64; 16]; 5] = [
    [
        0x428a_2f98_d728_ae22,
        0x7137_4491_23ef_65cd,
        0xb5c0_fbcf_ec4d_3b2f,
        0xe9b5_dba5_8189_dbbc,
        0x3956_c25b_f348_b538,
        0x59f1_11f1_b605_d019,
        0x923f_82a4_af19_4f9b,
        0xab1c_5ed5_da6d_8118,
        0xd807_aa98_a303_0242,
        0x1283_5b01_4570_6fbe,
        0x2431_85be_4ee4_b28c,
        0x550c_7dc3_d5ff_b4e2,
        0x72be_5d74_f27b_896f,
        0x80de_b1fe_3b16_96b1,
        0x9bdc_06a7_25c7_1235,
        0xc19b_f174_cf69_2694,
    ],
    [
        0xe49b_69c1_9ef1_4ad2,
        0xefbe_4786_384f_25e3,
        0x0fc1_9dc6_8b8c_d5b5,
        0x240c_a1cc_77ac_9c65,
        0x2de9_2c6f_592b_0275,
        0x4a74_84aa_6ea6_e483,
        0x5cb0_a9dc_bd41_fbd4,
        0x76f9_88da_8311_53b5,
        0x983e_5152_ee66_dfab,
        0xa831_c66d_2db4_3210,
        0xb003_27c8_98fb_213f,
        0xbf59_7fc7_beef_0ee4,
        0xc6e0_0bf3_3da8_8fc2,
        0xd5a7_9147_930a_a725,
        0x06ca_6351_e003_826f,
        0x1429_2967_0a0e_6e70,
    ],
    [
        0x27b7_0a85_46d2_2ffc,
        0x2e1b_2138_5c26_c926,
        0x4d2c_6dfc_5ac4_2aed,
        0x5338_0d13_9d95_b3df,
        0x650a_7354_8baf_63de,
        0x766a_0abb_3c77_b2a8,
        0x81c2_c92e_47ed_aee6,
        0x9272_2c85_1482_353b,
        0xa2bf_e8a1_4cf1_0364,
        0xa81a_664b_bc42_3001,
        0xc24b_8b70_d0f8_9791,
        0xc76c_51a3_0654_be30,
        0xd192_e819_d6ef_5218,
        0xd699_0624_5565_a910,
        0xf40e_3585_5771_202a,
        0x106a_a070_32bb_d1b8,
    ],
    [
        0x19a4_c116_b8d2_d0c8,
        0x1e37_6c08_5141_ab53,
        0x2748_774c_df8e_eb99,
        0x34b0_bcb5_e19b_48a8,
        0x391c_0cb3_c5c9_5a63,
        0x4ed8_aa4a_e341_8acb,
        0x5b9c_ca4f_7763_e373,
        0x682e_6ff3_d6b2_b8a3,
        0x748f_82ee_5def_b2fc,
        0x78a5_636f_4317_2f60,
        0x84c8_7814_a1f0_ab72,
        0x8cc7_0208_1a64_39ec,
        0x90be_fffa_2363_1e28,
        0xa450_6ceb_de82_bde9,
        0xbef9_a3f7_b2c6_7915,
        0xc671_78f2_e372_532b,
    ],
    [
        0xca27_3ece_ea26_619c,
        0xd186_b8c7_21c0_c207,
        0xeada_7dd6_cde0_eb1e,
        0xf57d_4f7f_ee6e_d178,
        0x06f0_67aa_7217_6fba,
        0x0a63_7dc5_a2c8_98a6,
        0x113f_9804_bef9_0dae,
        0x1b71_0b35_131c_471b,
        0x28db_77f5_2304_7d84,
        0x32ca_ab7b_40c7_2493,
        0x3c9e_be0a_15c9_bebc,
        0x431d_67c4_9c10_0d4c,
        0x4cc5_d4be_cb3e_42b6,
        0x597f_299c_fc65_7e2a,
        0x5fcb_6fab_3ad6_faec,
        0x6c44_198c_4a47_5817,
    ],
];

/// Reverses the bytes of each word of SHA-256.
const SWAP: [u8; 16] = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];

/// Reverses the bytes of each word of SHA-512.
const WIDE_SWAP: [u8; 16] = [7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8];

/// All rounds over vectors. In braces the instructions; then the distances of the two large and the two small sigmas.
macro_rules! rounds {
    ($states:ident, $words:ident, $constants:ident,
     {$load:ident $store:ident $set:ident $add:ident $shift:ident $rotate:ident
      $xor3:ident $choose:ident $majority:ident},
     ($a1:literal $a2:literal $a3:literal) ($e1:literal $e2:literal $e3:literal)
     ($n1:literal $n2:literal $n3:literal) ($f1:literal $f2:literal $f3:literal)) => {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = $states.each_ref().map(|state| $load(state));
        for (group, constants) in $constants.iter().enumerate() {
            for i in 0..16 {
                if group > 0 {
                    let (near, far) = ($words[(i + 1) & 15], $words[(i + 14) & 15]);
                    let small0 = $xor3!($rotate!(near, $n1), $rotate!(near, $n2), $shift::<$n3>(near));
                    let small1 = $xor3!($rotate!(far, $f1), $rotate!(far, $f2), $shift::<$f3>(far));
                    $words[i] = $add($add($words[i], small0), $add($words[(i + 9) & 15], small1));
                }
                let constant = $set(constants[i].cast_signed());
                let large1 = $xor3!($rotate!(e, $e1), $rotate!(e, $e2), $rotate!(e, $e3));
                let one = $add($add($add(h, constant), $words[i]), $add(large1, $choose!(e, f, g)));
                let large0 = $xor3!($rotate!(a, $a1), $rotate!(a, $a2), $rotate!(a, $a3));
                let two = $add(large0, $majority!(a, b, c));
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
macro_rules! wide_rotate512 {
    ($x:expr, $by:literal) => {
        _mm512_ror_epi64::<$by>($x)
    };
}
// Any function of three bits is one instruction; the number is its truth table.
macro_rules! xor512 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi64::<0x96>($x, $y, $z)
    };
}
macro_rules! choose512 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi64::<0xca>($x, $y, $z)
    };
}
macro_rules! majority512 {
    ($x:expr, $y:expr, $z:expr) => {
        _mm512_ternarylogic_epi64::<0xe8>($x, $y, $z)
    };
}
macro_rules! rotate256 {
    ($x:expr, $by:literal) => {
        _mm256_or_si256(_mm256_srli_epi32::<$by>($x), _mm256_slli_epi32::<{ 32 - $by }>($x))
    };
}
macro_rules! wide_rotate256 {
    ($x:expr, $by:literal) => {
        _mm256_or_si256(_mm256_srli_epi64::<$by>($x), _mm256_slli_epi64::<{ 64 - $by }>($x))
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

/// SHA-256 of one block in each of sixteen lanes.
#[arcane]
pub(super) fn compress16(token: X64V4Token, states: &mut States<16>, blocks: &[&Block; 16]) {
    let mut words = turn16(token, blocks);
    rounds!(
        states, words, ROUND,
        {_mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi32 _mm512_add_epi32 _mm512_srli_epi32 rotate512
         xor512 choose512 majority512},
        (2 13 22) (6 11 25) (7 18 3) (17 19 10)
    );
}

/// SHA-256 of one block in each of eight lanes.
#[arcane]
pub(super) fn compress8(token: X64V3Token, states: &mut States<8>, blocks: &[&Block; 8]) {
    let mut words = [_mm256_setzero_si256(); 16];
    for (half, words) in words.chunks_exact_mut(8).enumerate() {
        words.copy_from_slice(&turn8(token, blocks, half));
    }
    rounds!(
        states, words, ROUND,
        {_mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi32 _mm256_add_epi32 _mm256_srli_epi32 rotate256
         xor256 choose256 majority256},
        (2 13 22) (6 11 25) (7 18 3) (17 19 10)
    );
}

/// SHA-512 of one block in each of eight lanes.
#[arcane]
pub(super) fn wide_compress8(token: X64V4Token, states: &mut WideStates<8>, blocks: &[WideBlock; 8]) {
    let mut words = [_mm512_setzero_si512(); 16];
    for (half, words) in words.chunks_exact_mut(8).enumerate() {
        words.copy_from_slice(&wide_turn8(token, blocks, half));
    }
    rounds!(
        states, words, WIDE_ROUND,
        {_mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi64 _mm512_add_epi64 _mm512_srli_epi64 wide_rotate512
         xor512 choose512 majority512},
        (28 34 39) (14 18 41) (1 8 7) (19 61 6)
    );
}

/// SHA-512 of one block in each of four lanes.
#[arcane]
pub(super) fn wide_compress4(token: X64V3Token, states: &mut WideStates<4>, blocks: &[WideBlock; 4]) {
    let mut words = [_mm256_setzero_si256(); 16];
    for (quarter, words) in words.chunks_exact_mut(4).enumerate() {
        words.copy_from_slice(&wide_turn4(token, blocks, quarter));
    }
    rounds!(
        states, words, WIDE_ROUND,
        {_mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi64x _mm256_add_epi64 _mm256_srli_epi64 wide_rotate256
         xor256 choose256 majority256},
        (28 34 39) (14 18 41) (1 8 7) (19 61 6)
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

/// Eight wide words of eight blocks, from the first or the second half of each.
#[rite]
fn wide_turn8(_: X64V4Token, blocks: &[WideBlock; 8], half: usize) -> [__m512i; 8] {
    let swap = _mm512_broadcast_i32x4(_mm_loadu_si128(&WIDE_SWAP));
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, block) in rows.iter_mut().zip(blocks) {
        let (halves, _) = block.as_chunks::<64>();
        *row = _mm512_shuffle_epi8(_mm512_loadu_si512(&halves[half]), swap);
    }
    // Two rows at a time: afterwards vector 2g+j holds, in quarter q, word 2q+j of blocks 2g and 2g+1.
    for two in rows.chunks_exact_mut(2) {
        (two[0], two[1]) = (_mm512_unpacklo_epi64(two[0], two[1]), _mm512_unpackhi_epi64(two[0], two[1]));
    }
    let mut out = [_mm512_setzero_si512(); 8];
    for j in 0..2 {
        let even_low = _mm512_shuffle_i64x2::<0x88>(rows[j], rows[2 + j]);
        let odd_low = _mm512_shuffle_i64x2::<0xdd>(rows[j], rows[2 + j]);
        let even_high = _mm512_shuffle_i64x2::<0x88>(rows[4 + j], rows[6 + j]);
        let odd_high = _mm512_shuffle_i64x2::<0xdd>(rows[4 + j], rows[6 + j]);
        out[j] = _mm512_shuffle_i64x2::<0x88>(even_low, even_high);
        out[2 + j] = _mm512_shuffle_i64x2::<0x88>(odd_low, odd_high);
        out[4 + j] = _mm512_shuffle_i64x2::<0xdd>(even_low, even_high);
        out[6 + j] = _mm512_shuffle_i64x2::<0xdd>(odd_low, odd_high);
    }
    out
}

/// Four wide words of four blocks, from one quarter of each.
#[rite]
fn wide_turn4(_: X64V3Token, blocks: &[WideBlock; 4], quarter: usize) -> [__m256i; 4] {
    let swap = _mm256_broadcastsi128_si256(_mm_loadu_si128(&WIDE_SWAP));
    let mut rows = [_mm256_setzero_si256(); 4];
    for (row, block) in rows.iter_mut().zip(blocks) {
        let (quarters, _) = block.as_chunks::<32>();
        *row = _mm256_shuffle_epi8(_mm256_loadu_si256(&quarters[quarter]), swap);
    }
    let [a, b, c, d] = rows;
    let (ab_low, ab_high) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(ab_low, cd_low),
        _mm256_permute2x128_si256::<0x20>(ab_high, cd_high),
        _mm256_permute2x128_si256::<0x31>(ab_low, cd_low),
        _mm256_permute2x128_si256::<0x31>(ab_high, cd_high),
    ]
}
