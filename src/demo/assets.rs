//! What the bundled origin has: compiled into the binary, so that it runs from anywhere.

use std::collections::HashMap;
use std::hash::Hasher;

use bytes::Bytes;
use http::HeaderValue;
use siphasher::sip128::{Hasher128, SipHasher24};

/// A file of the origin with the fields that go with it.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) media_type: HeaderValue,
    pub(super) cache_control: HeaderValue,
    pub(super) etag: HeaderValue,
    pub(super) body: Bytes,
}

impl Asset {
    fn new(media_type: &'static str, lifetime: Lifetime, body: Bytes) -> Self {
        Self {
            media_type: HeaderValue::from_static(media_type),
            cache_control: lifetime.cache_control(),
            etag: etag_of(&body),
            body,
        }
    }
}

#[derive(Clone, Copy)]
enum Lifetime {
    /// The page: short, so that a visitor sees a new one soon.
    Page,
    /// Style, script and the like.
    Part,
    /// Pictures and fonts, which change their name when they change.
    Media,
}

impl Lifetime {
    fn cache_control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Page => "public, max-age=60, stale-while-revalidate=600",
            Self::Part => "public, max-age=3600, stale-while-revalidate=86400",
            Self::Media => "public, max-age=604800, stale-if-error=604800",
        })
    }
}

macro_rules! photograph {
    ($name:literal) => {
        (
            concat!("/photos/", $name, ".jpg"),
            include_bytes!(concat!("assets/photos/", $name, ".jpg")).as_slice(),
        )
    };
}

/// The pictures by path. `tests/pictures` paints them.
const PHOTOGRAPHS: &[(&str, &[u8])] = &[
    photograph!("lake"),
    photograph!("dunes"),
    photograph!("ocean"),
    photograph!("forest"),
    photograph!("aurora"),
    photograph!("canyon"),
    photograph!("daisy"),
];

const PAGE: &str = include_str!("assets/index.html");
const FORMATS: &str = include_str!("assets/formats.html");
const FORMATS_SCRIPT: &str = include_str!("assets/formats.js");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/app.js");
const LOGO: &str = include_str!("assets/logo.svg");

/// As large as a web font with a few hundred glyphs.
const FONT_BYTES: usize = 40 * 1024;

/// All files by path.
pub(super) fn all() -> HashMap<&'static str, Asset> {
    let text = |media_type, lifetime, text: &'static str| {
        Asset::new(media_type, lifetime, Bytes::from_static(text.as_bytes()))
    };
    let mut assets = HashMap::from([
        ("/", text("text/html; charset=utf-8", Lifetime::Page, PAGE)),
        (
            "/formats.html",
            text("text/html; charset=utf-8", Lifetime::Page, FORMATS),
        ),
        (
            "/formats.js",
            text(
                "text/javascript; charset=utf-8",
                Lifetime::Part,
                FORMATS_SCRIPT,
            ),
        ),
        (
            "/style.css",
            text("text/css; charset=utf-8", Lifetime::Part, STYLE),
        ),
        (
            "/app.js",
            text("text/javascript; charset=utf-8", Lifetime::Part, SCRIPT),
        ),
        ("/logo.svg", text("image/svg+xml", Lifetime::Part, LOGO)),
        ("/favicon.ico", text("image/svg+xml", Lifetime::Part, LOGO)),
        (
            "/font.bin",
            Asset::new("application/octet-stream", Lifetime::Media, font()),
        ),
    ]);
    for (path, jpeg) in PHOTOGRAPHS {
        let body = Bytes::from_static(jpeg);
        assets.insert(*path, Asset::new("image/jpeg", Lifetime::Media, body));
    }
    assets
}

/// Bytes without pattern, as a compressed font has them, and the same in every run.
fn font() -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(FONT_BYTES);
    while bytes.len() < FONT_BYTES {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    Bytes::from(bytes)
}

/// Strong: the same in every process with the same bytes.
fn etag_of(body: &[u8]) -> HeaderValue {
    let mut hasher = SipHasher24::new();
    hasher.write(body);
    let tag = format!("\"{:016x}\"", hasher.finish128().h1);
    HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_what_is_here() {
        let assets = all();
        let mut links = 0;
        for attribute in [" src=\"", " href=\"", "srcset=\"", ", /", "data-asset=\""] {
            let pages = [PAGE, FORMATS].into_iter();
            for rest in pages.flat_map(|page| page.split(attribute).skip(1)) {
                let rest = if attribute == ", /" {
                    format!("/{rest}")
                } else {
                    rest.to_owned()
                };
                let link = rest.split(['"', ' ']).next().unwrap();
                let path = link.split('?').next().unwrap();
                assert!(assets.contains_key(path), "the page links to {link}");
                links += 1;
            }
        }
        assert!(links > 20, "the page has lost its links");
        for page in [PAGE, FORMATS, SCRIPT, FORMATS_SCRIPT] {
            let is_own = !page.contains("http:") && !page.contains("https:");
            assert!(is_own, "an external resource");
        }
    }

    #[test]
    fn the_page_tells_each_pictures_true_size() {
        let assets = all();
        for (path, jpeg) in PHOTOGRAPHS {
            let size = image::ImageReader::new(std::io::Cursor::new(jpeg))
                .with_guessed_format()
                .unwrap()
                .into_dimensions()
                .unwrap();
            let figure = format!(
                "data-photo=\"{path}\" data-bytes=\"{}\" data-size=\"{} × {}\"",
                jpeg.len(),
                size.0,
                size.1
            );
            assert!(
                PAGE.contains(&figure),
                "the page should have a figure with {figure}"
            );
            let name = path.split(['/', '.']).nth(2).unwrap();
            let known = format!("  {name}: {},", jpeg.len());
            assert!(FORMATS_SCRIPT.contains(&known), "{known}");
            assert!(FORMATS.contains(&format!("value=\"{name}\"")), "{name}");
            let pixels = u64::from(size.0) * u64::from(size.1);
            assert!(
                (2_000_000..=12_000_000).contains(&pixels),
                "{path}: {pixels} pixels"
            );
        }
        assert!(PHOTOGRAPHS.len() >= 6);
        let photographs = assets.keys().filter(|path| path.starts_with("/photos/"));
        assert_eq!(photographs.count(), PHOTOGRAPHS.len());
        let bytes: usize = PHOTOGRAPHS.iter().map(|(_, jpeg)| jpeg.len()).sum();
        assert!(bytes <= 12 * 1024 * 1024, "{bytes} bytes of pictures");
    }

    #[test]
    fn tags_differ_and_stay() {
        let (one, two) = (all(), all());
        let mut tags: Vec<_> = one
            .values()
            .map(|asset| asset.etag.to_str().unwrap())
            .collect();
        tags.sort_unstable();
        tags.dedup();
        // The logo is there under two names.
        assert_eq!(tags.len(), one.len() - 1);
        assert!(one.iter().all(|(path, asset)| two[path].etag == asset.etag));
        assert_eq!(one["/font.bin"].body.len(), FONT_BYTES);
    }
}
