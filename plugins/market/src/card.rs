//! Texts that look like the number of a payment card (M-047): 13 to 19 digits, alone or in groups, that begin as cards do and
//! whose last digit is the Luhn digit of the others (ISO/IEC 7812-1, annex B).
//!
//! Takes any bytes; gives a verdict. Digits inside a longer word, such as an id in hexadecimal, are none. One in ten random
//! numbers of that length and beginning is refused with the cards: a refusal can be written otherwise, a leak cannot.

/// Digits of the shortest and the longest card number.
const DIGITS: core::ops::RangeInclusive<usize> = 13..=19;

/// Whether a card number may be in it.
#[must_use]
pub fn is_in(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        let begins = text[at].is_ascii_digit() && (at == 0 || !is_word(text[at - 1]));
        if begins && number_at(&text[at..]) {
            return true;
        }
        at += 1;
    }
    false
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
            Some(b' ' | b'-' | b'.') if text.get(at + 1).is_some_and(u8::is_ascii_digit) => {
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
        ] {
            assert!(!is_in(text.as_bytes()), "{text}");
        }
    }
}
