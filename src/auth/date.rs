//! The one form of dates that Signature Version 4 has: `YYYYMMDDTHHMMSSZ`.

use std::fmt;
use std::time::Duration;

use crate::types::calendar::date_of_day;

const DAY_SECONDS: u64 = 86_400;

/// A second of UTC between the years 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmzDate {
    unix_seconds: u64,
}

impl AmzDate {
    /// The last second that the form can write.
    const MAX: u64 = 253_402_300_799;

    /// The second that `since_1970` falls in; the year 9999 ends the calendar.
    pub fn from_unix(since_1970: Duration) -> Self {
        Self { unix_seconds: since_1970.as_secs().min(Self::MAX) }
    }

    /// Seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.unix_seconds
    }

    /// Reads `YYYYMMDDTHHMMSSZ`, and nothing that is not a second of the calendar.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let [date @ .., b'T', _, _, _, _, _, _, b'Z'] = text else { return None };
        if text.len() != 16 {
            return None;
        }
        let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
        let (hour, minute, second) =
            (number(&text[9..11])?, number(&text[11..13])?, number(&text[13..15])?);
        let in_calendar = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        if !in_calendar || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_before_year(year) - days_before_year(1970)
            + (1..month).map(|month| days_in_month(year, month)).sum::<u64>()
            + day
            - 1;
        Some(Self { unix_seconds: days * DAY_SECONDS + hour * 3_600 + minute * 60 + second })
    }

    /// The day alone, `YYYYMMDD`: the scope of a credential.
    pub fn day(self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// As it is signed. Written by hand, as every request needs it.
    pub(super) fn text(self) -> [u8; 16] {
        let (year, month, day) = date_of_day(self.unix_seconds / DAY_SECONDS);
        let second = self.unix_seconds % DAY_SECONDS;
        let pairs =
            [year / 100, year % 100, month, day, second / 3_600, second / 60 % 60, second % 60];
        let mut text = *b"YYYYMMDDTHHMMSSZ";
        // The `T` stands after the first four pairs.
        let starts = [0, 2, 4, 6, 9, 11, 13];
        for (start, pair) in starts.into_iter().zip(pairs) {
            text[start..start + 2].copy_from_slice(&two_digits(pair));
        }
        text
    }
}

/// The two decimal digits of a number below 100.
fn two_digits(number: u64) -> [u8; 2] {
    let digit = |value: u64| b'0' + u8::try_from(value % 10).expect("a digit");
    [digit(number / 10), digit(number)]
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
    })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the year 1 to the first of January of `year`.
fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

impl fmt::Display for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("digits are text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<u64> {
        AmzDate::parse(text.as_bytes()).map(AmzDate::unix_seconds)
    }

    #[test]
    fn known_dates_are_their_seconds() {
        assert_eq!(parse("19700101T000000Z"), Some(0));
        assert_eq!(parse("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(parse("20000229T235959Z"), Some(951_868_799));
        assert_eq!(parse("99991231T235959Z"), Some(AmzDate::MAX));
    }

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        for day in 0..500 * 366 {
            let date = AmzDate::from_unix(Duration::from_secs(day * DAY_SECONDS + 86_399));
            assert_eq!(AmzDate::parse(date.to_string().as_bytes()), Some(date), "{date}");
        }
    }

    #[test]
    fn nothing_else_is_a_date() {
        for text in [
            "",
            "20150830",
            "2015-08-30T12:36:00Z",
            "20150830T123600",
            "20150830T123600z",
            "20150830T123600Z ",
            "20150830 123600Z",
            "20150230T000000Z",
            "20150001T000000Z",
            "20151301T000000Z",
            "20150100T000000Z",
            "20150101T240000Z",
            "20150101T006000Z",
            "20150101T000060Z",
            "19691231T235959Z",
            "+0150830T123600Z",
            "00000000T000000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
