//! Lower-case hex, as signatures and hashes are written.

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    encode_into(&mut out, bytes);
    String::from_utf8(out).expect("hex digits are ASCII")
}

/// Appends lower-case hex to `out`.
pub(super) fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    write_digits(&mut out[start..], bytes);
}

/// Lower-case hex of a hash, on the stack.
#[cfg(feature = "server")]
pub(super) fn encode_hash(hash: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    write_digits(&mut digits, hash);
    digits
}

/// By arithmetic rather than a table: a hash is a few vector instructions, and a signature needs
/// several.
fn write_digits(out: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in out.chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&[lower_digit(byte >> 4), lower_digit(byte & 15)]);
    }
}

fn lower_digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
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
    // What is no digit is found at the end: without a way out the loop needs no branches.
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (value(pair[0]), value(pair[1]));
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(bytes)
}

/// The value of a lower-case digit; 16 or more for anything else.
fn value(character: u8) -> u8 {
    let decimal = character.wrapping_sub(b'0');
    let letter = character.wrapping_sub(b'a');
    if decimal < 10 {
        decimal
    } else if letter < 6 {
        letter + 10
    } else {
        0x80
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
