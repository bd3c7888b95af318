//! Lower-case hex, as signatures and hashes are written.

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    encode_into(&mut out, bytes);
    String::from_utf8(out).expect("hex digits are ASCII")
}

/// Appends lower-case hex to `out`.
pub(super) fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    let digits = |byte: &u8| [LOWER[usize::from(byte >> 4)], LOWER[usize::from(byte & 15)]];
    out.reserve(2 * bytes.len());
    bytes.iter().for_each(|byte| out.extend_from_slice(&digits(byte)));
}

/// The two upper-case digits of a byte.
pub(super) fn digits_upper(byte: u8) -> [u8; 2] {
    [UPPER[usize::from(byte >> 4)], UPPER[usize::from(byte & 15)]]
}

/// The bytes of exactly `2 * N` lower-case hex digits; none for anything else.
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_and_nothing_else_is_read() {
        for byte in 0..=u8::MAX {
            assert_eq!(encode(&[byte]), format!("{byte:02x}"));
            assert_eq!(decode(encode(&[byte]).as_bytes()), Some([byte]));
        }
        for text in ["", "a", "aaa", "AA", "g0", "0x", " a"] {
            assert_eq!(decode::<1>(text.as_bytes()), None, "{text}");
        }
    }
}
