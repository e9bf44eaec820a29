//! Comma-separated field values (RFC 9110 §5.6.1): members over all lines of a field, with commas
//! inside quoted strings left alone and empty members skipped.

use http::{HeaderMap, HeaderName};

/// The members of every line of the field `name`, in order, trimmed, never empty.
pub fn members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| split(line.as_bytes(), b','))
}

/// The trimmed, non-empty pieces of `text` between unquoted `separator`s.
///
/// A quoted string without an end reaches to the end of the text.
#[must_use]
pub fn split(text: &[u8], separator: u8) -> Split<'_> {
    Split {
        rest: text,
        separator,
    }
}

/// The pieces that [`split`] finds.
#[derive(Debug, Clone)]
pub struct Split<'a> {
    rest: &'a [u8],
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (piece, after) = self.rest.split_at(piece_end(self.rest, self.separator));
            self.rest = after.get(1..).unwrap_or_default();
            let piece = piece.trim_ascii();
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }
}

/// Where the first unquoted separator is, or the length of the text.
fn piece_end(text: &[u8], separator: u8) -> usize {
    // Most values have no quotes; then no byte needs to be looked at twice.
    let plain = memchr::memchr2(separator, b'"', text).unwrap_or(text.len());
    if text.get(plain) != Some(&b'"') {
        return plain;
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate().skip(plain) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let found: Vec<_> = split(text.as_bytes(), b',')
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn commas_separate_outside_quotes_only() {
        check("a, b ,c", &["a", "b", "c"]);
        check(" ,, a,,", &["a"]);
        check("", &[]);
        check(r#"a="b,c", d"#, &[r#"a="b,c""#, "d"]);
        check(r#"a="b\",c", d"#, &[r#"a="b\",c""#, "d"]);
        check(r#"a="b, c"#, &[r#"a="b, c"#]);
        check(r"a\,b", &[r"a\", "b"]);
    }

    #[test]
    fn lines_of_one_field_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append("x-list", "a, b".parse().unwrap());
        headers.append("x-list", "c".parse().unwrap());
        let name = HeaderName::from_static("x-list");
        let found: Vec<_> = members(&headers, &name).collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
    }

    proptest! {
        #[test]
        fn pieces_are_trimmed_parts_of_any_text(text: Vec<u8>) {
            let total: usize = split(&text, b',').map(<[u8]>::len).sum();
            prop_assert!(total <= text.len());
            prop_assert!(split(&text, b',').all(|piece| !piece.is_empty() && piece == piece.trim_ascii()));
        }
    }
}
