//! What the node says about its own part in a response: `Cache-Status` (RFC 9211) and `Proxy-Status`
//! (RFC 9209).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The field of [`CacheStatus`].
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The field of [`ProxyStatus`].
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The node was told not to handle this request from its store.
    Bypass,
    /// The method is one that goes to the origin.
    Method,
    /// Nothing is stored for the key.
    UriMiss,
    /// Something is stored for the key, but not for these request fields.
    VaryMiss,
    /// Nothing usable is stored, for no more specific reason.
    Miss,
    /// A fresh response was stored, and the request's own fields forbade it.
    Request,
    /// What is stored was stale.
    Stale,
    /// Only a part of what was asked for is stored.
    Partial,
}

impl Forward {
    /// The token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// Whether the response came from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Hit,
    /// The request went forward.
    Forward(Forward),
}

/// One member of `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Hit, or why not.
    pub outcome: Outcome,
    /// The status with which the origin answered.
    pub forward_status: Option<StatusCode>,
    /// Whether the response was stored.
    pub stored: bool,
    /// Whether the request was served by another request's fetch; `Some(false)` when waiting for one failed.
    pub collapsed: Option<bool>,
    /// Seconds of freshness that remain; negative when stale.
    pub ttl: Option<i64>,
    /// Tier and reason codes.
    pub detail: Option<&'a str>,
}

impl CacheStatus<'_> {
    /// The member as a field value of its own.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        // 96 bytes hold all parameters with a short name and detail.
        let mut text = String::with_capacity(96);
        self.write(&mut text);
        value_of(text)
    }

    /// Puts the member at the end of what is there (RFC 9211 §2), all in one line.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        append(headers, CACHE_STATUS, |text| self.write(text));
    }

    fn write(&self, text: &mut String) {
        push_token_or_string(text, self.node);
        match self.outcome {
            Outcome::Hit => text.push_str("; hit"),
            Outcome::Forward(why) => {
                text.push_str("; fwd=");
                text.push_str(why.as_str());
            }
        }
        if let Some(status) = self.forward_status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if let Some(ttl) = self.ttl {
            // RFC 9651 §3.3.1: fifteen digits at most.
            let ttl = ttl.clamp(-999_999_999_999_999, 999_999_999_999_999);
            text.push_str("; ttl=");
            text.push_str(&ttl.to_string());
        }
        if self.stored {
            text.push_str("; stored");
        }
        match self.collapsed {
            Some(true) => text.push_str("; collapsed"),
            Some(false) => text.push_str("; collapsed=?0"),
            None => {}
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            push_token_or_string(text, detail);
        }
    }
}

/// One member of `Proxy-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyStatus<'a> {
    /// The node's name.
    pub node: &'a str,
    /// An error type of RFC 9209 §2.3.
    pub error: &'static str,
    /// The status that the next hop gave.
    pub received_status: Option<StatusCode>,
    /// More, for people.
    pub details: Option<&'a str>,
}

impl ProxyStatus<'_> {
    /// The member as a field value of its own.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let mut text = String::with_capacity(64);
        self.write(&mut text);
        value_of(text)
    }

    /// Puts the member at the end of what is there (RFC 9209 §2), all in one line.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        append(headers, PROXY_STATUS, |text| self.write(text));
    }

    fn write(&self, text: &mut String) {
        push_token_or_string(text, self.node);
        text.push_str("; error=");
        push_token_or_string(text, self.error);
        if let Some(status) = self.received_status {
            text.push_str("; received-status=");
            text.push_str(status.as_str());
        }
        if let Some(details) = self.details {
            text.push_str("; details=");
            push_string(text, details);
        }
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, write: impl Fn(&mut String)) {
    let mut own = String::with_capacity(96);
    write(&mut own);
    if !headers.contains_key(&name) {
        headers.insert(name, value_of(own));
        return;
    }
    let mut joined = Vec::with_capacity(own.len());
    for line in headers.get_all(&name) {
        let line = line.as_bytes().trim_ascii();
        if !line.is_empty() {
            joined.extend_from_slice(line);
            joined.extend_from_slice(b", ");
        }
    }
    joined.extend_from_slice(own.as_bytes());
    let value = HeaderValue::try_from(joined).unwrap_or_else(|_| value_of(own));
    headers.insert(name, value);
}

/// All that is written here is visible ASCII and spaces; the fallback is never met.
fn value_of(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn push_token_or_string(text: &mut String, value: &str) {
    if is_token(value) {
        text.push_str(value);
    } else {
        push_string(text, value);
    }
}

/// RFC 9651 §3.3.4.
fn is_token(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*')
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte))
}

/// RFC 9651 §3.3.3; what a string cannot hold becomes a question mark.
fn push_string(text: &mut String, value: &str) {
    text.push('"');
    // Nearly all: what the node says itself.
    if value
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
    {
        text.push_str(value);
        text.push('"');
        return;
    }
    for character in value.chars() {
        match character {
            '"' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            ' '..='~' => text.push(character),
            _ => text.push('?'),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HIT: CacheStatus<'static> = CacheStatus {
        node: "brim",
        outcome: Outcome::Hit,
        forward_status: None,
        stored: false,
        collapsed: None,
        ttl: None,
        detail: None,
    };

    #[track_caller]
    fn check(status: CacheStatus<'_>, expect: &str) {
        assert_eq!(status.header_value(), expect);
        let list: sfv::List = sfv::Parser::new(expect).parse().unwrap();
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn members_are_structured_fields() {
        check(HIT, "brim; hit");
        check(
            CacheStatus {
                ttl: Some(-5),
                detail: Some("mem"),
                ..HIT
            },
            "brim; hit; ttl=-5; detail=mem",
        );
        check(
            CacheStatus {
                outcome: Outcome::Forward(Forward::UriMiss),
                forward_status: Some(StatusCode::OK),
                stored: true,
                collapsed: Some(true),
                ..HIT
            },
            "brim; fwd=uri-miss; fwd-status=200; stored; collapsed",
        );
        check(
            CacheStatus {
                node: "edge 1",
                outcome: Outcome::Forward(Forward::Stale),
                collapsed: Some(false),
                detail: Some("a \"b\" ä;w=8"),
                ttl: Some(i64::MIN),
                ..HIT
            },
            r#""edge 1"; fwd=stale; ttl=-999999999999999; collapsed=?0; detail="a \"b\" ?;w=8""#,
        );
    }

    #[test]
    fn what_is_there_stays_in_front() {
        let mut headers = HeaderMap::new();
        HIT.append_to(&mut headers);
        assert_eq!(headers[CACHE_STATUS], "brim; hit");
        headers.insert(CACHE_STATUS, HeaderValue::from_static("shield; hit"));
        headers.append(CACHE_STATUS, HeaderValue::from_static("other; fwd=miss"));
        HIT.append_to(&mut headers);
        assert_eq!(
            headers[CACHE_STATUS],
            "shield; hit, other; fwd=miss, brim; hit"
        );
        assert_eq!(headers.get_all(CACHE_STATUS).iter().count(), 1);
    }

    #[test]
    fn errors_name_the_node_and_a_token() {
        let status = ProxyStatus {
            node: "brim",
            error: "connection_timeout",
            received_status: None,
            details: None,
        };
        assert_eq!(status.header_value(), "brim; error=connection_timeout");
        let status = ProxyStatus {
            details: Some("no answer"),
            ..status
        };
        assert_eq!(
            status.header_value(),
            r#"brim; error=connection_timeout; details="no answer""#
        );
        let told = ProxyStatus {
            error: "destination_unavailable",
            received_status: Some(StatusCode::SERVICE_UNAVAILABLE),
            details: None,
            ..status
        };
        assert_eq!(
            told.header_value(),
            "brim; error=destination_unavailable; received-status=503"
        );
        let mut headers = HeaderMap::new();
        headers.insert(PROXY_STATUS, HeaderValue::from_static("next"));
        status.append_to(&mut headers);
        assert_eq!(
            headers[PROXY_STATUS],
            r#"next, brim; error=connection_timeout; details="no answer""#
        );
    }

    proptest! {
        #[test]
        fn any_text_makes_a_valid_member(node: String, detail: String, ttl: Option<i64>) {
            let status = CacheStatus { node: &node, detail: Some(&detail), ttl, ..HIT };
            let value = status.header_value();
            let list: sfv::List = sfv::Parser::new(value.as_bytes()).parse().unwrap();
            prop_assert_eq!(list.len(), 1);
        }
    }
}
