use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// Keys up to this many bytes need no heap: a site, a host, a path and a few fields of usual length.
const INLINE_BYTES: usize = 256;

/// A key as text: visible ASCII and single spaces, on the heap only when it is long.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyText(SmallVec<[u8; INLINE_BYTES]>);

impl KeyText {
    pub(super) fn new() -> Self {
        Self(SmallVec::new())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push_str(&mut self, text: &str) {
        debug_assert!(text.is_ascii());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends bytes so that the text has neither spaces, control bytes nor anything but ASCII, and can be told apart
    /// from any other: what is not visible ASCII, and the backslash, is written as `\` and two digits.
    pub(super) fn push_escaped(&mut self, bytes: &[u8]) {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
        if bytes.iter().all(is_plain) {
            return self.0.extend_from_slice(bytes);
        }
        for byte in bytes {
            if is_plain(byte) {
                self.0.push(*byte);
            } else {
                let escape = [b'\\', hex_digit(byte >> 4), hex_digit(byte & 0xf)];
                self.0.extend_from_slice(&escape);
            }
        }
    }
}

fn hex_digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + (value - 10),
    }
}

impl Deref for KeyText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for KeyText {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for KeyText {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<String> for KeyText {
    fn eq(&self, other: &String) -> bool {
        *self == **other
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self)
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_usual_key_is_inline_and_a_long_one_is_whole() {
        let mut text = KeyText::new();
        text.push_str(&"a".repeat(INLINE_BYTES));
        assert!(!text.0.spilled());
        text.push_escaped(b" \xff");
        assert!(text.0.spilled());
        assert_eq!(text, format!("{}\\20\\ff", "a".repeat(INLINE_BYTES)));
    }

    proptest! {
        #[test]
        fn different_bytes_never_share_a_text(one: Vec<u8>, other: Vec<u8>) {
            let text = |bytes: &[u8]| {
                let mut text = KeyText::new();
                text.push_escaped(bytes);
                text
            };
            prop_assert!(text(&one).bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(text(&one) == text(&other), one == other);
        }
    }
}
