use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use super::super::config::ImageConfig;
use super::super::untouchable::untouchable;
use super::sniff::SourceFormat;

/// Whether an answer of the origin is a picture that the edge may remake.
#[must_use]
pub fn applies(config: &ImageConfig, status: StatusCode, headers: &HeaderMap) -> bool {
    config.enabled
        && status == StatusCode::OK
        && !headers.contains_key(CONTENT_RANGE)
        && SourceFormat::of_headers(headers).is_some()
        && !untouchable(headers)
}

impl SourceFormat {
    /// The format that `Content-Type` declares, if it is one that we decode.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        essence_of(value.split(';').next().unwrap_or_default().trim())
    }
}

pub(super) fn essence_of(media_type: &str) -> Option<SourceFormat> {
    [
        ("image/jpeg", SourceFormat::Jpeg),
        ("image/jpg", SourceFormat::Jpeg),
        ("image/pjpeg", SourceFormat::Jpeg),
        ("image/png", SourceFormat::Png),
        ("image/apng", SourceFormat::Png),
        ("image/gif", SourceFormat::Gif),
        ("image/webp", SourceFormat::Webp),
        ("image/bmp", SourceFormat::Bmp),
        ("image/x-ms-bmp", SourceFormat::Bmp),
        ("image/tiff", SourceFormat::Tiff),
        ("image/avif", SourceFormat::Avif),
    ]
    .into_iter()
    .find(|(name, _)| media_type.eq_ignore_ascii_case(name))
    .map(|(_, format)| format)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(status: StatusCode, fields: &[(&'static str, &'static str)], expect: bool) {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect();
        let config = ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        };
        assert_eq!(applies(&config, status, &headers), expect);
        assert!(!applies(&ImageConfig::default(), status, &headers), "off");
    }

    #[test]
    fn known_pictures_may_be_remade() {
        check(StatusCode::OK, &[("content-type", "image/jpeg")], true);
        check(StatusCode::OK, &[("content-type", "Image/PNG; x=y")], true);
        check(StatusCode::OK, &[("content-type", "image/avif")], true);
    }

    #[test]
    fn other_answers_pass() {
        let png = ("content-type", "image/png");
        check(StatusCode::OK, &[], false);
        check(StatusCode::OK, &[("content-type", "image/svg+xml")], false);
        check(StatusCode::OK, &[("content-type", "image/heic")], false);
        check(StatusCode::NOT_FOUND, &[png], false);
        check(StatusCode::PARTIAL_CONTENT, &[png], false);
        check(
            StatusCode::OK,
            &[png, ("cache-control", "no-transform")],
            false,
        );
        check(StatusCode::OK, &[png, ("content-encoding", "gzip")], false);
    }
}
