//! Media types (RFC 9110 §8.3.1): the essence of a `Content-Type`, patterns, and file extensions.

use std::borrow::Cow;

use http::HeaderValue;

/// The type and subtype in lower case, without parameters. `None` when the value does not begin with a
/// type, a slash and a subtype. Borrows when the value is in lower case already.
#[must_use]
pub fn essence(value: &HeaderValue) -> Option<Cow<'_, str>> {
    let text = value.as_bytes();
    let end = memchr::memchr(b';', text).unwrap_or(text.len());
    let text = std::str::from_utf8(text.get(..end)?.trim_ascii()).ok()?;
    let (family, subtype) = text.split_once('/')?;
    if !is_token(family) || !is_token(subtype) {
        return None;
    }
    Some(if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                )
        })
}

/// Whether one of the patterns (`text/*`, `application/json`, `*/*`) covers the essence; case does not
/// matter.
#[must_use]
pub fn matches(patterns: &[String], essence: &str) -> bool {
    let family = essence.split('/').next().unwrap_or_default();
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix("/*") {
            Some("*") => true,
            Some(range) => range.eq_ignore_ascii_case(family),
            None => pattern == "*" || pattern.eq_ignore_ascii_case(essence),
        })
}

/// The media type that the extension of a path stands for, in any case.
#[must_use]
pub fn type_of_extension(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    // A leading dot hides a file and begins no extension.
    if stem.is_empty() {
        return None;
    }
    EXTENSIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map(|&(_, media_type)| media_type)
}

const EXTENSIONS: [(&str, &str); 78] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("geojson", "application/geo+json"),
    ("jsonld", "application/ld+json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("xml", "application/xml"),
    ("xhtml", "application/xhtml+xml"),
    ("xsl", "application/xml"),
    ("rss", "application/rss+xml"),
    ("atom", "application/atom+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("text", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("jfif", "image/jpeg"),
    ("png", "image/png"),
    ("apng", "image/apng"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("jxl", "image/jxl"),
    ("svg", "image/svg+xml"),
    ("ico", "image/x-icon"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("ttc", "font/collection"),
    ("eot", "application/vnd.ms-fontobject"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov", "video/quicktime"),
    ("mkv", "video/matroska"),
    ("ts", "video/mp2t"),
    ("m4s", "video/iso.segment"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("mpd", "application/dash+xml"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("bz2", "application/x-bzip2"),
    ("xz", "application/x-xz"),
    ("zst", "application/zstd"),
    ("7z", "application/x-7z-compressed"),
    ("bin", "application/octet-stream"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_essence_has_no_parameters_and_no_case() {
        #[track_caller]
        fn check(value: &str, expect: Option<&str>) {
            let value = HeaderValue::from_str(value).unwrap();
            assert_eq!(essence(&value).as_deref(), expect, "{value:?}");
        }
        check("text/html", Some("text/html"));
        check("Text/HTML; charset=utf-8", Some("text/html"));
        check(" image/svg+xml ;x", Some("image/svg+xml"));
        check("text", None);
        check("text/", None);
        check("/html", None);
        check("text/html, text/css", None);
        check("", None);
    }

    #[test]
    fn patterns_cover_types() {
        let patterns: Vec<String> = ["text/*", "Application/JSON"].map(String::from).into();
        assert!(matches(&patterns, "text/css") && matches(&patterns, "application/json"));
        assert!(!matches(&patterns, "textile/css") && !matches(&patterns, "application/xml"));
        assert!(matches(&["*/*".to_owned()], "a/b") && matches(&["*".to_owned()], "a/b"));
        assert!(!matches(&[], "a/b"));
    }

    #[test]
    fn extensions_stand_for_types() {
        #[track_caller]
        fn check(path: &str, expect: Option<&str>) {
            assert_eq!(type_of_extension(path), expect, "{path:?}");
        }
        check("/a/b.PNG", Some("image/png"));
        check("app.min.js", Some("text/javascript; charset=utf-8"));
        check("/a.png/b", None);
        check("/.png", None);
        check("/a.", None);
        check("/a.nothing", None);
        check("", None);
    }

    #[test]
    fn the_table_has_each_extension_once_and_valid_types() {
        for (at, (extension, media_type)) in EXTENSIONS.iter().enumerate() {
            assert!(
                EXTENSIONS
                    .iter()
                    .skip(at + 1)
                    .all(|(other, _)| other != extension)
            );
            assert!(essence(&HeaderValue::from_static(media_type)).is_some());
        }
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in prop::collection::vec(any::<u8>(), 0..60), path: String) {
            if let Ok(value) = HeaderValue::from_bytes(&value)
                && let Some(found) = essence(&value)
            {
                prop_assert_eq!(found.to_ascii_lowercase(), &*found);
            }
            prop_assert!(type_of_extension(&path).is_none() || path.contains('.'));
        }
    }
}
