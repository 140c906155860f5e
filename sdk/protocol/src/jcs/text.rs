//! Scanning the inside of strings: the bytes that mean themselves, and the escapes.

use super::{JcsError, JcsErrorKind};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The first position from `at` on whose byte ends a string, starts an escape or is a control character; the end of
/// the bytes if there is none. Sixteen or eight bytes at a time: payloads are mostly text.
#[inline]
pub(super) fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse2) = <archmage::X64V1Token as archmage::SimdToken>::summon() {
        while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let found = special16(sse2, chunk);
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
            at += 16;
        }
    }
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = special(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&c| c >= 0x20 && c != b'"' && c != b'\\') {
        at += 1;
    }
    at
}

/// One bit for each byte that is a quote, a backslash or below 0x20. SSE2 belongs to every x86-64, so there is nothing
/// to detect.
#[cfg(target_arch = "x86_64")]
#[archmage::arcane(import_intrinsics)]
#[inline]
fn special16(_: archmage::X64V1Token, chunk: &[u8; 16]) -> i32 {
    let bytes = _mm_loadu_si128(chunk);
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
    let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
    let control = _mm_cmpeq_epi8(bytes, _mm_min_epu8(bytes, _mm_set1_epi8(0x1f)));
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control))
}

/// The high bit of each byte that is a quote, a backslash or below 0x20. Bits above the lowest one that is set may be
/// wrong (a borrow runs upward), so only the lowest counts.
const fn special(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = word ^ (ONES * b'"' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let slash = word ^ (ONES * b'\\' as u64);
    let slash = slash.wrapping_sub(ONES) & !slash;
    (control | quote | slash) & HIGH
}

/// The character of an escape whose backslash stands at `at`, and the offset after it.
pub(super) fn read_escape(bytes: &[u8], at: usize) -> Result<(char, usize), JcsError> {
    let simple = match bytes.get(at + 1).ok_or(JcsError::new(JcsErrorKind::End, bytes.len()))? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode_escape(bytes, at),
        _ => return Err(JcsError::new(JcsErrorKind::Escape, at)),
    };
    Ok((simple, at + 2))
}

fn read_unicode_escape(bytes: &[u8], at: usize) -> Result<(char, usize), JcsError> {
    let lone = JcsError::new(JcsErrorKind::LoneSurrogate, at);
    match read_unit(bytes, at)? {
        0 => Err(JcsError::new(JcsErrorKind::Nul, at)),
        high @ 0xd800..=0xdbff => {
            let low = match bytes.get(at + 6..at + 8) {
                Some(br"\u") => read_unit(bytes, at + 6)?,
                _ => return Err(lone),
            };
            if !(0xdc00..=0xdfff).contains(&low) {
                return Err(lone);
            }
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            Ok((char::from_u32(code).ok_or(lone)?, at + 12))
        }
        // What is left and no character is a low surrogate.
        unit => Ok((char::from_u32(unit).ok_or(lone)?, at + 6)),
    }
}

/// The code unit of `\uXXXX` at `at`.
fn read_unit(bytes: &[u8], at: usize) -> Result<u32, JcsError> {
    let digits = bytes.get(at + 2..at + 6).ok_or(JcsError::new(JcsErrorKind::End, bytes.len()))?;
    digits.iter().try_fold(0, |unit, &c| {
        let digit = char::from(c).to_digit(16).ok_or(JcsError::new(JcsErrorKind::Escape, at))?;
        Ok(unit << 4 | digit)
    })
}

/// The canonical escape of a character below 0x20, a quote or a backslash (RFC 8785 section 3.2.2.2).
pub(super) fn write_escape(out: &mut Vec<u8>, c: u8) {
    let short = match c {
        b'"' | b'\\' => c,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(c >> 4), digit(c & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
