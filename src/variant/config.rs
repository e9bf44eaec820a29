use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use super::compress::{COMPRESSIBLE, DictionaryPattern};
use super::image::{ImagePreset, Keep};

/// A content coding that the edge makes (RFC 9110 §8.4.1, RFC 7932, RFC 9659).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

/// `[compression]` of a site, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// Whether the edge compresses.
    pub enabled: bool,
    /// What it makes, best first.
    pub codings: Vec<Coding>,
    /// What the origin is asked for, best first; nothing is asked for when it is empty.
    pub pull: Vec<Coding>,
    /// Media types (lower case; `text/*` and `*+json` patterns allowed).
    pub types: Vec<String>,
    /// A smaller body is left as it is.
    pub min_size_bytes: u64,
    /// A larger body is left as it is; also the bound of decoded text.
    pub max_size_bytes: u64,
    /// The level of the first answer.
    pub first_level: LevelByCoding,
    /// The level that is made behind the answers.
    pub best_level: LevelByCoding,
    /// After so many hits on a coding of the first level the best one is made; 0 is never.
    pub upgrade_after_hits: u8,
    /// Compression dictionaries.
    pub dictionaries: DictionaryConfig,
}

/// `[compression] dictionaries`, checked (RFC 9842).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryConfig {
    /// Who makes answers against dictionaries.
    pub mode: DictionaryMode,
    /// What the edge marks as a dictionary for its later versions.
    pub patterns: Vec<DictionaryPattern>,
    /// So many versions are remembered of what one pattern covers; at least 1.
    pub keep_versions: usize,
}

/// Who makes answers against dictionaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DictionaryMode {
    /// Nobody.
    #[default]
    Off,
    /// The origin: it is told what clients have.
    Passthrough,
    /// The edge.
    Edge,
}

impl Default for DictionaryConfig {
    fn default() -> Self {
        Self {
            mode: DictionaryMode::Off,
            patterns: Vec::new(),
            keep_versions: 5,
        }
    }
}

impl DictionaryConfig {
    /// The patterns that cover a path, where the edge makes answers against dictionaries; the first one marks it.
    pub fn covering<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a DictionaryPattern> {
        let is_edge = self.mode == DictionaryMode::Edge;
        let patterns = self.patterns.iter().filter(move |_| is_edge);
        patterns.filter(move |pattern| pattern.matches(path))
    }
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            pull: Vec::new(),
            types: COMPRESSIBLE.map(str::to_owned).to_vec(),
            min_size_bytes: 256,
            max_size_bytes: 16 << 20,
            first_level: LevelByCoding {
                brotli: 5,
                zstd: 3,
                gzip: 6,
            },
            best_level: LevelByCoding {
                brotli: 11,
                zstd: 19,
                gzip: 9,
            },
            upgrade_after_hits: 2,
            dictionaries: DictionaryConfig::default(),
        }
    }
}

impl CompressionConfig {
    /// The `Accept-Encoding` of requests to the origin (RFC 9110 §12.5.3).
    #[must_use]
    pub fn accept_encoding(&self) -> HeaderValue {
        let weighed = |(place, coding): (usize, &Coding)| match place {
            0 => coding.token().to_owned(),
            place => format!("{};q=0.{}", coding.token(), 10_usize.saturating_sub(place)),
        };
        let members: Vec<String> = self.pull.iter().enumerate().map(weighed).collect();
        match self.enabled && !members.is_empty() {
            true => HeaderValue::try_from(members.join(", ")).unwrap_or(IDENTITY),
            false => IDENTITY,
        }
    }
}

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// A compression level for each coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelByCoding {
    /// 0 to 11.
    pub brotli: u32,
    /// 1 to 19 (RFC 9659 bounds the window at 8 MB).
    pub zstd: u32,
    /// 1 to 9.
    pub gzip: u32,
}

impl LevelByCoding {
    /// The level for `coding`.
    #[must_use]
    pub fn of(&self, coding: Coding) -> u32 {
        match coding {
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        }
    }
}

/// `[compression]` of the node, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionWorkers {
    /// Threads; at least 1.
    pub threads: usize,
    /// Jobs that may wait.
    pub queue: usize,
}

/// A picture format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageFormat {
    /// `image/avif`
    Avif,
    /// `image/webp`
    Webp,
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
    /// `image/gif`
    Gif,
}

/// `[images]` of a site, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the file, independent of the others"
)]
pub struct ImageConfig {
    /// Whether pictures are touched at all.
    pub enabled: bool,
    /// File name patterns (`*.jpg`), compared without case, where parameters are read.
    pub patterns: Vec<String>,
    /// Best format that `Accept` allows, for every picture.
    pub auto: bool,
    /// What `auto` may choose besides the original's format, best first.
    pub formats: Vec<ImageFormat>,
    /// Whether parameters in the query are read.
    pub parameters: bool,
    /// Steps that widths are rounded up to; sorted; empty is none.
    pub widths: Vec<u32>,
    /// The largest width or height that may be asked for, in pixels.
    pub max_width: u32,
    /// Stored variants of one picture.
    pub max_variants: usize,
    /// Default quality by format.
    pub quality: ImageQuality,
    /// Whether a slow encode goes on behind the first answer.
    pub background: bool,
    /// How long a first visitor waits for the best format.
    pub first_answer: Duration,
    /// Whose names of parameters are read besides ours; the first one that knows a name counts.
    pub aliases: Vec<Vendor>,
    /// Forms of paths that are read.
    pub paths: Vec<PathStyle>,
    /// Whether client hints are asked for and looked at.
    pub client_hints: bool,
    /// What a picture that cannot be processed is answered with.
    pub refused: Refused,
    /// What is served when pictures cannot be made in time.
    pub fallback: Fallback,
    /// What of a source's metadata stays, unless the URL says.
    pub keep: Keep,
    /// Named sets of parameters.
    pub presets: BTreeMap<String, ImagePreset>,
    /// Signed URLs.
    pub sign: ImageSigning,
    /// Whether SVG pictures are kept from running scripts.
    pub svg_csp: bool,
}

/// A vendor whose names of parameters a site may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Cloudflare Images.
    Cloudflare,
    /// Fastly's Image Optimizer.
    Fastly,
    /// imgix.
    Imgix,
}

/// A form of paths that names a picture and what is to be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// `/cdn-cgi/image/<options>/<picture>`
    Cloudflare,
    /// `/_next/image?url=<picture>&w=&q=`
    Next,
    /// `/_ipx/<modifiers>/<picture>`
    Ipx,
    /// `/insecure/<options>/plain/<picture>@<format>`
    Imgproxy,
}

/// What a picture that cannot be processed is answered with, when its URL asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refused {
    /// The picture as it is.
    #[default]
    Original,
    /// 415 Unsupported Media Type.
    UnsupportedMediaType,
    /// 422 Unprocessable Content.
    UnprocessableContent,
}

/// What is served when pictures cannot be made in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// The picture as it is.
    #[default]
    Original,
    /// 503 Service Unavailable, when the URL asks for something.
    Error,
}

/// `[images] sign`, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageSigning {
    /// Whether parameters are taken in signed URLs only.
    pub required: bool,
    /// The first one signs, any of them is taken.
    pub keys: Vec<SigningKey>,
}

impl ImageSigning {
    /// Whether signatures are looked at.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// A secret that signs URLs; it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(String);

impl SigningKey {
    /// A key of this text.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The text.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            patterns: [
                "*.jpg", "*.jpeg", "*.png", "*.gif", "*.webp", "*.avif", "*.bmp", "*.tif", "*.tiff",
            ]
            .map(str::to_owned)
            .to_vec(),
            auto: true,
            formats: vec![ImageFormat::Avif, ImageFormat::Webp],
            parameters: true,
            widths: Vec::new(),
            max_width: 4096,
            max_variants: 64,
            quality: ImageQuality {
                jpeg: 80,
                webp: 78,
                avif: 60,
            },
            background: true,
            first_answer: Duration::from_secs(1),
            aliases: Vec::new(),
            paths: Vec::new(),
            client_hints: false,
            refused: Refused::default(),
            fallback: Fallback::default(),
            keep: Keep::Copyright,
            presets: BTreeMap::new(),
            sign: ImageSigning::default(),
            svg_csp: false,
        }
    }
}

/// Default quality by format, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageQuality {
    /// JPEG.
    pub jpeg: u8,
    /// Lossy WebP.
    pub webp: u8,
    /// AVIF.
    pub avif: u8,
}

/// `[images]` of the node, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageWorkers {
    /// Threads; at least 1.
    pub threads: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// All decoded pixels together.
    pub memory_bytes: u64,
    /// Pixels of one picture.
    pub max_pixels: u64,
    /// Pixels along one side.
    pub max_side: u32,
    /// The source file.
    pub max_source_bytes: u64,
    /// Frames of one animation.
    pub max_frames: u32,
    /// Pixels of one animation, over all its frames.
    pub max_frame_pixels: u64,
    /// One job.
    pub timeout: Duration,
}

impl Default for ImageWorkers {
    fn default() -> Self {
        Self {
            threads: 1,
            queue: 256,
            queue_timeout: Duration::from_secs(2),
            memory_bytes: 512 << 20,
            max_pixels: 50_000_000,
            max_side: 16_384,
            max_source_bytes: 32 << 20,
            max_frames: 1000,
            max_frame_pixels: 200_000_000,
            timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_asked_in_the_sites_order() {
        let asked = |enabled, pull: &[Coding]| {
            let config = CompressionConfig {
                enabled,
                pull: pull.to_vec(),
                ..CompressionConfig::default()
            };
            config.accept_encoding().to_str().unwrap().to_owned()
        };
        assert_eq!(asked(true, &[]), "identity");
        assert_eq!(asked(true, &[Coding::Gzip]), "gzip");
        assert_eq!(
            asked(true, &[Coding::Brotli, Coding::Zstd, Coding::Gzip]),
            "br, zstd;q=0.9, gzip;q=0.8"
        );
        assert_eq!(asked(false, &[Coding::Gzip]), "identity");
    }
}
