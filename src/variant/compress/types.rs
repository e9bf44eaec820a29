/// Media types whose content gets smaller, as patterns of `[compression] types`: everything that is text in some way, and
/// the binary kinds that carry no compression of their own (fonts but WOFF, WASM, uncompressed pictures and models). What is
/// compressed already (JPEG, WOFF2, archives, films) is not among them: coding it costs time and saves nothing.
pub(in super::super) const COMPRESSIBLE: [&str; 40] = [
    "text/*",
    "*+json",
    "*+xml",
    "*+text",
    "*+yaml",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/json",
    "application/json5",
    "application/x-ndjson",
    "application/jsonl",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "application/toml",
    "application/wasm",
    "application/rtf",
    "application/sql",
    "application/graphql",
    "application/postscript",
    "application/x-httpd-php",
    "application/x-sh",
    "application/x-tex",
    "application/x-subrip",
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "application/vnd.ms-fontobject",
    "application/vnd.mapbox-vector-tile",
    "application/x-font-ttf",
    "application/x-font-otf",
    "font/ttf",
    "font/otf",
    "font/sfnt",
    "font/collection",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
    "model/gltf-binary",
    "model/stl",
];

/// Whether one of the patterns covers a media type: `text/css` itself, `text/*` a whole kind, `*+json` a structured syntax
/// (RFC 6838 §4.2.8). Case and parameters do not matter.
pub(super) fn any_covers(patterns: &[String], content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    patterns.iter().any(|pattern| covers(pattern, essence))
}

fn covers(pattern: &str, essence: &str) -> bool {
    let (pattern, essence) = (pattern.as_bytes(), essence.as_bytes());
    match (pattern.strip_suffix(b"*"), pattern.strip_prefix(b"*")) {
        (Some(start), _) => essence
            .get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start)),
        (None, Some(suffix)) => {
            let at = essence.len().checked_sub(suffix.len());
            at.and_then(|at| essence.get(at..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
        }
        (None, None) => essence.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, expect: bool) {
        let patterns = COMPRESSIBLE.map(str::to_owned);
        assert_eq!(
            any_covers(&patterns, content_type),
            expect,
            "{content_type}"
        );
    }

    #[test]
    fn what_gets_smaller_is_in_the_table() {
        for name in [
            "text/html; charset=utf-8",
            "TEXT/CSS",
            "application/javascript",
            "application/ld+json",
            "application/vnd.api+JSON; version=1",
            "image/svg+xml",
            "application/atom+xml",
            "application/wasm",
            "font/ttf",
            "application/vnd.ms-fontobject",
            "image/x-icon",
            "model/gltf+json",
        ] {
            check(name, true);
        }
    }

    #[test]
    fn what_is_compressed_already_is_not() {
        for name in [
            "image/jpeg",
            "image/avif",
            "font/woff2",
            "font/woff",
            "application/zip",
            "application/gzip",
            "video/mp4",
            "audio/mpeg",
            "application/pdf",
            "application/octet-stream",
            "application/epub+zip",
            "json",
            "+json",
            "tex",
            "te\u{e9}t",
            "",
        ] {
            check(name, name == "+json");
        }
    }
}
