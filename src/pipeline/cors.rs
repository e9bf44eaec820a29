use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::site::{Cors, Site};

use super::Body;
use super::refuse::allow;

/// The answer to OPTIONS: a preflight's if the site has cross-origin rules, else what may be asked.
pub(super) fn options(site: &Site, request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, allow(&site.methods));
    let Some(cors) = &site.cors else {
        return response;
    };
    add_vary(headers, "Origin");
    if !request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return response;
    }
    let Some(origin) = allowed_origin(cors, request) else {
        return response;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow(&cors.methods));
    if let Some(list) = names(&cors.headers) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, list);
    }
    headers.insert(
        ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from(cors.max_age.as_secs()),
    );
    response
}

/// The cross-origin fields of an ordinary answer. The answer says `Vary: Origin` also when the request had
/// no `Origin`, so that caches further on keep the two apart (Fetch standard, "CORS protocol and HTTP caches").
pub(super) fn decorate(cors: &Cors, request: &HeaderMap, headers: &mut HeaderMap) {
    let open = cors.origins.iter().any(|origin| origin == "*");
    if !open {
        add_vary(headers, "Origin");
    }
    let allowed = if open {
        Some(HeaderValue::from_static("*"))
    } else {
        allowed_origin(cors, request)
    };
    let Some(origin) = allowed else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if let Some(list) = names(&cors.expose) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, list);
    }
}

fn allowed_origin(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let origin = request.get(ORIGIN)?;
    if cors.origins.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let text = origin.to_str().ok()?;
    cors.origins
        .iter()
        .any(|allowed| allowed == text)
        .then(|| origin.clone())
}

fn names(list: &[HeaderName]) -> Option<HeaderValue> {
    let names: Vec<&str> = list.iter().map(HeaderName::as_str).collect();
    let joined = (!names.is_empty()).then(|| names.join(", "))?;
    HeaderValue::try_from(joined).ok()
}

/// Adds a field's name to `Vary` unless it, or `*`, is there.
pub(super) fn add_vary(headers: &mut HeaderMap, member: &str) {
    let present = headers.get_all(VARY).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|name| {
            name.trim_ascii().eq_ignore_ascii_case(member.as_bytes()) || name.trim_ascii() == b"*"
        })
    });
    if present {
        return;
    }
    let joined = match headers.get(VARY) {
        Some(value) => [value.as_bytes(), b", ", member.as_bytes()].concat(),
        None => member.as_bytes().to_vec(),
    };
    // Two field values joined are one, and so is a field's name.
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(VARY, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, member: &'static str, after: &str) {
        let mut headers = HeaderMap::new();
        if !before.is_empty() {
            headers.insert(VARY, HeaderValue::from_str(before).unwrap());
        }
        add_vary(&mut headers, member);
        assert_eq!(headers.get(VARY).unwrap(), after, "{before} + {member}");
    }

    #[test]
    fn vary_gets_each_member_once() {
        check("", "Accept", "Accept");
        check("Origin", "Accept", "Origin, Accept");
        check("accept", "Accept", "accept");
        check(
            "Accept-Encoding,  ACCEPT",
            "Accept",
            "Accept-Encoding,  ACCEPT",
        );
        check("*", "Accept", "*");
    }
}
