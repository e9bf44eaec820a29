//! What kind of thing a response is, by its media type and by the name that it was asked under.

use std::borrow::Cow;

use http::header;

use crate::semantics::media_type;

use super::storable::Exchange;

/// What the extension of a path promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// A style sheet, a script, a picture, a font, a film, an archive: never a page, never data of an interface.
    Asset,
    /// Text or data: never a page.
    Data,
    /// A page, something that is often shown as a page, or nothing.
    Any,
}

/// Extensions of assets, without dot and in lower case.
const ASSETS: &[&str] = &[
    "css", "js", "mjs", "cjs", "wasm", // code
    "jpg", "jpeg", "jfif", "png", "apng", "gif", "webp", "avif", "heic", "heif", "jxl", "svg",
    "svgz", "ico", "cur", "bmp", "tif", "tiff", "eps", "psd", // pictures
    "woff", "woff2", "ttf", "otf", "ttc", "eot", // fonts
    "mp4", "m4v", "webm", "ogv", "mov", "mkv", "avi", "wmv", "flv", "ts", "m4s", "mp3", "m4a",
    "aac", "ogg", "oga", "opus", "wav", "flac", "mid", "midi", // sound and film
    "pdf", "ps", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp",
    "epub", // documents
    "zip", "gz", "tgz", "tar", "bz2", "xz", "zst", "7z", "rar", "br", // archives
    "bin", "exe", "msi", "dmg", "iso", "img", "apk", "ipa", "deb", "rpm", "jar", "class", "swf",
    "glb", "ktx2", // programs and models
];

/// Extensions of text and data.
const DATA: &[&str] = &[
    "json",
    "map",
    "geojson",
    "jsonld",
    "gltf",
    "webmanifest",
    "xml",
    "xsl",
    "rss",
    "atom",
    "txt",
    "csv",
    "tsv",
    "ics",
    "vcf",
    "vtt",
    "srt",
    "yaml",
    "yml",
    "toml",
    "m3u8",
    "mpd",
    "pls",
];

/// Families of which every type is static.
const STATIC_FAMILIES: &[&str] = &["image", "font", "audio", "video", "model"];

/// Single types that are static.
const STATIC_TYPES: &[&str] = &[
    "text/css",
    "text/javascript",
    "text/ecmascript",
    "text/vtt",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "application/x-shockwave-flash",
    "application/ogg",
    "application/pdf",
    "application/postscript",
    "application/epub+zip",
    "application/rtf",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/zip",
    "application/x-zip-compressed",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/x-tar",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/x-rar-compressed",
    "application/java-archive",
    "application/vnd.android.package-archive",
    "application/vnd.debian.binary-package",
    "application/x-debian-package",
    "application/x-rpm",
    "application/x-msdownload",
    "application/x-apple-diskimage",
    "application/x-iso9660-image",
];

/// Beginnings of families of types that are static.
const STATIC_BEGINNINGS: &[&str] = &[
    "application/font-",
    "application/x-font-",
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
];

/// Whether the response is of a type that is known to be static. The path's extension stands in for a type that is
/// missing or says nothing, and for that of errors and redirects, whose bodies are about something else.
pub(super) fn is_static(exchange: &Exchange<'_>) -> bool {
    let named = || promise_of(exchange.path) == Promise::Asset;
    if !exchange.status.is_success() {
        return named();
    }
    match essence(exchange) {
        None => named(),
        Some(essence)
            if matches!(
                &*essence,
                "application/octet-stream" | "binary/octet-stream"
            ) =>
        {
            named()
        }
        Some(essence) => {
            let family = essence.split('/').next().unwrap_or_default();
            STATIC_FAMILIES.contains(&family)
                || STATIC_TYPES.contains(&&*essence)
                || STATIC_BEGINNINGS
                    .iter()
                    .any(|beginning| essence.starts_with(beginning))
        }
    }
}

/// Whether a successful answer is a page, or data of an interface, under a name that promises neither. Many
/// applications answer `/account/x.css` as `/account`: an attacker sends somebody there and then asks the cache.
/// Pages are the classic prey, sessions as JSON the newer one.
///
/// Types that are only labelled carelessly pass: a style sheet as plain text, a picture in another format, no type.
pub(super) fn is_deceptive(exchange: &Exchange<'_>) -> bool {
    if !exchange.status.is_success() {
        return false;
    }
    let promise = promise_of(exchange.path);
    if promise == Promise::Any {
        return false;
    }
    let Some(essence) = essence(exchange) else {
        return false;
    };
    let is_page = matches!(&*essence, "text/html" | "application/xhtml+xml");
    let is_json =
        matches!(&*essence, "application/json" | "text/json") || essence.ends_with("+json");
    match promise {
        Promise::Asset => is_page || is_json,
        Promise::Data => is_page,
        Promise::Any => false,
    }
}

fn essence<'a>(exchange: &Exchange<'a>) -> Option<Cow<'a, str>> {
    let value = exchange.response.get(header::CONTENT_TYPE)?;
    media_type::essence(value)
}

fn promise_of(path: &str) -> Promise {
    let name = path.rsplit('/').next().unwrap_or_default();
    // `/account/.css` has the extension that other caches see in it.
    let Some((_, extension)) = name.rsplit_once('.') else {
        return Promise::Any;
    };
    let is_in = |list: &[&str]| {
        list.iter()
            .any(|known| known.eq_ignore_ascii_case(extension))
    };
    if is_in(ASSETS) {
        Promise::Asset
    } else if is_in(DATA) {
        Promise::Data
    } else {
        Promise::Any
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Config, Mode};
    use super::super::sample::{Sample, transparent};
    use super::super::storable::NotStored;

    #[track_caller]
    fn check(config: Config, path: &str, status: u16, media_type: &str, expect: Option<NotStored>) {
        let all = [
            ("cache-control", "max-age=60"),
            ("content-type", media_type),
        ];
        let sample = Sample {
            config,
            path,
            status,
            response: if media_type.is_empty() {
                &all[..1]
            } else {
                &all
            },
            ..Sample::default()
        };
        assert_eq!(sample.refused(), expect, "{path} {status} {media_type:?}");
    }

    #[track_caller]
    fn guards(path: &str, media_type: &str, is_refused: bool) {
        let expect = is_refused.then_some(NotStored::Deception);
        check(transparent(), path, 200, media_type, expect);
        let open = Config {
            deception_guard: false,
            ..transparent()
        };
        check(open, path, 200, media_type, None);
    }

    #[test]
    fn a_page_under_the_name_of_an_asset_is_not_stored() {
        guards("/account/x.css", "text/html; charset=utf-8", true);
        guards("/account/x.CSS", "Text/HTML", true);
        guards("/account/.css", "text/html", true);
        guards("/account;x.js", "application/xhtml+xml", true);
        guards("/account%3Fx.png", "text/html", true);
        guards("/account%2Fx.woff2", "text/html", true);
        guards("/session/x.css", "application/json", true);
        guards("/session/x.jpg", "application/problem+json", true);
        guards("/account/robots.txt", "text/html", true);
        guards("/account/x.json", "text/html", true);
        guards("/account/x.xml", "text/html", true);
    }

    #[test]
    fn what_is_only_labelled_carelessly_is_stored() {
        for (path, media_type) in [
            ("/a.js", "text/javascript"),
            ("/a.js", "application/x-javascript"),
            ("/a.mjs", "text/plain"),
            ("/a.css", "text/plain"),
            ("/a.css", ""),
            ("/a.css", "application/octet-stream"),
            ("/a.css", "nonsense"),
            ("/a.jpg", "image/webp"),
            ("/a.svg", "text/xml"),
            ("/a.json", "application/vnd.api+json"),
            ("/a.map", "application/json"),
            ("/a.webmanifest", "application/manifest+json"),
            ("/a.xml", "application/rss+xml"),
            ("/a.xml", "application/json"),
            ("/a.txt", "application/json"),
        ] {
            guards(path, media_type, false);
        }
    }

    #[test]
    fn names_that_may_be_pages_do_not_concern_it() {
        for path in [
            "/", "/a", "/a.html", "/a.htm", "/a.xhtml", "/a.md", "/a.php", "/v1.2", "/a.css/b",
        ] {
            guards(path, "text/html", false);
        }
        for status in [301, 404, 410, 500] {
            check(transparent(), "/a.css", status, "text/html", None);
        }
    }

    #[track_caller]
    fn is_static_only(path: &str, status: u16, media_type: &str, is_stored: bool) {
        let config = Config {
            mode: Mode::Static,
            deception_guard: false,
            ..transparent()
        };
        let expect = (!is_stored).then_some(NotStored::NotStatic);
        check(config, path, status, media_type, expect);
    }

    #[test]
    fn a_static_site_stores_static_types() {
        for (media_type, is_stored) in [
            ("image/png", true),
            ("Image/SVG+XML", true),
            ("font/woff2", true),
            ("application/x-font-ttf", true),
            ("text/css; charset=utf-8", true),
            ("text/javascript", true),
            ("application/wasm", true),
            ("audio/mpeg", true),
            ("video/mp4", true),
            ("application/pdf", true),
            ("application/gzip", true),
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                true,
            ),
            ("text/html", false),
            ("application/json", false),
            ("application/xml", false),
            ("text/plain", false),
            ("application/vnd.apple.mpegurl", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            is_static_only("/a", 200, media_type, is_stored);
        }
    }

    #[test]
    fn the_extension_stands_in_for_a_type() {
        is_static_only("/a.css", 200, "", true);
        is_static_only("/a.ZIP", 200, "application/octet-stream", true);
        is_static_only("/a.css", 200, "text/html", false);
        is_static_only("/a.json", 200, "", false);
        is_static_only("/a.css", 404, "text/html", true);
        is_static_only("/a", 404, "text/html", false);
        is_static_only("/a.png", 301, "text/html", true);
    }

    #[test]
    fn a_static_site_respects_the_origin() {
        let sample = Sample {
            config: Config {
                mode: Mode::Static,
                ..transparent()
            },
            path: "/a.css",
            response: &[("content-type", "text/css"), ("cache-control", "no-store")],
            ..Sample::default()
        };
        assert_eq!(sample.refused(), Some(NotStored::NoStore));
    }
}
