//! Texts that look like the number of a payment card (M-047): they are refused before anything is logged.
//!
//! The rule is that of the plugins (`plugins/market/src/card.rs`), written a second time because guests share no code with
//! the door, and held against it by a test: 13 to 19 digits, alone or in groups, that begin with 2 to 6 and whose last is
//! the Luhn digit of the others (ISO/IEC 7812-1, annex B). Digits inside a longer word, such as an id in hexadecimal, are
//! none. Takes bytes; gives a verdict.

/// Digits of the shortest and the longest card number.
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Whether a card number may be in it.
pub(crate) fn is_in(text: &[u8]) -> bool {
    let mut before = None;
    for (at, &byte) in text.iter().enumerate() {
        let opens = byte.is_ascii_digit() && !before.is_some_and(is_word);
        if opens && text.get(at..).is_some_and(opens_with_a_number) {
            return true;
        }
        before = Some(byte);
    }
    false
}

/// What makes a longer word of the digits beside it.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Groups of digits with one space, hyphen or dot between them: whether the first so many of them are a number.
fn opens_with_a_number(text: &[u8]) -> bool {
    let mut number = Vec::with_capacity(DIGITS.end() + 1);
    let mut rest = text;
    loop {
        let group = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, behind) = rest.split_at(group);
        if number.len() + group > DIGITS.end() + 1 {
            return false;
        }
        number.extend(digits.iter().map(|digit| digit - b'0'));
        match behind {
            [b' ' | b'-' | b'.', next, ..] if next.is_ascii_digit() => {
                if is_number(&number) {
                    return true;
                }
                rest = behind.get(1..).unwrap_or_default();
            }
            [byte, ..] if is_word(*byte) => return false,
            _ => return is_number(&number),
        }
    }
}

fn is_number(digits: &[u8]) -> bool {
    let begins = digits.first().is_some_and(|first| (2..=6).contains(first));
    begins && DIGITS.contains(&digits.len()) && luhn_sum(digits).is_multiple_of(10)
}

fn luhn_sum(digits: &[u8]) -> u32 {
    let weighed = |(place, digit): (usize, &u8)| match (place % 2, *digit) {
        (0, digit) => digit,
        (_, digit) if digit > 4 => 2 * digit - 9,
        (_, digit) => 2 * digit,
    };
    digits.iter().rev().enumerate().map(weighed).map(u32::from).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers with and without the right last digit, in writings that hide them or not.
    fn near_numbers() -> impl Strategy<Value = Vec<u8>> {
        let noise = || proptest::sample::select(b" -.a0\"\xc2".to_vec());
        let digits = proptest::collection::vec(0u8..10, 10..24);
        let within = proptest::collection::vec((noise(), 0usize..30), 0..6);
        (digits, any::<bool>(), within, proptest::collection::vec(noise(), 0..3)).prop_map(
            |(mut digits, is_number, within, around)| {
                if is_number && let Some(last) = digits.last_mut() {
                    *last = 0;
                    let missing = (10 - luhn_sum(&digits) % 10) % 10;
                    digits.pop();
                    digits.push(u8::try_from(missing).unwrap());
                }
                let mut text: Vec<u8> = digits.iter().map(|digit| digit + b'0').collect();
                for (byte, place) in within {
                    text.insert(place.min(text.len()), byte);
                }
                [around.clone(), text, around].concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_door_and_the_plugins_refuse_the_same_texts(text in near_numbers()) {
            prop_assert_eq!(is_in(&text), tally_market::card::is_in(&text), "{:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn they_agree_about_any_bytes_too(text in proptest::collection::vec(prop_oneof![b'0'..=b'9', any::<u8>()], 0..64)) {
            prop_assert_eq!(is_in(&text), tally_market::card::is_in(&text));
        }
    }

    #[test]
    fn card_numbers_are_found_in_every_writing_and_near_misses_are_not() {
        for number in
            ["4242424242424242", "5555 5555 5555 4444", "2223-0031-2200-3222", "378282246310005", "4222222222222"]
        {
            assert!(is_in(number.as_bytes()), "{number}");
            assert!(is_in(format!("{{\"note\":\"card {number}, thanks\"}}").as_bytes()), "{number}");
        }
        for text in
            ["1763762905000000", "a4242424242424242", "4242424242424242f", "4242424242424241", "9007199254740991", ""]
        {
            assert!(!is_in(text.as_bytes()), "{text}");
        }
    }
}
