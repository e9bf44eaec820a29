/// Patterns are on the last segment of the path, with `*` for any run of characters.
pub(super) fn matches_any(patterns: &[String], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    patterns
        .iter()
        .any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

/// Keeps only the last star to go back to, so that no pattern takes more than `pattern * name` steps.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, seen));
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(byte) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else {
                    return false;
                };
                retry = Some((after_star, from + 1));
                at = after_star;
                seen = from + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_file_names() {
        let check = |pattern: &str, name: &str, expect: bool| {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expect,
                "{pattern} {name}"
            );
        };
        check("*.jpg", "a.jpg", true);
        check("*.jpg", ".JPG", true);
        check("*.jpg", "a.jpg.txt", false);
        check("photo-*-?.png", "photo-1-x.png", false);
        check("photo-*.png", "photo-1.png.png", true);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
    }
}
