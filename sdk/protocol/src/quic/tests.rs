//! The seams between messages: heads, kinds, bounds. Whole messages under mutation: `tests/quic.rs`.

use super::*;

#[test]
fn kinds_and_close_codes_have_one_number_each() {
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(Kind::from_number(kind.number()), Some(kind));
        assert!(Kind::ALL[..at].iter().all(|other| other.number() != kind.number()));
        assert!(u32::try_from(kind.body_bytes_max() + 1).is_ok());
    }
    for (at, code) in CloseCode::ALL.into_iter().enumerate() {
        assert_eq!(code.number() as usize, at);
        assert_eq!(CloseCode::from_number(at as u64), Some(code));
    }
    assert_eq!((Kind::from_number(0), CloseCode::from_number(99)), (None, None));
}

#[test]
fn a_length_is_refused_before_a_byte_of_the_body_is_there() {
    for kind in Kind::ALL {
        let max = kind.body_bytes_max();
        let head = Head { kind, body_bytes: max };
        assert_eq!(Head::decode(&head.encode()), Ok(head));
        let over = Head { kind, body_bytes: max + 1 }.encode();
        assert_eq!(Head::decode(&over), Err(MessageError::Length(kind, max as u32 + 2)));
        assert_eq!(Head::decode(&[0, 0, 0, 0, kind.number()]), Err(MessageError::Length(kind, 0)));
        assert_eq!(Head::decode(&[0xff, 0xff, 0xff, 0xff, kind.number()]), Err(MessageError::Length(kind, u32::MAX)));
    }
    assert_eq!(Head::decode(&[0, 0, 0, 1, 0]), Err(MessageError::Kind(0)));
}

#[test]
fn a_message_is_taken_whole_or_not_at_all() {
    let mut out = Vec::new();
    Heartbeat { next: crate::id::Index::new(7), size: crate::id::TreeSize::new(7) }.write(&mut out);
    out.extend_from_slice(b"next");
    let whole = Bytes::from(out);
    for cut in 0..whole.len() - 4 {
        let mut part = whole.slice(..cut);
        assert_eq!(Head::take(&mut part), Ok(None));
        assert_eq!(part.len(), cut);
    }
    let mut all = whole;
    let (kind, body) = Head::take(&mut all).unwrap().unwrap();
    assert_eq!((kind, body.len(), &all[..]), (Kind::Heartbeat, 16, &b"next"[..]));
}

#[test]
fn texts_are_cut_at_a_character_and_lose_their_control_characters() {
    let long = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(sentence(&long).len(), TEXT_BYTES_MAX);
    assert_eq!(sentence(&format!("x{long}")).len(), TEXT_BYTES_MAX - 1);
    assert_eq!(sentence("a\nb\u{7f}\u{0}"), "a b  ");
}

#[test]
fn an_api_key_is_in_no_debug_text() {
    let hello = Hello::new("sk_test_secret").unwrap();
    assert!(!format!("{hello:?}").contains("secret"));
    assert!(Hello::new("two words").is_err() && Hello::new(&"x".repeat(API_KEY_BYTES_MAX + 1)).is_err());
}
