//! `Repr-Digest` and `Content-Digest` (RFC 9530): what a body should hash to, and whether it does.

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA512};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// The digest of the content of this very message, a part or coded as it may be (RFC 9530 §2).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// The digest of the whole selected representation, coded as it may be (RFC 9530 §3).
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The digest of the representation without its codings (draft-ietf-httpbis-unencoded-digest): recoding leaves it true.
pub const UNENCODED_DIGEST: HeaderName = HeaderName::from_static("unencoded-digest");
/// What came before `Content-Digest` (RFC 1864), still sent here and there.
pub const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Whether a response has a digest in `field` that can be computed, as [`Verifier::of`] has it.
#[must_use]
pub fn is_digested(response: &HeaderMap, field: &HeaderName) -> bool {
    ALGORITHMS
        .into_iter()
        .any(|(name, algorithm)| digest_of(response, field, name, algorithm).is_some())
}

/// What is looked at (RFC 9530 §5: the others are too weak, or not known).
const ALGORITHMS: [(&str, &Algorithm); 2] = [("sha-256", &SHA256), ("sha-512", &SHA512)];

/// Computes the `sha-256` of a body, piece by piece.
#[derive(Clone)]
pub struct Digester(Context);

impl Default for Digester {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Digester {
    /// Takes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The value for a body that is all there.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<HeaderValue> {
        let mut digester = Self::default();
        digester.update(body);
        digester.finish()
    }

    /// The value of [`REPR_DIGEST`] or [`CONTENT_DIGEST`].
    #[must_use]
    pub fn finish(self) -> Option<HeaderValue> {
        let digest = sfv::BareItem::ByteSequence(self.0.finish().as_ref().to_vec());
        let item = sfv::ItemSerializer::new().bare_item(&digest).finish();
        HeaderValue::try_from(format!("sha-256={item}")).ok()
    }
}

/// Checks a body against the digests that came with it, piece by piece. Each algorithm is computed once, however many
/// fields name it.
pub struct Verifier {
    running: SmallVec<[(Context, SmallVec<[Expected; 2]>); 2]>,
}

type Expected = Vec<u8>;

/// Whether a body is what its sender meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every digest agrees.
    Same,
    /// At least one does not.
    Different,
}

impl Verifier {
    /// A check of a whole body against these fields of its response; `None` when none of them has a digest that can be
    /// computed. Only `sha-256` and `sha-512` are looked at. A field that is no dictionary, and a digest that cannot be
    /// one, count as absent.
    ///
    /// Both fields speak of the same bytes when the response is a whole one.
    #[must_use]
    pub fn of(response: &HeaderMap, fields: &[HeaderName]) -> Option<Self> {
        let mut running = SmallVec::new();
        for (name, algorithm) in ALGORITHMS {
            let expected: SmallVec<[Expected; 2]> = fields
                .iter()
                .filter_map(|field| digest_of(response, field, name, algorithm))
                .collect();
            if !expected.is_empty() {
                running.push((Context::new(algorithm), expected));
            }
        }
        (!running.is_empty()).then_some(Self { running })
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        for (context, _) in &mut self.running {
            context.update(piece);
        }
    }

    /// Says whether all that was given is the body that was meant.
    #[must_use]
    pub fn finish(self) -> Verdict {
        let agrees = self.running.into_iter().all(|(context, expected)| {
            let found = context.finish();
            expected.iter().all(|expected| found.as_ref() == expected)
        });
        if agrees {
            Verdict::Same
        } else {
            Verdict::Different
        }
    }
}

fn digest_of(
    response: &HeaderMap,
    field: &HeaderName,
    name: &str,
    algorithm: &'static Algorithm,
) -> Option<Expected> {
    let lines: SmallVec<[&[u8]; 2]> = response
        .get_all(field)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let dictionary: sfv::Dictionary = sfv::Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    let sfv::ListEntry::Item(item) = dictionary.get(name)? else {
        return None;
    };
    let digest = item.bare_item.as_byte_sequence()?;
    (digest.len() == algorithm.output_len()).then(|| digest.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    const FIELDS: [HeaderName; 2] = [CONTENT_DIGEST, REPR_DIGEST];

    // `{"hello": "world"}` and a line feed: the examples of RFC 9530, appendix D.
    const HELLO: &[u8] = b"{\"hello\": \"world\"}\n";
    const SHA_256: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], body: &[u8], expect: Option<Verdict>) {
        let mut response = HeaderMap::new();
        for (name, line) in lines {
            response.append(*name, HeaderValue::from_str(line).unwrap());
        }
        let found = Verifier::of(&response, &FIELDS).map(|mut verifier| {
            for piece in body.chunks(5) {
                verifier.update(piece);
            }
            verifier.finish()
        });
        assert_eq!(found, expect, "{lines:?}");
    }

    fn encoded(name: &str, digest: &[u8]) -> String {
        let item = sfv::Item::new(sfv::BareItem::ByteSequence(digest.to_vec()));
        let text = sfv::ItemSerializer::new()
            .bare_item(&item.bare_item)
            .finish();
        format!("{name}={text}")
    }

    #[test]
    fn a_body_agrees_with_its_digest() {
        check(&[("content-digest", SHA_256)], HELLO, Some(Verdict::Same));
        check(&[("repr-digest", SHA_256)], HELLO, Some(Verdict::Same));
        check(
            &[("repr-digest", SHA_256)],
            b"other",
            Some(Verdict::Different),
        );
        check(&[("repr-digest", SHA_256)], b"", Some(Verdict::Different));
        let both = format!(
            "{SHA_256}, {}",
            encoded("sha-512", &sha2::Sha512::digest(HELLO))
        );
        check(&[("content-digest", &both)], HELLO, Some(Verdict::Same));
    }

    #[test]
    fn every_digest_must_agree() {
        let wrong = encoded("sha-512", &[7; 64]);
        check(
            &[("content-digest", &format!("{SHA_256}, {wrong}"))],
            HELLO,
            Some(Verdict::Different),
        );
        check(
            &[("content-digest", SHA_256), ("content-digest", &wrong)],
            HELLO,
            Some(Verdict::Different),
        );
        let other = encoded("sha-256", &[7; 32]);
        check(
            &[("content-digest", SHA_256), ("repr-digest", &other)],
            HELLO,
            Some(Verdict::Different),
        );
    }

    #[test]
    fn unknown_and_malformed_digests_are_as_if_absent() {
        for field in [
            "",
            "md5=:AAAA:",
            "sha-256",
            "sha-256=abc",
            "sha-256=(:AAAA:)",
            "sha-256=:AAAA:",
            "SHA-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
            "sha-256=RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=",
        ] {
            check(&[("content-digest", field)], HELLO, None);
        }
        check(
            &[("content-digest", &format!("{SHA_256}, md5=:AAAA:;x=1"))],
            HELLO,
            Some(Verdict::Same),
        );
        check(&[("unencoded-digest", SHA_256)], HELLO, None);
    }

    #[test]
    fn what_is_computed_agrees_with_the_standards_example() {
        let mut digester = Digester::default();
        HELLO.chunks(5).for_each(|piece| digester.update(piece));
        let field = digester.finish().unwrap();
        assert_eq!(field, SHA_256);
        let mut response = HeaderMap::new();
        assert!(!is_digested(&response, &REPR_DIGEST));
        response.insert(REPR_DIGEST, HeaderValue::from_static("md5=:AAAA:"));
        assert!(!is_digested(&response, &REPR_DIGEST));
        response.insert(REPR_DIGEST, field);
        assert!(is_digested(&response, &REPR_DIGEST));
        assert!(!is_digested(&response, &CONTENT_DIGEST));
    }

    proptest! {
        #[test]
        fn only_the_body_itself_agrees(body: Vec<u8>, other: Vec<u8>) {
            let mut response = HeaderMap::new();
            let field = encoded("sha-256", &sha2::Sha256::digest(&body));
            response.insert(REPR_DIGEST, field.parse().unwrap());
            let mut verifier = Verifier::of(&response, &FIELDS).unwrap();
            verifier.update(&other);
            prop_assert_eq!(verifier.finish() == Verdict::Same, body == other);
        }

        #[test]
        fn any_value_is_survived(value in "(sha-256=:)?[ -~]{0,60}") {
            let mut response = HeaderMap::new();
            response.insert(REPR_DIGEST, value.parse().unwrap());
            if let Some(mut verifier) = Verifier::of(&response, &FIELDS) {
                verifier.update(b"");
            }
        }
    }
}
