//! The origin's answer to a request, as a file server of the usual kind gives it.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::assets::Asset;
use crate::policy::{self, Precondition};
use crate::semantics::range::{self, Ranges};

/// When the bundled files were made; they change with the binary only, and their tags say so.
const MADE_AT: HeaderValue = HeaderValue::from_static("Mon, 02 Nov 2026 08:00:00 GMT");

/// Answers GET and HEAD: conditions first, then one range, then the whole file. The server leaves
/// out the body of an answer to HEAD itself.
pub(super) fn answer(
    assets: &HashMap<&'static str, Asset>,
    method: &Method,
    path: &str,
    request: &HeaderMap,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let Some(asset) = assets.get(path) else {
        return plain(StatusCode::NOT_FOUND, "no such file\n");
    };
    match policy::evaluate(method, request, Some(&asset.etag), Some(&MADE_AT)) {
        Precondition::Proceed => whole_or_part(asset, method, request),
        Precondition::NotModified => of_asset(asset, StatusCode::NOT_MODIFIED, Bytes::new()),
        Precondition::Failed => plain(StatusCode::PRECONDITION_FAILED, "another version\n"),
    }
}

fn whole_or_part(asset: &Asset, method: &Method, request: &HeaderMap) -> Response<Full<Bytes>> {
    let whole = || of_asset(asset, StatusCode::OK, asset.body.clone());
    // RFC 9110 §14.2: ranges are defined for GET only.
    if method != Method::GET
        || !policy::range_applies(request, Some(&asset.etag), Some(&MADE_AT), None)
    {
        return whole();
    }
    let length = asset.body.len();
    match range::resolve(request.get(RANGE), length as u64) {
        Ranges::Whole => whole(),
        Ranges::Parts(parts) => match &*parts {
            [part] => partial(asset, part).unwrap_or_else(whole),
            // Several parts may be answered with the whole.
            _ => whole(),
        },
        Ranges::Unsatisfiable => {
            let mut refusal = plain(StatusCode::RANGE_NOT_SATISFIABLE, "no such range\n");
            insert_text(&mut refusal, CONTENT_RANGE, &format!("bytes */{length}"));
            refusal
        }
    }
}

fn partial(asset: &Asset, part: &Range<u64>) -> Option<Response<Full<Bytes>>> {
    let (start, end) = (
        usize::try_from(part.start).ok()?,
        usize::try_from(part.end).ok()?,
    );
    let bytes = asset.body.get(start..end)?;
    let body = asset.body.slice_ref(bytes);
    let mut response = of_asset(asset, StatusCode::PARTIAL_CONTENT, body);
    let place = format!(
        "bytes {start}-{}/{}",
        end.saturating_sub(1),
        asset.body.len()
    );
    insert_text(&mut response, CONTENT_RANGE, &place);
    Some(response)
}

fn of_asset(asset: &Asset, status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_TYPE, asset.media_type.clone());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    headers.insert(CACHE_CONTROL, asset.cache_control.clone());
    headers.insert(ETAG, asset.etag.clone());
    headers.insert(LAST_MODIFIED, MADE_AT);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=5"));
    response
}

fn insert_text(response: &mut Response<Full<Bytes>>, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http_body::Body as _;

    use super::*;
    use crate::demo::assets;

    #[track_caller]
    fn check(
        request: &str,
        fields: &[(&str, &str)],
        status: u16,
        expect: &[(&str, &str)],
        bytes: u64,
    ) {
        let (method, path) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let response = answer(&assets::all(), &method.parse().unwrap(), path, &headers);
        assert_eq!(response.status(), status);
        for (name, value) in expect {
            assert_eq!(response.headers()[*name], value, "{name}");
        }
        assert_eq!(response.body().size_hint().exact(), Some(bytes));
    }

    fn tag(path: &str) -> String {
        assets::all()[path].etag.to_str().unwrap().to_owned()
    }

    #[test]
    fn files_come_whole_with_their_fields() {
        let page = assets::all()["/"].body.len() as u64;
        check(
            "GET /",
            &[],
            200,
            &[
                ("content-type", "text/html; charset=utf-8"),
                ("etag", &tag("/")),
                ("accept-ranges", "bytes"),
            ],
            page,
        );
        let media = (
            "cache-control",
            "public, max-age=604800, stale-if-error=604800",
        );
        check("GET /font.bin", &[], 200, &[media], 40 * 1024);
    }

    #[test]
    fn conditions_are_kept() {
        let path = "/photos/lake.jpg";
        let request = format!("GET {path}");
        check(
            &request,
            &[("if-none-match", &tag(path))],
            304,
            &[("etag", &tag(path))],
            0,
        );
        let date = MADE_AT.to_str().unwrap().to_owned();
        check(&request, &[("if-modified-since", &date)], 304, &[], 0);
        let whole = assets::all()[path].body.len() as u64;
        check(&request, &[("if-none-match", "\"other\"")], 200, &[], whole);
        check(&request, &[("if-match", "\"other\"")], 412, &[], 16);
    }

    #[test]
    fn one_range_is_cut_out() {
        let font = "GET /font.bin";
        let place = ("content-range", "bytes 100-199/40960");
        check(font, &[("range", "bytes=100-199")], 206, &[place], 100);
        let place = ("content-range", "bytes 40950-40959/40960");
        check(font, &[("range", "bytes=-10")], 206, &[place], 10);
        check(font, &[("range", "bytes=0-1,30000-30001")], 200, &[], 40960);
        let place = ("content-range", "bytes */40960");
        check(font, &[("range", "bytes=40960-")], 416, &[place], 14);
        let own = tag("/font.bin");
        check(
            font,
            &[("range", "bytes=0-0"), ("if-range", &own)],
            206,
            &[],
            1,
        );
        check(
            font,
            &[("range", "bytes=0-0"), ("if-range", "\"old\"")],
            200,
            &[],
            40960,
        );
        check("HEAD /font.bin", &[("range", "bytes=0-0")], 200, &[], 40960);
    }

    #[test]
    fn the_rest_is_refused() {
        check("GET /../etc/passwd", &[], 404, &[], 13);
        check("GET /photos/", &[], 404, &[], 13);
        check("POST /", &[], 405, &[("allow", "GET, HEAD")], 18);
    }
}
