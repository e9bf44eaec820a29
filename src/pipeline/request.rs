use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};

use super::RequestLimits;
use crate::semantics::host::Host;

/// The methods of the IANA registry, and PURGE, which has its own way through.
/// What is not here gets 501 instead of 405.
const KNOWN_METHODS: [&str; 41] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// `" HTTP/1.1"` and the space after the method.
const LINE_OVERHEAD_BYTES: usize = 10;
/// Colon, space and line end of a field.
const FIELD_OVERHEAD_BYTES: usize = 4;
/// 10^18 - 1 bytes fit every integer that meets the number later.
const CONTENT_LENGTH_DIGITS_MAX: usize = 18;

/// A request head in which nothing is malformed, oversized or ambiguous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<'a> {
    /// The authority that the request is for; `None` only on HTTP/1.0.
    pub host: Option<Host>,
    /// The path as it came: not decoded, not normalised. `*` only with OPTIONS.
    pub path: &'a str,
    /// The query as it came, without its `?`.
    pub query: Option<&'a str>,
}

/// Why a request head is refused. Its text is fit for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not HTTP/1.0, 1.1, 2 or 3.
    #[error("The HTTP version is not supported.")]
    Version,
    /// A method that no register knows.
    #[error("The method is not known.")]
    UnknownMethod,
    /// A method that this server never answers.
    #[error("The method is not allowed.")]
    Method,
    /// Neither a path nor an http(s) URI.
    #[error("The request target must be a path or an http or https URI.")]
    TargetForm,
    /// Bytes that RFC 3986 does not have.
    #[error("The request target holds characters that must be percent-encoded.")]
    TargetBytes,
    /// The scheme is not the connection's.
    #[error("The request's scheme is not that of the connection.")]
    Scheme,
    /// The request line is over the limit.
    #[error("The request target is too long.")]
    LineTooLong,
    /// More fields than the limit.
    #[error("The request has too many header fields.")]
    TooManyFields,
    /// One field is over the limit.
    #[error("A request header field is too large.")]
    FieldTooLarge,
    /// All fields together are over the limit.
    #[error("The request header fields are too large.")]
    FieldsTooLarge,
    /// Space around a field value.
    #[error("A request header field begins or ends with a space.")]
    FieldBytes,
    /// HTTP/1.1 and later name a host.
    #[error("The request names no host.")]
    HostAbsent,
    /// More than one Host field.
    #[error("The request names its host more than once.")]
    HostRepeated,
    /// Not `host [ ":" port ]`.
    #[error("The request's host is malformed.")]
    HostMalformed,
    /// `:authority` and Host are of two minds.
    #[error("The request names two different hosts.")]
    HostMismatch,
    /// Content-Length repeated or not a number, or Transfer-Encoding other than `chunked`.
    #[error("The request's body length is ambiguous.")]
    Framing,
    /// An expectation other than `100-continue`.
    #[error("The expectation cannot be met.")]
    Expectation,
}

impl RequestError {
    /// The status code of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownMethod => StatusCode::NOT_IMPLEMENTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Scheme => StatusCode::MISDIRECTED_REQUEST,
            Self::LineTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyFields | Self::FieldTooLarge | Self::FieldsTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TargetForm
            | Self::TargetBytes
            | Self::FieldBytes
            | Self::HostAbsent
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::HostMismatch
            | Self::Framing => StatusCode::BAD_REQUEST,
        }
    }

    /// A short name out of a closed set, for logs and labels.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::UnknownMethod => "unknown-method",
            Self::Method => "method",
            Self::TargetForm => "target-form",
            Self::TargetBytes => "target-bytes",
            Self::Scheme => "scheme",
            Self::LineTooLong => "line-too-long",
            Self::TooManyFields => "too-many-fields",
            Self::FieldTooLarge => "field-too-large",
            Self::FieldsTooLarge => "fields-too-large",
            Self::FieldBytes => "field-bytes",
            Self::HostAbsent => "host-absent",
            Self::HostRepeated => "host-repeated",
            Self::HostMalformed => "host-malformed",
            Self::HostMismatch => "host-mismatch",
            Self::Framing => "framing",
            Self::Expectation => "expectation",
        }
    }
}

/// Checks everything about a request head that the protocol layer hands over unchecked. `secure`
/// says whether it came over TLS. Which methods are answered is the site's affair, but for those that
/// never are.
///
/// Not visible here, because the protocol layer has dropped it by now: a fragment in an HTTP/1
/// target, equal repeats of Content-Length and a Content-Length beside Transfer-Encoding on
/// HTTP/1, and bare LF line ends.
///
/// # Errors
///
/// The first thing that is wrong, limits and method before the fields' content.
pub fn check<'a>(
    limits: &RequestLimits,
    parts: &'a Parts,
    secure: bool,
) -> Result<Checked<'a>, RequestError> {
    known_version(parts.version)?;
    passable_method(&parts.method)?;
    within_line_limit(limits, parts)?;
    within_field_limits(limits, &parts.headers)?;
    let path = target(parts, secure)?;
    framing(parts.version, &parts.headers)?;
    expectation(&parts.headers)?;
    Ok(Checked {
        host: host(parts)?,
        path,
        query: parts.uri.query(),
    })
}

fn known_version(version: Version) -> Result<(), RequestError> {
    match version {
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 | Version::HTTP_3 => Ok(()),
        _ => Err(RequestError::Version),
    }
}

/// Never tunnel, never echo: whatever a site lists.
fn passable_method(method: &Method) -> Result<(), RequestError> {
    match method.as_str() {
        "CONNECT" | "TRACE" | "PRI" => Err(RequestError::Method),
        _ => Ok(()),
    }
}

/// Tells a method that is not answered here (405) from one that nobody knows (501). A site may list either kind, so
/// this is asked only about a method that is not listed.
///
/// # Errors
///
/// [`RequestError::UnknownMethod`].
pub fn known_method(method: &Method) -> Result<(), RequestError> {
    match KNOWN_METHODS.binary_search(&method.as_str()) {
        Ok(_) => Ok(()),
        Err(_) => Err(RequestError::UnknownMethod),
    }
}

fn within_line_limit(limits: &RequestLimits, parts: &Parts) -> Result<(), RequestError> {
    let line = parts.method.as_str().len() + target_bytes(&parts.uri) + LINE_OVERHEAD_BYTES;
    if line > limits.request_line_bytes {
        return Err(RequestError::LineTooLong);
    }
    Ok(())
}

fn target_bytes(uri: &Uri) -> usize {
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    scheme + authority + path
}

fn within_field_limits(limits: &RequestLimits, fields: &HeaderMap) -> Result<(), RequestError> {
    if fields.len() > limits.header_count {
        return Err(RequestError::TooManyFields);
    }
    let mut all = 0_usize;
    for (name, value) in fields {
        let field = name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES;
        if field > limits.request_field_bytes {
            return Err(RequestError::FieldTooLarge);
        }
        all = all.saturating_add(field);
        // RFC 9113 section 8.2.1; HTTP/1 values arrive trimmed.
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if blank(value.as_bytes().first()) || blank(value.as_bytes().last()) {
            return Err(RequestError::FieldBytes);
        }
    }
    if all > limits.request_headers_bytes {
        return Err(RequestError::FieldsTooLarge);
    }
    Ok(())
}

/// The path, if the target is in origin-form or in absolute-form for http(s) (RFC 9112 section 3.2).
fn target(parts: &Parts, secure: bool) -> Result<&str, RequestError> {
    let path = parts.uri.path();
    match (parts.uri.scheme_str(), parts.uri.authority()) {
        (Some(scheme), Some(_)) => {
            let of_tls = match scheme {
                "http" => false,
                "https" => true,
                _ => return Err(RequestError::TargetForm),
            };
            // RFC 9110 section 7.4: https content must not go out over a plain connection, and a
            // request for http is none for this authority's https.
            if of_tls != secure {
                return Err(RequestError::Scheme);
            }
        }
        (None, None) => {}
        (None, Some(_)) | (Some(_), None) => return Err(RequestError::TargetForm),
    }
    if path == "*" && parts.method == Method::OPTIONS {
        return Ok(path);
    }
    if !path.starts_with('/') {
        return Err(RequestError::TargetForm);
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let query = parts.uri.query().unwrap_or_default();
    if !path.bytes().all(plain) || !query.bytes().all(plain) {
        return Err(RequestError::TargetBytes);
    }
    Ok(path)
}

/// What is left of RFC 9112 section 6.3 after the protocol layer has framed the body.
fn framing(version: Version, fields: &HeaderMap) -> Result<(), RequestError> {
    let length = single(fields, &CONTENT_LENGTH)?;
    let coding = single(fields, &TRANSFER_ENCODING)?;
    let is_number = |text: &[u8]| {
        (1..=CONTENT_LENGTH_DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
    };
    match (length, coding) {
        (None, None) => Ok(()),
        (Some(length), None) if is_number(length) => Ok(()),
        (None, Some(coding))
            if version == Version::HTTP_11 && coding.eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        (Some(_), _) | (None, Some(_)) => Err(RequestError::Framing),
    }
}

/// The value of a field that must not repeat.
fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, RequestError> {
    let mut values = fields.get_all(name).iter();
    let first = values.next().map(http::HeaderValue::as_bytes);
    match values.next() {
        Some(_) => Err(RequestError::Framing),
        None => Ok(first),
    }
}

fn expectation(fields: &HeaderMap) -> Result<(), RequestError> {
    let known = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if fields.get_all(EXPECT).iter().all(known) {
        Ok(())
    } else {
        Err(RequestError::Expectation)
    }
}

fn host(parts: &Parts) -> Result<Option<Host>, RequestError> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(_), Some(_)) => return Err(RequestError::HostRepeated),
        (Some(field), None) => {
            let text = field.to_str().map_err(|_| RequestError::HostMalformed)?;
            Some(Host::parse(text).map_err(|_| RequestError::HostMalformed)?)
        }
        (None, _) => None,
    };
    let authority = match parts.uri.authority() {
        Some(authority) => {
            Some(Host::parse(authority.as_str()).map_err(|_| RequestError::HostMalformed)?)
        }
        None => None,
    };
    match (parts.version, authority, field) {
        // RFC 9113 section 8.3.1: the two must not differ.
        (Version::HTTP_2 | Version::HTTP_3, Some(authority), Some(field)) if authority != field => {
            Err(RequestError::HostMismatch)
        }
        (Version::HTTP_2 | Version::HTTP_3, Some(authority), _) => Ok(Some(authority)),
        // RFC 9112 section 3.2: HTTP/1.1 needs the field even beside an absolute target, and
        // section 3.2.2: the target's authority then takes its place.
        (Version::HTTP_11, _, None) => Err(RequestError::HostAbsent),
        (_, Some(authority), _) => Ok(Some(authority)),
        (_, None, Some(field)) => Ok(Some(field)),
        (Version::HTTP_10, None, None) => Ok(None),
        (_, None, None) => Err(RequestError::HostAbsent),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;

    struct Head {
        version: Version,
        method: &'static str,
        target: String,
        fields: Vec<(&'static str, String)>,
        secure: bool,
    }

    fn h1(target: &str, fields: &[(&'static str, &str)]) -> Head {
        Head {
            version: Version::HTTP_11,
            method: "GET",
            target: target.to_owned(),
            fields: fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            secure: false,
        }
    }

    fn with_host(fields: &[(&'static str, &str)]) -> Head {
        let mut head = h1("/", fields);
        head.fields.push(("host", "a.example".to_owned()));
        head
    }

    fn method(method: &'static str) -> Head {
        Head {
            method,
            ..with_host(&[])
        }
    }

    fn version(version: Version, head: Head) -> Head {
        Head { version, ..head }
    }

    fn parts(head: &Head) -> Parts {
        let mut request = Request::builder()
            .version(head.version)
            .method(head.method)
            .uri(&head.target);
        for (name, value) in &head.fields {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check_with(limits: &RequestLimits, head: &Head, expect: Result<&str, RequestError>) {
        let parts = parts(head);
        let found = check(limits, &parts, head.secure).map(|checked| {
            let host = checked.host.map_or_else(
                || "-".to_owned(),
                |host| match host.port {
                    Some(port) => format!("{}:{port}", host.name),
                    None => host.name,
                },
            );
            let query = checked.query.map_or_else(String::new, |q| format!("?{q}"));
            format!("{host} {}{query}", checked.path)
        });
        assert_eq!(found.as_deref().map_err(|error| *error), expect);
    }

    #[track_caller]
    fn accepts(head: &Head, expect: &str) {
        check_with(&RequestLimits::default(), head, Ok(expect));
    }

    #[track_caller]
    fn refuses(head: &Head, expect: RequestError) {
        check_with(&RequestLimits::default(), head, Err(expect));
    }

    #[test]
    fn the_known_methods_are_sorted() {
        assert!(KNOWN_METHODS.is_sorted());
    }

    #[test]
    fn versions() {
        accepts(&with_host(&[]), "a.example /");
        accepts(&version(Version::HTTP_10, h1("/", &[])), "- /");
        accepts(&version(Version::HTTP_2, with_host(&[])), "a.example /");
        refuses(
            &version(Version::HTTP_09, with_host(&[])),
            RequestError::Version,
        );
    }

    #[test]
    fn methods() {
        for known in ["HEAD", "OPTIONS", "POST", "PROPFIND", "PURGE", "QUERY"] {
            accepts(&method(known), "a.example /");
        }
        refuses(&method("TRACE"), RequestError::Method);
        for unknown in ["get", "BREW"] {
            accepts(&method(unknown), "a.example /");
            let unknown = Method::from_bytes(unknown.as_bytes()).unwrap();
            assert_eq!(known_method(&unknown), Err(RequestError::UnknownMethod));
        }
        assert_eq!(known_method(&Method::POST), Ok(()));
        refuses(&method("PRI"), RequestError::Method);
        let connect = Head {
            target: "a.example:443".to_owned(),
            ..method("CONNECT")
        };
        refuses(&connect, RequestError::Method);
    }

    #[test]
    fn targets() {
        let host = [("host", "a.example")];
        accepts(&h1("/a%2Fb?c=d&e", &host), "a.example /a%2Fb?c=d&e");
        accepts(&h1("/a?", &host), "a.example /a?");
        accepts(&h1("//evil.example/", &host), "a.example //evil.example/");
        accepts(
            &h1("http://b.example:8080/x?y", &host),
            "b.example:8080 /x?y",
        );
        accepts(&h1("http://b.example", &host), "b.example /");
        refuses(&h1("b.example", &host), RequestError::TargetForm);
        refuses(&h1("*", &host), RequestError::TargetForm);
        refuses(&h1("ftp://b.example/", &host), RequestError::TargetForm);
        refuses(&h1("https://b.example/", &host), RequestError::Scheme);
        refuses(
            &h1("http://u@b.example/", &host),
            RequestError::HostMalformed,
        );
        refuses(&h1("/caf\u{e9}", &host), RequestError::TargetBytes);
        refuses(&h1("/?caf\u{e9}", &host), RequestError::TargetBytes);
        let star = Head {
            target: "*".to_owned(),
            ..method("OPTIONS")
        };
        accepts(&star, "a.example *");
    }

    #[test]
    fn the_scheme_is_the_connections() {
        let over_tls = |target: &str| Head {
            secure: true,
            ..version(Version::HTTP_2, h1(target, &[]))
        };
        accepts(&over_tls("https://a.example/"), "a.example /");
        refuses(&over_tls("http://a.example/"), RequestError::Scheme);
    }

    #[test]
    fn hosts() {
        let named = |value: &str| h1("/", &[("host", value)]);
        accepts(&named("A.Example:8443"), "a.example:8443 /");
        accepts(&named("a.example."), "a.example /");
        accepts(&named("[::1]:80"), "[::1]:80 /");
        refuses(&h1("/", &[]), RequestError::HostAbsent);
        refuses(&h1("http://a.example/", &[]), RequestError::HostAbsent);
        refuses(
            &h1("/", &[("host", "a.example"), ("host", "a.example")]),
            RequestError::HostRepeated,
        );
        for bad in [
            "",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:99999",
            "[::1",
            "\u{e9}.example",
            &"a".repeat(70_000),
        ] {
            let head = named(bad);
            let error = if bad.len() > 60_000 {
                RequestError::FieldTooLarge
            } else {
                RequestError::HostMalformed
            };
            refuses(&head, error);
        }
    }

    #[test]
    fn the_authority_of_http_2_and_host_agree() {
        let h2 = |target: &str, fields: &[(&'static str, &str)]| {
            version(Version::HTTP_2, h1(target, fields))
        };
        accepts(
            &h2("http://a.example/", &[("host", "A.example")]),
            "a.example /",
        );
        refuses(
            &h2("http://a.example/", &[("host", "b.example")]),
            RequestError::HostMismatch,
        );
        refuses(
            &h2("http://a.example/", &[("host", "a.example:81")]),
            RequestError::HostMismatch,
        );
        refuses(&h2("/", &[]), RequestError::HostAbsent);
    }

    #[test]
    fn framing_and_expectations() {
        accepts(&with_host(&[("content-length", "12")]), "a.example /");
        accepts(
            &with_host(&[("transfer-encoding", "Chunked")]),
            "a.example /",
        );
        accepts(&with_host(&[("expect", "100-Continue")]), "a.example /");
        let bad: [&[(&'static str, &str)]; 9] = [
            &[("content-length", "12"), ("content-length", "12")],
            &[("content-length", "+12")],
            &[("content-length", "")],
            &[("content-length", "1234567890123456789")],
            &[("content-length", "12, 12")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            &[("transfer-encoding", "chunked"), ("content-length", "12")],
        ];
        for fields in bad {
            refuses(&with_host(fields), RequestError::Framing);
        }
        refuses(
            &version(
                Version::HTTP_2,
                with_host(&[("transfer-encoding", "chunked")]),
            ),
            RequestError::Framing,
        );
        refuses(
            &with_host(&[("expect", "200-ok")]),
            RequestError::Expectation,
        );
    }

    #[test]
    fn limits_hold_exactly() {
        let limits = RequestLimits {
            request_line_bytes: 30,
            request_field_bytes: 40,
            request_headers_bytes: 60,
            header_count: 3,
            in_flight: 1,
        };
        let host = [("host", "a.example")];
        // GET, two spaces, HTTP/1.1 and the target: 13 bytes beside the target.
        let fits = format!("/{}", "a".repeat(16));
        check_with(&limits, &h1(&fits, &host), Ok(&format!("a.example {fits}")));
        check_with(
            &limits,
            &h1(&format!("{fits}a"), &host),
            Err(RequestError::LineTooLong),
        );
        let field = |bytes: usize| "v".repeat(bytes - 5);
        let one = |value: &str| h1("/", &[("host", "a.example"), ("x", value)]);
        check_with(&limits, &one(&field(40)), Ok("a.example /"));
        check_with(&limits, &one(&field(41)), Err(RequestError::FieldTooLarge));
        let two = |value: &str| h1("/", &[("host", "a.example"), ("x", "1"), ("y", value)]);
        check_with(&limits, &two(&field(37)), Ok("a.example /"));
        check_with(&limits, &two(&field(38)), Err(RequestError::FieldsTooLarge));
        let many = h1(
            "/",
            &[("host", "a.example"), ("x", ""), ("y", ""), ("z", "")],
        );
        check_with(&limits, &many, Err(RequestError::TooManyFields));
    }

    #[test]
    fn values_with_space_around_are_refused() {
        refuses(&with_host(&[("x", " v")]), RequestError::FieldBytes);
        refuses(&with_host(&[("x", "v\t")]), RequestError::FieldBytes);
    }

    #[test]
    fn each_error_has_a_status_and_a_sentence() {
        for (error, status) in [
            (RequestError::Version, 505),
            (RequestError::UnknownMethod, 501),
            (RequestError::Method, 405),
            (RequestError::Scheme, 421),
            (RequestError::LineTooLong, 414),
            (RequestError::TooManyFields, 431),
            (RequestError::Expectation, 417),
            (RequestError::HostAbsent, 400),
        ] {
            assert_eq!(error.status().as_u16(), status);
            assert!(error.to_string().ends_with('.'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_head_makes_it_panic(
            target in "(/|\\*|http://)?[ -~]{0,40}",
            host in proptest::option::of("\\PC{0,20}"),
            length in proptest::option::of("[0-9 ,]{0,20}"),
            h2 in any::<bool>(),
        ) {
            let mut request = Request::builder();
            if h2 {
                request = request.version(Version::HTTP_2);
            }
            if let Ok(uri) = target.parse::<Uri>() {
                request = request.uri(uri);
            }
            for (name, value) in [("host", host), ("content-length", length)] {
                if let Some(value) = value
                    && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
                {
                    request = request.header(name, value);
                }
            }
            if let Ok(request) = request.body(()) {
                let parts = request.into_parts().0;
                if let Ok(checked) = check(&RequestLimits::default(), &parts, false) {
                    prop_assert!(checked.path.starts_with('/'));
                    prop_assert!(checked.host.is_some());
                }
            }
        }
    }
}
