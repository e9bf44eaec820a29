//! `Range` of bytes (RFC 9110 §14.1.2, §14.2).

use std::ops::Range;

use http::HeaderValue;
use smallvec::SmallVec;

use super::list;

/// More parts than this, after merging, are not worth an answer in parts.
pub const PARTS_MAX: usize = 32;

/// Ranges closer than this are merged: the head of one more part costs about as much (RFC 9110 §15.3.7.2).
const GAP_MAX: u64 = 80;

/// More digits than this are no position (they would not fit an `i64` either).
const DIGITS_MAX: usize = 18;

/// What a `Range` field asks of a representation of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// All of it: no field, or one that is to be ignored.
    Whole,
    /// These parts: in ascending order, disjoint, none empty, all inside the length, at most [`PARTS_MAX`].
    Parts(SmallVec<[Range<u64>; 1]>),
    /// Nothing that exists: 416.
    Unsatisfiable,
}

/// Applies a `Range` field to a representation of `length` bytes.
///
/// Unknown units, any syntax error and too many parts mean [`Ranges::Whole`]: a server may always ignore
/// the field.
#[must_use]
pub fn resolve(header: Option<&HeaderValue>, length: u64) -> Ranges {
    let Some(specs) = header.and_then(|value| byte_specs(value.as_bytes())) else {
        return Ranges::Whole;
    };
    let mut parts = SmallVec::<[Range<u64>; 1]>::new();
    let mut asked = 0_usize;
    for spec in list::split(specs, b',') {
        let Some(spec) = Spec::parse(spec) else {
            return Ranges::Whole;
        };
        // RFC 9110 §14.1.2 calls any suffix but `-0` satisfiable, also of an empty representation,
        // for which no 206 can be written: the whole of it is all there is.
        if length == 0 && matches!(spec, Spec::Suffix(1..)) {
            return Ranges::Whole;
        }
        asked += 1;
        parts.extend(spec.within(length));
    }
    match asked {
        0 => Ranges::Whole,
        _ if parts.is_empty() => Ranges::Unsatisfiable,
        1 => Ranges::Parts(parts),
        _ => {
            merge(&mut parts);
            if parts.len() > PARTS_MAX {
                Ranges::Whole
            } else {
                Ranges::Parts(parts)
            }
        }
    }
}

/// The first position that a `Range` field asks for, told before the length is known; 0 for one that counts from
/// the end. `None` when there is no field or it is to be ignored.
#[must_use]
pub fn first_position(header: Option<&HeaderValue>) -> Option<u64> {
    let specs = byte_specs(header?.as_bytes())?;
    let mut first: Option<u64> = None;
    let mut asked = false;
    for spec in list::split(specs, b',') {
        asked = true;
        match Spec::parse(spec)? {
            Spec::Between(start, _) | Spec::From(start) => {
                first = Some(first.map_or(start, |first| first.min(start)));
            }
            Spec::Suffix(_) => {}
        }
    }
    asked.then(|| first.unwrap_or(0))
}

/// A `Content-Range` of bytes that says everything (RFC 9110 §14.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRange {
    /// The positions of the part; never empty, inside the complete length.
    pub part: Range<u64>,
    /// Bytes of the whole representation.
    pub complete_bytes: u64,
}

impl ContentRange {
    /// Reads `bytes first-last/complete`; `None` for any other form.
    #[must_use]
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let value = value.as_bytes().trim_ascii();
        let (unit, rest) = value.split_at_checked(memchr::memchr(b' ', value)?)?;
        let rest = rest.trim_ascii();
        let (part, complete) = rest.split_at_checked(memchr::memchr(b'/', rest)?)?;
        let complete_bytes = position(complete.get(1..)?)?;
        match Spec::parse(part)? {
            Spec::Between(first, last)
                if unit.eq_ignore_ascii_case(b"bytes") && last < complete_bytes =>
            {
                Some(Self {
                    part: first..last + 1,
                    complete_bytes,
                })
            }
            Spec::Between(..) | Spec::From(_) | Spec::Suffix(_) => None,
        }
    }
}

fn byte_specs(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (unit, specs) = value.split_at_checked(memchr::memchr(b'=', value)?)?;
    unit.eq_ignore_ascii_case(b"bytes")
        .then(|| specs.get(1..))
        .flatten()
}

enum Spec {
    Between(u64, u64),
    From(u64),
    Suffix(u64),
}

impl Spec {
    fn parse(text: &[u8]) -> Option<Self> {
        let (first, last) = text.split_at_checked(memchr::memchr(b'-', text)?)?;
        let last = last.get(1..)?;
        match (first, last) {
            ([], last) => Some(Self::Suffix(position(last)?)),
            (first, []) => Some(Self::From(position(first)?)),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn within(&self, length: u64) -> Option<Range<u64>> {
        let range = match *self {
            // RFC 9110 §14.1.2: a last position beyond the end means the end.
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            // A suffix longer than the representation means all of it.
            Self::Suffix(count) => length.saturating_sub(count)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

fn position(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    })
}

/// Sorts, and joins what overlaps, touches or is near.
fn merge(parts: &mut SmallVec<[Range<u64>; 1]>) {
    parts.sort_unstable_by_key(|part| part.start);
    parts.dedup_by(|next, kept| {
        let joins = next.start <= kept.end.saturating_add(GAP_MAX);
        if joins {
            kept.end = kept.end.max(next.end);
        }
        joins
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(ranges: &[(u64, u64)]) -> Ranges {
        Ranges::Parts(ranges.iter().map(|&(start, end)| start..end).collect())
    }

    #[track_caller]
    fn check(value: &str, length: u64, expect: &Ranges) {
        let value = HeaderValue::from_str(value).unwrap();
        assert_eq!(
            resolve(Some(&value), length),
            *expect,
            "{value:?} of {length}"
        );
    }

    #[test]
    fn single_ranges() {
        check("bytes=0-0", 1000, &parts(&[(0, 1)]));
        check("bytes=10-19", 1000, &parts(&[(10, 20)]));
        check("bytes=990-", 1000, &parts(&[(990, 1000)]));
        check("bytes=-10", 1000, &parts(&[(990, 1000)]));
        check("bytes=-5000", 1000, &parts(&[(0, 1000)]));
        check("bytes=0-", 1000, &parts(&[(0, 1000)]));
        check("bytes=990-5000", 1000, &parts(&[(990, 1000)]));
        check("Bytes=0-1", 1000, &parts(&[(0, 2)]));
        check("bytes= 0-1 ,", 1000, &parts(&[(0, 2)]));
        check("bytes=0-999999999999999999", 1000, &parts(&[(0, 1000)]));
    }

    #[test]
    fn what_cannot_be_satisfied() {
        check("bytes=1000-", 1000, &Ranges::Unsatisfiable);
        check("bytes=1000-2000, 5000-", 1000, &Ranges::Unsatisfiable);
        check("bytes=-0", 1000, &Ranges::Unsatisfiable);
        check("bytes=0-", 0, &Ranges::Unsatisfiable);
        check("bytes=-5", 0, &Ranges::Whole);
        check("bytes=5000-, 0-1", 1000, &parts(&[(0, 2)]));
    }

    #[test]
    fn what_is_ignored() {
        for value in [
            "bytes",
            "bytes=",
            "bytes=,",
            "lines=0-1",
            "bytes =0-1",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=0-1,x",
            "bytes=0 -1",
            "bytes=+0-1",
            "bytes=--1",
            "bytes=1",
            "bytes=-",
            "bytes=0-1000000000000000000",
            "bytes=0-1, 5-1",
            "bytes:0-1",
        ] {
            check(value, 1000, &Ranges::Whole);
        }
        assert_eq!(resolve(None, 1000), Ranges::Whole);
    }

    #[test]
    fn several_are_sorted_and_merged() {
        check("bytes=500-599,0-99", 1000, &parts(&[(0, 100), (500, 600)]));
        check("bytes=0-99,50-149", 1000, &parts(&[(0, 150)]));
        check("bytes=0-99,100-149", 1000, &parts(&[(0, 150)]));
        check("bytes=0-9,90-99", 1000, &parts(&[(0, 100)]));
        check("bytes=0-9,91-99", 1000, &parts(&[(0, 10), (91, 100)]));
        check("bytes=0-,0-,0-,-1", 1000, &parts(&[(0, 1000)]));
    }

    #[test]
    fn too_many_parts_mean_the_whole() {
        let value = |count: u64| {
            let specs: Vec<_> = (0..count)
                .map(|n| format!("{}-{}", n * 1000, n * 1000 + 1))
                .collect();
            format!("bytes={}", specs.join(","))
        };
        check(&value(33), 1_000_000, &Ranges::Whole);
        let found = resolve(Some(&HeaderValue::from_str(&value(32)).unwrap()), 1_000_000);
        assert!(matches!(found, Ranges::Parts(parts) if parts.len() == 32));
        let same = format!("bytes={}", vec!["0-1"; 500].join(","));
        check(&same, 1000, &parts(&[(0, 2)]));
    }

    fn holds(found: &Ranges, length: u64) -> bool {
        let Ranges::Parts(parts) = found else {
            return true;
        };
        !parts.is_empty()
            && parts.len() <= PARTS_MAX
            && parts
                .iter()
                .all(|part| part.start < part.end && part.end <= length)
            && parts.windows(2).all(|pair| pair[0].end < pair[1].start)
    }

    #[test]
    fn the_first_position_is_known_without_the_length() {
        #[track_caller]
        fn check(text: &str, expect: Option<u64>) {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(first_position(Some(&value)), expect, "{text}");
        }
        check("bytes=5-9", Some(5));
        check("bytes=7-", Some(7));
        check("bytes=-3", Some(0));
        check("bytes=9-10, 4-5,-1", Some(4));
        check("bytes=9-4", None);
        check("lines=1-2", None);
        check("bytes=", None);
        assert_eq!(first_position(None), None);
    }

    #[test]
    fn a_content_range_says_everything_or_nothing() {
        #[track_caller]
        fn check(text: &str, expect: Option<(u64, u64, u64)>) {
            let found = ContentRange::parse(&HeaderValue::from_str(text).unwrap());
            let found = found.map(|found| (found.part.start, found.part.end, found.complete_bytes));
            assert_eq!(found, expect, "{text}");
        }
        check("bytes 0-0/1", Some((0, 1, 1)));
        check("Bytes 10-19/100", Some((10, 20, 100)));
        check("bytes 10-100/100", None);
        check("bytes 10-9/100", None);
        check("bytes 0-9/*", None);
        check("bytes */100", None);
        check("bytes 0-9", None);
        check("lines 0-9/10", None);
        check("bytes=0-9/10", None);
        check("bytes 0-9/1e3", None);
    }

    proptest! {
        #[test]
        fn parts_are_sorted_disjoint_and_inside(
            specs in prop::collection::vec((0u64..3000, 0u64..3000, 0u8..3), 1..60),
            length in 0u64..3000,
        ) {
            let specs: Vec<_> = specs.iter().map(|(a, b, kind)| match kind {
                0 => format!("{}-{}", a.min(b), a.max(b)),
                1 => format!("{a}-"),
                _ => format!("-{a}"),
            }).collect();
            let value = HeaderValue::try_from(format!("bytes={}", specs.join(", "))).unwrap();
            prop_assert!(holds(&resolve(Some(&value), length), length));
        }

        #[test]
        fn any_value_is_survived(text in "bytes=[-0-9, x]{0,60}", length: u64) {
            let value = HeaderValue::try_from(text).unwrap();
            prop_assert!(holds(&resolve(Some(&value), length), length));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, length: u64) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                prop_assert!(holds(&resolve(Some(&value), length), length));
            }
        }
    }
}
