use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::site::Site;

use super::Body;
use super::cors::{add_vary, decorate};
use super::ruling::Settings;

/// The answer that sends a client elsewhere: no body, and nothing said about caching, so that each status means
/// to browsers what it means by itself (RFC 9110 §15.4).
pub(super) fn answer(
    site: &Site,
    settings: &Settings,
    status: StatusCode,
    location: &str,
    request: &HeaderMap,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for rules in &settings.headers {
        rules.apply(headers);
    }
    for field in &settings.vary {
        add_vary(headers, field.as_str());
    }
    if let Some(cors) = &site.cors {
        decorate(cors, request, headers);
    }
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(LOCATION, location);
    }
    response
}
