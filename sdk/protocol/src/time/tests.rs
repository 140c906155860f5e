//! Laws of RFC 3339 reading and writing.

use super::*;

fn micros(text: &str) -> Result<u64, TimeError> {
    LogTime::parse_rfc3339(text).map(LogTime::micros)
}

#[test]
fn known_times_read_as_known_microseconds() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2025-12-20T17:51:10.243Z", 1_766_253_070_243_000),
        ("2000-02-29T12:00:00Z", 951_825_600_000_000),
        ("2000-03-01T00:00:00Z", 951_868_800_000_000),
        ("1985-04-12T23:20:50.52Z", 482_196_050_520_000),
        ("1996-12-19T16:39:57-08:00", 851_042_397_000_000),
        ("1937-01-01T12:00:27.87+00:20", u64::MAX),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2025-01-01t00:00:00z", 1_735_689_600_000_000),
        ("2025-01-01T00:00:00-00:00", 1_735_689_600_000_000),
        ("2025-01-01T00:00:00.123456789Z", 1_735_689_600_123_456),
        ("2025-01-01T00:00:00.999999999Z", 1_735_689_600_999_999),
        ("9999-12-31T23:59:59.999999Z", LogTime::MAX.micros()),
    ] {
        let expected = if expected == u64::MAX { Err(TimeError::Range) } else { Ok(expected) };
        assert_eq!(micros(text), expected, "{text}");
    }
}

#[test]
fn a_leap_second_is_read_only_where_one_can_be() {
    assert_eq!(micros("1990-12-31T23:59:60Z"), micros("1991-01-01T00:00:00Z"));
    assert_eq!(micros("1990-12-31T15:59:60-08:00"), micros("1991-01-01T00:00:00Z"));
    assert_eq!(micros("2015-06-30T23:59:60.5Z"), micros("2015-07-01T00:00:00.5Z"));
    for bad in ["1990-12-30T23:59:60Z", "1990-12-31T23:58:60Z", "1990-12-31T23:59:60-08:00", "2015-03-31T23:59:60Z"] {
        assert_eq!(micros(bad), Err(TimeError::Value), "{bad}");
    }
    assert_eq!(micros("1990-12-31T23:59:61Z"), Err(TimeError::Value));
}

#[test]
fn what_the_grammar_does_not_allow_is_refused() {
    for bad in [
        "",
        "2025-01-01",
        "2025-01-01T00:00:00",
        "2025-01-01 00:00:00Z",
        "2025-01-01T00:00Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00.0123456789Z",
        "2025-01-01T00:00:00,5Z",
        "2025-01-01T00:00:00Z ",
        " 2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00ZZ",
        "2025-01-01T00:00:00+0100",
        "2025-01-01T00:00:00+01",
        "2025-01-01T00:00:00+1:00",
        "25-01-01T00:00:00Z",
        "02025-01-01T00:00:00Z",
        "+2025-01-01T00:00:00Z",
        "2025-1-01T00:00:00Z",
        "2025-01-01T0:00:00Z",
        "20250101T000000Z",
        "2025-01-01T00:00:00\u{0}Z",
        "２025-01-01T00:00:00Z",
    ] {
        assert_eq!(micros(bad), Err(TimeError::Syntax), "{bad}");
    }
}

#[test]
fn what_does_not_exist_is_refused() {
    for bad in [
        "2025-00-01T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-01-00T00:00:00Z",
        "2025-01-32T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2025-04-31T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T00:60:00Z",
        "2025-01-01T00:00:61Z",
        "2025-01-01T00:00:00+24:00",
        "2025-01-01T00:00:00+00:60",
    ] {
        assert_eq!(micros(bad), Err(TimeError::Value), "{bad}");
    }
    for bad in ["1969-12-31T23:59:59.999999Z", "0000-01-01T00:00:00Z", "1970-01-01T00:00:00+00:01"] {
        assert_eq!(micros(bad), Err(TimeError::Range), "{bad}");
    }
    assert_eq!(micros("9999-12-31T23:59:59-00:01"), Err(TimeError::Range));
}

#[test]
fn every_day_of_a_calendar_cycle_reads_back_as_written() {
    // 400 years repeat; a few years more reach past the century rules at both ends.
    for day in 0..150_000 {
        let time = LogTime::from_micros(day * 86_400_000_000 + day % 86_400_000_000);
        let text = time.to_rfc3339();
        assert_eq!(text.len(), 27);
        assert_eq!(LogTime::parse_canonical(&text), Ok(time), "{text}");
    }
}

#[test]
fn only_the_written_form_is_canonical() {
    assert!(LogTime::parse_canonical("2025-01-01T00:00:00.000000Z").is_ok());
    for other in ["2025-01-01T00:00:00Z", "2025-01-01T00:00:00.000000z", "2025-01-01T00:00:00.000000+00:00"] {
        assert_eq!(LogTime::parse_canonical(other), Err(TimeError::Syntax), "{other}");
    }
}
