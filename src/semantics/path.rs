//! The one spelling of a path (RFC 3986 §6.2.2), used for the key and for the origin alike.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a malformed percent escape")]
    BadEscape,
    /// An escaped or raw zero byte.
    #[error("the path has a zero byte")]
    Nul,
    /// A byte that must not stand in a path: space, control, not ASCII, `?` or `#`.
    #[error("the path has a byte that must be escaped")]
    BadByte,
}

/// Decodes escaped unreserved characters, writes the other escapes in upper case, and removes dot
/// segments, the escaped ones too. Everything else stays as it is: `%2F` is no slash, `//` is not `/`.
///
/// Borrows when the path is canonical already. Applying it twice changes nothing more.
///
/// # Errors
///
/// When the path does not begin with a slash, has a bad escape, `%00`, or a byte that must be escaped.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    match survey(path.as_bytes())? {
        Spelling::Canonical => Ok(Cow::Borrowed(path)),
        Spelling::Other => Ok(Cow::Owned(without_dot_segments(&decoded(path.as_bytes())))),
    }
}

enum Spelling {
    Canonical,
    Other,
}

/// Checks the whole path and says whether it has to be rewritten.
fn survey(path: &[u8]) -> Result<Spelling, PathError> {
    let mut spelling = Spelling::Canonical;
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let (escape, after) = escape(rest)?;
                rest = after;
                if is_unreserved(escape.byte) || !escape.is_upper {
                    spelling = Spelling::Other;
                }
            }
            b'/' if starts_with_dot_segment(rest) => spelling = Spelling::Other,
            0 => return Err(PathError::Nul),
            b'?' | b'#' | ..=b' ' | 0x7f.. => return Err(PathError::BadByte),
            _ => {}
        }
    }
    Ok(spelling)
}

fn starts_with_dot_segment(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
    )
}

struct Escape {
    byte: u8,
    is_upper: bool,
}

/// The escape whose two digits begin `text`, and what follows them.
fn escape(text: &[u8]) -> Result<(Escape, &[u8]), PathError> {
    let [high, low, after @ ..] = text else {
        return Err(PathError::BadEscape);
    };
    let (Some(upper), Some(lower)) = (hex(*high), hex(*low)) else {
        return Err(PathError::BadEscape);
    };
    let byte = upper << 4 | lower;
    if byte == 0 {
        return Err(PathError::Nul);
    }
    let is_upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    Ok((Escape { byte, is_upper }, after))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The path with unreserved characters decoded and the other escapes in upper case.
fn decoded(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                match escape(&[*high, *low]) {
                    Ok((escape, _)) if is_unreserved(escape.byte) => text.push(escape.byte.into()),
                    // `survey` has refused what is no escape.
                    Ok(_) | Err(_) => {
                        text.push('%');
                        text.push(high.to_ascii_uppercase().into());
                        text.push(low.to_ascii_uppercase().into());
                    }
                }
            }
            _ => text.push((*byte).into()),
        }
    }
    text
}

/// RFC 3986 §5.2.4 for a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                text.truncate(text.rfind('/').unwrap_or(0));
            }
            _ => {
                text.push('/');
                text.push_str(segment);
                continue;
            }
        }
        // `/a/.` and `/a/b/..` are both the folder `/a/`.
        if is_last {
            text.push('/');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &str, expect: Result<&str, PathError>) {
        let found = canonical(path);
        assert_eq!(
            found.as_deref(),
            expect.as_ref().map(|path| *path),
            "{path:?}"
        );
        if let (Ok(found), Ok(expect)) = (found, expect) {
            assert_eq!(
                matches!(found, Cow::Borrowed(_)),
                path == expect,
                "{path:?}"
            );
        }
    }

    #[test]
    fn canonical_paths_stay() {
        for path in [
            "/",
            "/a/b.png",
            "//a//b",
            "/a%2Fb",
            "/%3F%23",
            "/a;b=c",
            "/a\\b",
            "/...",
            "/.a/..b/c.",
            "/a/",
            "/%E4%BD%A0",
            "/*",
            "/a:b@c!$&'()*+,",
        ] {
            check(path, Ok(path));
        }
    }

    #[test]
    fn escapes_are_spelt_in_one_way() {
        check("/%61%7e%2D", Ok("/a~-"));
        check("/%2f%3a", Ok("/%2F%3A"));
        check("/%2541", Ok("/%2541"));
        check("/%5c", Ok("/%5C"));
        check("/%e4%bd%a0", Ok("/%E4%BD%A0"));
    }

    #[test]
    fn dot_segments_are_removed() {
        check("/.", Ok("/"));
        check("/..", Ok("/"));
        check("/a/./b", Ok("/a/b"));
        check("/a/b/../c", Ok("/a/c"));
        check("/a/b/..", Ok("/a/"));
        check("/a/.", Ok("/a/"));
        check("/../../etc/passwd", Ok("/etc/passwd"));
        check("/a/%2e%2e/b", Ok("/b"));
        check("/a/%2E/b", Ok("/a/b"));
        check("/a/.%2e/", Ok("/"));
        check("/a//../b", Ok("/a/b"));
        check("/a/..%2Fb", Ok("/a/..%2Fb"));
        check("/a/b/c/./../../g", Ok("/a/g"));
    }

    #[test]
    fn bad_paths_are_refused() {
        check("", Err(PathError::NotAbsolute));
        check("a", Err(PathError::NotAbsolute));
        check("*", Err(PathError::NotAbsolute));
        check("/%", Err(PathError::BadEscape));
        check("/%4", Err(PathError::BadEscape));
        check("/%zz", Err(PathError::BadEscape));
        check("/%%41", Err(PathError::BadEscape));
        check("/a%00b", Err(PathError::Nul));
        check("/a\0b", Err(PathError::Nul));
        check("/a b", Err(PathError::BadByte));
        check("/a\tb", Err(PathError::BadByte));
        check("/ä", Err(PathError::BadByte));
        check("/a?b", Err(PathError::BadByte));
        check("/a#b", Err(PathError::BadByte));
        check("/\u{7f}", Err(PathError::BadByte));
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent(path in "/([a-c/.%]|%[0-9a-fA-F]{2}|%2[eEfF]|/\\.\\.?){0,24}") {
            if let Ok(once) = canonical(&path) {
                let twice = canonical(&once).unwrap();
                prop_assert_eq!(&*twice, &*once);
                prop_assert!(matches!(twice, Cow::Borrowed(_)));
                prop_assert!(once.starts_with('/'));
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(once.len() <= path.len());
            }
        }

        #[test]
        fn any_text_is_survived(path: String) {
            prop_assert!(path.starts_with('/') || canonical(&path) == Err(PathError::NotAbsolute));
            let absolute = format!("/{path}");
            prop_assert_ne!(canonical(&absolute), Err(PathError::NotAbsolute));
        }
    }
}
