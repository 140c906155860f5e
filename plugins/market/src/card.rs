//! Texts that look like the number of a payment card (M-047): 13 to 19 digits, alone or in groups, that begin as cards do and
//! whose last digit is the Luhn digit of the others (ISO/IEC 7812-1, annex B).
//!
//! Takes any bytes; gives a verdict. Digits inside a longer word, such as an id in hexadecimal, are none, and a UUID with its
//! hyphens is one word: agents are named by UUIDs and cannot choose another. Whoever wants to can hide 32 hexadecimal digits
//! in one, as in any word, and nothing beside it. One in ten random numbers of that length and beginning is refused with the
//! cards: a refusal can be written otherwise, a leak cannot.

/// Digits of the shortest and the longest card number.
const DIGITS: core::ops::RangeInclusive<usize> = 13..=19;
/// Bytes of a UUID in hexadecimal with hyphens, and where those stand.
const UUID_BYTES: usize = 36;
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Whether a card number may be in it.
#[must_use]
pub fn is_in(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        let begins = at == 0 || !is_word(text[at - 1]);
        if begins && is_uuid_at(&text[at..]) {
            at += UUID_BYTES;
            continue;
        }
        if begins && text[at].is_ascii_digit() && number_at(&text[at..]) {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether a UUID begins here and is no part of a longer word.
fn is_uuid_at(text: &[u8]) -> bool {
    // Most words are none; the first hyphen says so.
    let Some(uuid) = text.get(..UUID_BYTES).filter(|uuid| uuid[UUID_HYPHENS[0]] == b'-') else { return false };
    let mut bytes = uuid.iter().enumerate();
    let formed =
        bytes.all(|(at, byte)| if UUID_HYPHENS.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() });
    formed && !text.get(UUID_BYTES).is_some_and(|byte| is_word(*byte))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Digits in groups divided by one space, hyphen or dot each, as far as they go.
fn number_at(text: &[u8]) -> bool {
    let mut digits = [0u8; 20];
    let (mut count, mut at) = (0, 0);
    loop {
        match text.get(at) {
            Some(digit @ b'0'..=b'9') if count < digits.len() => {
                digits[count] = digit - b'0';
                count += 1;
            }
            Some(b'0'..=b'9') => return false,
            Some(b' ' | b'-' | b'.') if goes_on(&text[at + 1..]) => {
                if is_card(&digits[..count]) {
                    return true;
                }
            }
            Some(byte) if is_word(*byte) => return false,
            _ => return is_card(&digits[..count]),
        }
        at += 1;
    }
}

fn goes_on(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit) && !is_uuid_at(text)
}

fn is_card(digits: &[u8]) -> bool {
    DIGITS.contains(&digits.len()) && matches!(digits[0], 2..=6) && luhn(digits).is_multiple_of(10)
}

fn luhn(digits: &[u8]) -> u32 {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let each = digits.iter().rev().enumerate();
    each.map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit })).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_of_every_brand_and_writing_are_found() {
        for number in [
            "4242424242424242",
            "4000056655665556",
            "5555 5555 5555 4444",
            "2223-0031-2200-3222",
            "378282246310005",
            "6011111111111117",
            "3056930009020004",
            "36227206271667",
            "3566002020360505",
            "6200000000000005",
            "4222222222222",
        ] {
            assert!(is_in(number.as_bytes()), "{number}");
            assert!(is_in(format!("{{\"note\":\"card {number}, thanks\"}}").as_bytes()), "{number}");
            // One wrong digit is no card.
            let wrong =
                format!("{}{}", &number[..number.len() - 1], (number.as_bytes()[number.len() - 1] - b'0' + 1) % 10);
            assert!(!is_in(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn ids_times_and_amounts_are_none() {
        for text in [
            "1763762905000000",
            "a4242424242424242",
            "4242424242424242f",
            "42424242424242424242424",
            "",
            "12",
            "9007199254740991",
            "agent:00000000-0000-8000-8008-424242424242",
            "{\"actor\":\"agent:42424242-4242-4242-0000-000000000000\",\"quantity\":1}",
            "1-42424242-4242-4242-0000-000000000000-1",
        ] {
            assert!(!is_in(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_number_beside_a_uuid_or_in_almost_one_is_found() {
        const UUID: &str = "3f2a51c7-9b0e-4d11-8a6f-0c5e7d9b1a24";
        for number in ["4242424242424242", "5555-5555-5555-4444"] {
            for text in
                [format!("{UUID}-{number}"), format!("{number} {UUID}"), format!("{number}.{UUID}-{UUID} {number}")]
            {
                assert!(is_in(text.as_bytes()), "{text}");
            }
        }
        // Another form, or a part of a longer word.
        for text in
            ["42424242-4242-4242-0000-00000000000", "42424242-4242-4242-0000-000000000000a", "42424242-4242-4242"]
        {
            assert!(is_in(text.as_bytes()), "{text}");
        }
    }
}
