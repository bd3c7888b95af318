//! How long a certificate is valid (RFC 5280, 4.1): the one field that people are told of. rustls
//! checks it on its own and does not tell.

use crate::auth::AmzDate;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, the version, which the oldest certificates leave out.
const VERSION: u8 = 0xa0;

/// The last second in which a certificate is valid, since 1970; none when it is no certificate.
pub(super) fn not_after(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (fields, _) = take(certificate, SEQUENCE)?;
    let fields = take(fields, VERSION).map_or(fields, |(_, rest)| rest);
    let (_serial, fields) = take(fields, INTEGER)?;
    let (_algorithm, fields) = take(fields, SEQUENCE)?;
    let (_issuer, fields) = take(fields, SEQUENCE)?;
    let (validity, _) = take(fields, SEQUENCE)?;
    let not_before = take(validity, UTC_TIME).or_else(|| take(validity, GENERALIZED_TIME));
    let (_not_before, not_after) = not_before?;
    time(not_after).map(|(not_after, _)| not_after)
}

/// The content of the element that `bytes` begin with, if it has this tag, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = bytes else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if digits.len() > 4 {
                return None;
            }
            let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}

/// A time, in seconds since 1970, and what follows it.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest) = match bytes.first()? {
        &UTC_TIME => {
            let (text, rest) = take(bytes, UTC_TIME)?;
            // Two digits of the year, from 1950 to 2049.
            let century = if text.first()? < &b'5' { b"20" } else { b"19" };
            ([century, text].concat(), rest)
        }
        _ => {
            let (text, rest) = take(bytes, GENERALIZED_TIME)?;
            (text.to_vec(), rest)
        }
    };
    let (day, clock) = text.split_at_checked(8)?;
    let date = AmzDate::parse(&[day, b"T", clock].concat())?;
    Some((date.unix_seconds(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["node1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 3, 4);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_a_date() {
        assert_eq!(not_after(&certificate(2030)), Some(1_898_812_800));
        assert_eq!(not_after(&certificate(2060)), Some(2_845_584_000));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(2030);
        for end in 0..whole.len() {
            not_after(&whole[..end]);
        }
        for place in 0..whole.len().min(256) {
            let mut changed = whole.clone();
            changed[place] ^= 0xff;
            not_after(&changed);
        }
        assert_eq!(not_after(b""), None);
        assert_eq!(not_after(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
