//! The hash of a file's bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// BLAKE3-256 of a file's bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; Self::BYTES]);

impl ContentHash {
    const BYTES: usize = 32;

    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Makes a [`ContentHash`] of bytes that come in pieces, in bounded memory.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all pieces so far, as if they had come in one.
    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

/// A text is not a content hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content hash is 64 lower-case hex digits")]
pub struct ContentHashError;

impl FromStr for ContentHash {
    type Err = ContentHashError;

    fn from_str(text: &str) -> Result<Self, ContentHashError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::BYTES {
            return Err(ContentHashError);
        }
        let mut bytes = [0; Self::BYTES];
        let mut all = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        if all == NO_DIGIT { Err(ContentHashError) } else { Ok(Self(bytes)) }
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// The value of each byte as a digit. A table, because no branch predictor guesses the digits of hashes.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xff;

/// The 64 digits of a hash, without the way over a formatter.
struct Digits([u8; 2 * ContentHash::BYTES]);

impl Digits {
    fn of(hash: &ContentHash) -> Self {
        let mut digits = [0; 2 * ContentHash::BYTES];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        Self(digits)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Digits::of(self).as_str())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Digits::of(self).as_str())
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DigitsVisitor)
    }
}

struct DigitsVisitor;

impl de::Visitor<'_> for DigitsVisitor {
    type Value = ContentHash;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("64 lower-case hex digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ContentHash, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BLAKE3 of no bytes and of "abc", as its authors publish them.
    const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    const ABC: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

    #[test]
    fn a_content_hash_is_blake3_in_lower_case_hex() {
        assert_eq!(ContentHash::of(b"").to_string(), EMPTY);
        assert_eq!(ContentHash::of(b"abc").to_string(), ABC);
        assert_eq!(format!("{:?}", ContentHash::of(b"abc")), ABC);
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let bytes: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        for size in [1, 63, 64, 1024, 4096, 10_000] {
            let mut hasher = ContentHasher::new();
            for piece in bytes.chunks(size) {
                hasher.update(piece);
            }
            assert_eq!(hasher.finish(), ContentHash::of(&bytes), "pieces of {size} bytes");
        }
        assert_eq!(ContentHasher::new().finish().to_string(), EMPTY);
    }

    #[test]
    fn a_content_hash_survives_the_way_to_text_and_json_and_back() {
        let hash = ContentHash::of(b"abc");
        assert_eq!(ABC.parse(), Ok(hash));
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{ABC}\""));
        assert_eq!(serde_json::from_str::<ContentHash>(&format!("\"{ABC}\"")).unwrap(), hash);
        assert_eq!(hash.as_bytes()[..2], [0x64, 0x37]);
    }

    #[test]
    fn anything_but_64_lower_case_hex_digits_is_refused() {
        let upper = ABC.to_uppercase();
        let short = &ABC[1..];
        let long = format!("{ABC}0");
        let not_hex = format!("{}g", &ABC[1..]);
        let padded = format!(" {}", &ABC[1..]);
        let signed = format!("+{}", &ABC[1..]);
        let not_ascii = format!("{}é", &ABC[2..]);
        for text in ["", &upper, short, &long, &not_hex, &padded, &signed, &not_ascii] {
            assert_eq!(text.parse::<ContentHash>(), Err(ContentHashError), "{text:?}");
            let error = serde_json::from_str::<ContentHash>(&format!("{text:?}")).unwrap_err();
            assert!(error.to_string().contains("64 lower-case hex digits"), "{error}");
        }
        let error = serde_json::from_str::<ContentHash>("7").unwrap_err();
        assert!(error.to_string().contains("expected 64 lower-case hex digits"), "{error}");
    }
}
