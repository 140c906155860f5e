//! Log time, and the one reading of RFC 3339 text.
//!
//! Takes text or microseconds, gives [`LogTime`]. Reading is strict RFC 3339 section 5.6: the grammar's `T` and `Z`
//! in either case (ABNF strings are case-insensitive), an offset `+hh:mm` or `-hh:mm` (`-00:00` included), a fraction
//! of 1 to 9 digits of which the first six count (the rest is cut, never rounded). No blank for `T`, no missing
//! offset, no two-digit years. The second 60 is read only where a leap second can be (the last UTC minute of 30 June
//! and 31 December) and means the second after 59, as in POSIX time. Times before 1970 or after 9999 are refused.
//! The rule about clocks ahead of the log's ([`crate::limits::CREATED_AT_SKEW`]) is applied by the core.

use core::fmt;
use core::time::Duration;

const MICROS_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogTime(u64);

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not the grammar of RFC 3339 `date-time`.
    #[error("not an RFC 3339 date-time")]
    Syntax,
    /// A month, day, hour, minute, second or offset that does not exist.
    #[error("no such date or time of day")]
    Value,
    /// Before 1970 or after 9999, in UTC.
    #[error("time outside 1970 to 9999")]
    Range,
}

impl LogTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59.999999Z, the last time that has an RFC 3339 text.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// This much later; stops at the type's end.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier`; zero if it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `YYYY-MM-DDTHH:MM:SS.ffffffZ`, always 27 bytes up to [`LogTime::MAX`]; later times get a longer year, which
    /// no reader accepts.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let seconds = self.0 / MICROS_PER_SECOND;
        let (days, of_day) = (seconds / SECONDS_PER_DAY as u64, seconds % SECONDS_PER_DAY as u64);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let micros = self.0 % MICROS_PER_SECOND;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }

    /// Reads an RFC 3339 `date-time` (see the head of this file).
    ///
    /// # Errors
    /// Anything else, and times before 1970 or after 9999.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimeError> {
        let mut rest = Text(text.as_bytes());
        let (year, month, day) = (rest.digits(4)?, rest.after(b"-")?.digits(2)?, rest.after(b"-")?.digits(2)?);
        let (hour, minute) = (rest.after(b"Tt")?.digits(2)?, rest.after(b":")?.digits(2)?);
        let second = rest.after(b":")?.digits(2)?;
        let micros = rest.fraction()?;
        let offset = rest.offset()?;
        if !rest.0.is_empty() {
            return Err(TimeError::Syntax);
        }
        if !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
            return Err(TimeError::Value);
        }
        if hour > 23 || minute > 59 || second > 60 {
            return Err(TimeError::Value);
        }
        let minutes = days_from_civil(year, month, day) * 1440 + hour * 60 + minute - offset;
        if second == 60 && !ends_half_year(minutes) {
            return Err(TimeError::Value);
        }
        let seconds = u64::try_from(minutes * 60 + second).map_err(|_| TimeError::Range)?;
        let time = Self(seconds * MICROS_PER_SECOND + micros);
        if time > Self::MAX { Err(TimeError::Range) } else { Ok(time) }
    }

    /// Reads only what [`LogTime::to_rfc3339`] writes, so that a time has one text.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse_canonical(text: &str) -> Result<Self, TimeError> {
        let time = Self::parse_rfc3339(text)?;
        if time.to_rfc3339() == text { Ok(time) } else { Err(TimeError::Syntax) }
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl fmt::Debug for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// What is still to be read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn digits(&mut self, count: usize) -> Result<i64, TimeError> {
        let (digits, rest) = self.0.split_at_checked(count).ok_or(TimeError::Syntax)?;
        self.0 = rest;
        digits.iter().try_fold(0, |value, &c| match c {
            b'0'..=b'9' => Ok(value * 10 + i64::from(c - b'0')),
            _ => Err(TimeError::Syntax),
        })
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        if !allowed.contains(&first) {
            return None;
        }
        self.0 = rest;
        Some(first)
    }

    fn after(&mut self, allowed: &[u8]) -> Result<&mut Self, TimeError> {
        self.one_of(allowed).ok_or(TimeError::Syntax)?;
        Ok(self)
    }

    /// Microseconds of an optional fraction.
    fn fraction(&mut self) -> Result<u64, TimeError> {
        if self.one_of(b".").is_none() {
            return Ok(0);
        }
        let (mut micros, mut count) = (0u64, 0u32);
        while let Some(c) = self.one_of(b"0123456789") {
            count += 1;
            if count <= 6 {
                micros = micros * 10 + u64::from(c - b'0');
            }
        }
        match count {
            1..=6 => Ok(micros * 10u64.pow(6 - count)),
            7..=9 => Ok(micros),
            _ => Err(TimeError::Syntax),
        }
    }

    /// Minutes east of UTC.
    fn offset(&mut self) -> Result<i64, TimeError> {
        let sign = match self.one_of(b"Zz+-").ok_or(TimeError::Syntax)? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(0),
        };
        let (hours, minutes) = (self.digits(2)?, self.after(b":")?.digits(2)?);
        if hours > 23 || minutes > 59 { Err(TimeError::Value) } else { Ok(sign * (hours * 60 + minutes)) }
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, years 0 to 9999 (the year counted from March, in eras
/// of 400 years, so that the leap day is the last one).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a day since 1970-01-01: year, month, day.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Whether this minute since the epoch is 23:59 UTC of 30 June or 31 December: where a leap second can be.
fn ends_half_year(minutes: i64) -> bool {
    let Ok(next_day) = u64::try_from((minutes + 1).div_euclid(1440)) else { return false };
    let (_, month, day) = civil_from_days(next_day);
    (minutes + 1).rem_euclid(1440) == 0 && day == 1 && (month == 1 || month == 7)
}

#[cfg(test)]
mod tests;
