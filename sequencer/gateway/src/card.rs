//! Texts that look like the number of a payment card (M-047): they are refused before anything is logged.
//!
//! The rule is that of the plugins (`plugins/market/src/card.rs`), written a second time because guests share no code with
//! the door, and held against it by a test: 13 to 19 digits, alone or in groups, that begin with 2 to 6 and whose last is
//! the Luhn digit of the others (ISO/IEC 7812-1, annex B). Digits inside a longer word, such as an id in hexadecimal, are
//! none, and a UUID with its hyphens is one word: what can be hidden in one is 32 hexadecimal digits. Takes bytes; gives a
//! verdict.

/// Digits of the shortest and the longest card number.
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Hexadecimal digits of a UUID's parts, which hyphens divide.
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// Whether a card number may be in it.
pub(crate) fn is_in(text: &[u8]) -> bool {
    let (mut rest, mut within_word) = (text, false);
    while let Some((byte, behind)) = rest.split_first() {
        if !within_word && let Some(behind) = behind_a_uuid(rest) {
            (rest, within_word) = (behind, true);
            continue;
        }
        if !within_word && byte.is_ascii_digit() && opens_with_a_number(rest) {
            return true;
        }
        (rest, within_word) = (behind, is_word(*byte));
    }
    false
}

/// What is behind a UUID that opens a text and ends where its word ends.
fn behind_a_uuid(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    for (number, digits) in UUID_PARTS.into_iter().enumerate() {
        if number > 0 {
            rest = rest.strip_prefix(b"-")?;
        }
        let (part, behind) = rest.split_at_checked(digits)?;
        if !part.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = behind;
    }
    Some(rest).filter(|rest| !rest.first().copied().is_some_and(is_word))
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
            [b' ' | b'-' | b'.', next @ ..]
                if next.first().is_some_and(u8::is_ascii_digit) && behind_a_uuid(next).is_none() =>
            {
                if is_number(&number) {
                    return true;
                }
                rest = next;
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

    /// What a text is put together of.
    #[derive(Clone, Debug)]
    enum Piece {
        Uuid(String),
        /// A number with its Luhn digit, in groups or not.
        Card(String),
        Other(String),
    }

    fn uuid() -> impl Strategy<Value = String> {
        // Digits alone are where a card number can be; capitals are as good.
        let digit = |digits: &'static str| proptest::sample::select(digits.chars().collect::<Vec<_>>());
        let digits =
            prop_oneof![digit("0123456789"), digit("0123456789abcdef"), digit("24"), digit("0123456789ABCDEF")];
        proptest::collection::vec(digits, 32).prop_map(|digits| {
            let digits: String = digits.into_iter().collect();
            [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
        })
    }

    fn card() -> impl Strategy<Value = String> {
        let digits = (2u8..=6, proptest::collection::vec(0u8..10, 11..=17));
        let groups = proptest::sample::select(vec![("", 4), (" ", 4), ("-", 4), (".", 5), ("-", 6)]);
        (digits, groups).prop_map(|((first, digits), (between, group))| {
            let mut digits: Vec<u8> = std::iter::once(first).chain(digits).chain([0]).collect();
            let missing = (10 - luhn_sum(&digits) % 10) % 10;
            *digits.last_mut().unwrap() = u8::try_from(missing).unwrap();
            let digits: Vec<u8> = digits.iter().map(|digit| digit + b'0').collect();
            digits.chunks(group).map(|group| std::str::from_utf8(group).unwrap()).collect::<Vec<_>>().join(between)
        })
    }

    fn other() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,14}",
            "[0-9a-f]{1,9}",
            "[a-z\"{:]{1,4}",
            // What is almost a UUID.
            (uuid(), 1usize..36).prop_map(|(uuid, bytes)| uuid[..bytes].to_owned()),
            uuid().prop_map(|uuid| uuid.replace('-', "")),
            (uuid(), "[0-9a-z-]").prop_map(|(uuid, more)| uuid + &more),
        ]
    }

    /// Pieces, and what stands between them: mostly something that ends a word.
    fn pieces() -> impl Strategy<Value = Vec<(Piece, &'static str)>> {
        let piece = prop_oneof![
            3 => uuid().prop_map(Piece::Uuid),
            1 => card().prop_map(Piece::Card),
            3 => other().prop_map(Piece::Other),
        ];
        let between = proptest::sample::select(vec![" ", "-", ".", "\"", ":", "/", ", ", " - "]);
        proptest::collection::vec((piece, between), 1..6)
    }

    fn joined(pieces: &[(Piece, &str)], uuid: impl Fn(&str) -> String) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Uuid(text) => uuid(text),
            Piece::Card(text) | Piece::Other(text) => text.clone(),
        };
        pieces.iter().map(|(piece, between)| text(piece) + between).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_uuid_is_one_word_and_hides_nothing_beside_it(pieces in pieces()) {
            let text = joined(&pieces, str::to_owned);
            let found = is_in(text.as_bytes());
            prop_assert_eq!(found, tally_market::card::is_in(text.as_bytes()), "{}", text);
            // As if a word of letters stood in its place.
            prop_assert_eq!(found, is_in(joined(&pieces, |_| "u".into()).as_bytes()), "{}", text);
            let shows_a_card = pieces.iter().any(|(piece, _)| matches!(piece, Piece::Card(_)));
            prop_assert!(found || !shows_a_card, "{}", text);
        }

        #[test]
        fn a_uuid_alone_is_never_a_card_number(uuid in uuid()) {
            for text in [uuid.clone(), format!("agent:{uuid}"), format!("/agents/{uuid}/orders?limit=1")] {
                prop_assert!(!is_in(text.as_bytes()) && !tally_market::card::is_in(text.as_bytes()), "{}", text);
            }
        }

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
