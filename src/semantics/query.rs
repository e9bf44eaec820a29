//! The query of a target: pieces between `&`, kept raw and in order.

/// The raw pieces between `&`; empty ones are skipped.
pub fn pieces(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|piece| !piece.is_empty())
}

/// The raw name of a piece: what stands before its first `=`.
#[must_use]
pub fn name_of(piece: &str) -> &str {
    piece.split_once('=').map_or(piece, |(name, _)| name)
}

/// Raw `(name, value)` pairs in order. A piece without `=` has an empty value; nothing is decoded.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    pieces(query).map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

/// Whether a raw name means `name` once its escapes are undone, so that `%75tm_id` does not slip past
/// a rule about `utm_id`. Bad escapes stand for themselves.
#[must_use]
pub fn names(raw: &str, name: &str) -> bool {
    if !raw.contains('%') {
        return raw == name;
    }
    unescaped(raw).eq(name.bytes())
}

/// The bytes that a raw name or value stands for. Bad escapes stand for themselves; a plus is a plus.
pub fn unescaped(raw: &str) -> impl Iterator<Item = u8> {
    let mut rest = raw.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = next_byte(rest)?;
        rest = after;
        Some(byte)
    })
}

fn next_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    match text {
        [b'%', high, low, after @ ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, after)),
            _ => text.split_first().map(|(byte, after)| (*byte, after)),
        },
        _ => text.split_first().map(|(byte, after)| (*byte, after)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(query: &str, expect: &[(&str, &str)]) {
        let found: Vec<_> = pairs(query).collect();
        assert_eq!(found, expect, "{query:?}");
    }

    #[test]
    fn pairs_are_raw_and_in_order() {
        check("b=2&a=1&b=3", &[("b", "2"), ("a", "1"), ("b", "3")]);
        check("a&b=&=c", &[("a", ""), ("b", ""), ("", "c")]);
        check("a=b=c&%61=%62+c", &[("a", "b=c"), ("%61", "%62+c")]);
        check("&&a=1&", &[("a", "1")]);
        check("", &[]);
    }

    #[test]
    fn escaped_names_are_recognised() {
        assert!(names("utm_id", "utm_id"));
        assert!(names("%75tm_id", "utm_id"));
        assert!(names("%75%74%6D_id", "utm_id"));
        assert!(!names("utm_i", "utm_id"));
        assert!(!names("utm_idd", "utm_id"));
        assert!(names("a%zz", "a%zz"));
        assert!(names("a%4", "a%4"));
    }

    proptest! {
        #[test]
        fn any_query_is_survived(query: String, name: String) {
            for (raw, _) in pairs(&query) {
                prop_assert!(raw.contains('%') || names(raw, &name) == (raw == name));
            }
        }

        #[test]
        fn pairs_join_to_what_they_came_from(given in prop::collection::vec(("[a-z]{1,4}", "[a-z=]{0,4}"), 0..6)) {
            let query = given.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
            let found: Vec<_> = pairs(&query).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(found, given);
        }
    }
}
