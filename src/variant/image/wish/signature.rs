//! Signed URLs: HMAC-SHA-256 (RFC 2104) over the path and the sorted parameters.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;

use super::super::super::config::ImageSigning;
use super::base64;
use super::values::whole_number;

const SIGNATURE: &str = "sig";
const EXPIRY: &str = "expires";

/// Of 32 bytes, without padding.
const SIGNATURE_LENGTH: usize = 43;

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The site wants one.
    #[error("this site takes picture parameters only in signed URLs, and the URL has no sig")]
    Missing,
    /// It is of another URL, or of another key.
    #[error("the URL's signature does not fit the URL")]
    Wrong,
    /// `expires` is over.
    #[error("the signed URL has expired")]
    Expired,
}

/// Whether a parameter of this name belongs to the signature, and so to no key and no origin.
pub(super) fn is_part(name: &str) -> bool {
    name == SIGNATURE || name == EXPIRY
}

/// Whether a query has a signature.
pub(super) fn is_in(query: Option<&str>) -> bool {
    values(query, SIGNATURE).next().is_some()
}

/// The signature of a URL, by the first key of the site; `None` where the site has none. The path is the canonical
/// one, the query as it stands in the URL.
#[must_use]
pub fn signature_of(signing: &ImageSigning, path: &str, query: Option<&str>) -> Option<String> {
    let secret = signing.keys.first()?;
    let tag = hmac::sign(&key(secret.reveal()), message(path, query).as_bytes());
    Some(base64::encoded(tag.as_ref()))
}

/// Checks the signature of a URL; one without is fine unless the site requires one.
///
/// # Errors
/// See [`SignatureError`].
pub fn check_signature(
    signing: &ImageSigning,
    path: &str,
    query: Option<&str>,
    now: SystemTime,
) -> Result<(), SignatureError> {
    let mut given = values(query, SIGNATURE);
    let signature = match (given.next(), given.next()) {
        (None, _) if signing.required => return Err(SignatureError::Missing),
        (None, _) => return Ok(()),
        (Some(signature), None) => tag_of(signature).ok_or(SignatureError::Wrong)?,
        (Some(_), Some(_)) => return Err(SignatureError::Wrong),
    };
    let message = message(path, query);
    let fits = |secret: &str| hmac::verify(&key(secret), message.as_bytes(), &signature).is_ok();
    if !signing.keys.iter().any(|secret| fits(secret.reveal())) {
        return Err(SignatureError::Wrong);
    }
    let mut ends = values(query, EXPIRY);
    match (ends.next(), ends.next()) {
        (None, _) => Ok(()),
        (Some(seconds), None) => {
            let seconds = seconds_of(seconds).ok_or(SignatureError::Wrong)?;
            let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            match end {
                Some(end) if now > end => Err(SignatureError::Expired),
                _ => Ok(()),
            }
        }
        (Some(_), Some(_)) => Err(SignatureError::Wrong),
    }
}

fn seconds_of(text: &str) -> Option<u64> {
    // Ten digits reach the year 2286; `whole_number` keeps signs and spaces out.
    let is_number = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    match whole_number(text) {
        Some(seconds) => Some(seconds.into()),
        None if is_number => text.parse().ok(),
        None => None,
    }
}

fn values<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(move |pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then_some(value)
    })
}

/// The path, a question mark, and all pairs of the query but the signature, as they stand there, in the order of
/// their bytes.
fn message(path: &str, query: Option<&str>) -> String {
    let is_signature = |pair: &&str| pair.split('=').next() == Some(SIGNATURE);
    let mut pairs: Vec<&str> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_signature(pair))
        .collect();
    pairs.sort_unstable();
    format!("{path}?{}", pairs.join("&"))
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// The bytes of a signature: exactly as many letters as it has.
fn tag_of(text: &str) -> Option<Vec<u8>> {
    (text.len() == SIGNATURE_LENGTH)
        .then(|| base64::decoded(text))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::super::super::super::config::SigningKey;
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn signing(required: bool, keys: &[&str]) -> ImageSigning {
        ImageSigning {
            required,
            keys: keys.iter().map(|key| SigningKey::new(*key)).collect(),
        }
    }

    fn check(signing: &ImageSigning, path: &str, query: &str, expect: Result<(), SignatureError>) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        assert_eq!(
            check_signature(signing, path, Some(query), now),
            expect,
            "{path}?{query}"
        );
    }

    fn signed(signing: &ImageSigning, path: &str, query: &str) -> String {
        let signature = signature_of(signing, path, Some(query)).unwrap();
        format!("{query}&sig={signature}")
    }

    #[test]
    fn the_message_is_what_the_readme_says() {
        assert_eq!(message("/a.jpg", None), "/a.jpg?");
        assert_eq!(
            message("/a.jpg", Some("width=80&sig=x&&dpr=2&a=%20")),
            "/a.jpg?a=%20&dpr=2&width=80"
        );
        // openssl dgst -sha256 -hmac 0123456789abcdef -binary | basenc --base64url
        let known = signing(false, &["0123456789abcdef"]);
        assert_eq!(
            signature_of(&known, "/a.jpg", Some("width=80&dpr=2")).unwrap(),
            "rW84ir-xlF_7jccXy1OpA_8CJGCzQ7zz_YtHgAbqyYU"
        );
    }

    #[test]
    fn a_signature_is_of_one_url_and_one_key() {
        let site = signing(true, &["the first of the keys", "an older one of them"]);
        let good = signed(&site, "/a.jpg", "width=80&v=1");
        check(&site, "/a.jpg", &good, Ok(()));
        let turned = good.split('&').rev().collect::<Vec<_>>().join("&");
        check(&site, "/a.jpg", &turned, Ok(()));
        let older = signing(false, &["an older one of them"]);
        check(
            &site,
            "/a.jpg",
            &signed(&older, "/a.jpg", "width=80"),
            Ok(()),
        );
        let foreign = signing(false, &["a key of another site"]);
        let wrong = Err(SignatureError::Wrong);
        check(
            &site,
            "/a.jpg",
            &signed(&foreign, "/a.jpg", "width=80"),
            wrong,
        );
        check(&site, "/b.jpg", &good, wrong);
        check(&site, "/a.jpg", &good.replace("80", "81"), wrong);
        check(&site, "/a.jpg", &format!("{good}&x=1"), wrong);
        check(&site, "/a.jpg", good.strip_suffix(|_| true).unwrap(), wrong);
        check(&site, "/a.jpg", &format!("{good}="), wrong);
        check(&site, "/a.jpg", &format!("{good}&{good}"), wrong);
        check(&site, "/a.jpg", "width=80&sig=", wrong);
        check(&site, "/a.jpg", "width=80", Err(SignatureError::Missing));
        check(&older, "/a.jpg", "width=80", Ok(()));
        check(&older, "/a.jpg", "width=80&sig=AAAA", wrong);
    }

    #[test]
    fn a_signed_url_may_end() {
        let site = signing(true, &["the first of the keys"]);
        let until = |text: &str| signed(&site, "/a.jpg", &format!("width=8&expires={text}"));
        check(&site, "/a.jpg", &until(&NOW.to_string()), Ok(()));
        check(&site, "/a.jpg", &until("9999999999"), Ok(()));
        let past = (NOW - 1).to_string();
        check(&site, "/a.jpg", &until(&past), Err(SignatureError::Expired));
        check(&site, "/a.jpg", &until("soon"), Err(SignatureError::Wrong));
        check(&site, "/a.jpg", &until("+99"), Err(SignatureError::Wrong));
        let later = until(&past).replace(&past, "9999999999");
        check(&site, "/a.jpg", &later, Err(SignatureError::Wrong));
    }
}
