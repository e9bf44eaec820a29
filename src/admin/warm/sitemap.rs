use std::io::Write;

use flate2::write::MultiGzDecoder;

/// What the sitemap protocol allows, after decompression.
const SITEMAP_BYTES_MAX: usize = 50 << 20;

/// All addresses of one document together: 50 000 of them, as the protocol allows, at some 300 bytes.
const LOCATIONS_BYTES_MAX: usize = 16 << 20;

/// A longer address is not one that a client could ask for.
const LOCATION_BYTES_MAX: usize = 8 << 10;

/// Tags with all their attributes, and processing instructions.
const TAG_BYTES_MAX: usize = 16 << 10;

/// Elements within each other; `urlset/url/loc` is three, extensions add a few.
const DEPTH_MAX: usize = 32;

/// What a document lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sitemap {
    /// Pages.
    Urls(Vec<String>),
    /// Further sitemaps.
    Index(Vec<String>),
}

/// Why a document is no sitemap for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SitemapError {
    #[error("it is neither a <urlset> nor a <sitemapindex>")]
    NoSitemap,
    #[error("its XML is malformed")]
    Malformed,
    #[error("it ends before its last element does")]
    Cut,
    #[error("it has a document type declaration, which a sitemap has no use for")]
    Doctype,
    #[error("it is not in UTF-8")]
    NotUtf8,
    #[error("it is more than {} MiB, decompressed", SITEMAP_BYTES_MAX >> 20)]
    TooLarge,
    #[error("it lists more than is taken from one document; split it")]
    TooMany,
    #[error("its gzip stream is damaged")]
    Gzip,
}

/// Reads a sitemap piece by piece, gzip or plain, and keeps nothing but the addresses.
pub(super) struct Reader {
    form: Form,
    error: Option<SitemapError>,
}

/// What the first bytes say.
enum Form {
    Unknown(Vec<u8>),
    Plain(Scanner),
    Gzip(Box<MultiGzDecoder<Scanner>>),
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            form: Form::Unknown(Vec::new()),
            error: None,
        }
    }

    /// Takes the next piece. Whether more is wanted.
    pub(super) fn push(&mut self, piece: &[u8]) -> bool {
        if self.error.is_none()
            && let Err(error) = self.take(piece)
        {
            self.error = Some(error);
        }
        self.error.is_none()
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), SitemapError> {
        match &mut self.form {
            Form::Unknown(first) => {
                first.extend_from_slice(piece);
                // RFC 1952 §2.3.1. Files are sent with and without a Content-Encoding for it.
                let gzip = match first.as_slice() {
                    [] | [0x1f] => return Ok(()),
                    [0x1f, 0x8b, ..] => true,
                    _ => false,
                };
                let first = std::mem::take(first);
                self.form = match gzip {
                    true => Form::Gzip(Box::new(MultiGzDecoder::new(Scanner::default()))),
                    false => Form::Plain(Scanner::default()),
                };
                self.take(&first)
            }
            Form::Plain(scanner) => scanner.push(piece),
            Form::Gzip(decoder) => {
                let written = decoder.write_all(piece);
                match (written, decoder.get_ref().error) {
                    (_, Some(error)) => Err(error),
                    (Err(_), None) => Err(SitemapError::Gzip),
                    (Ok(()), None) => Ok(()),
                }
            }
        }
    }

    /// What the document lists, once all of it has come.
    pub(super) fn finish(self) -> Result<Sitemap, SitemapError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match self.form {
            Form::Unknown(_) => Err(SitemapError::NoSitemap),
            Form::Plain(scanner) => scanner.finish(),
            Form::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => std::mem::take(decoder.get_mut()).finish(),
                Err(_) => Err(decoder.get_ref().error.unwrap_or(SitemapError::Gzip)),
            },
        }
    }
}

/// The subset of XML 1.0 that sitemaps are written in, read strictly: elements, text, the five entities and character
/// references, CDATA, comments and processing instructions. No document type, so no entities of its own.
#[derive(Default)]
struct Scanner {
    state: State,
    /// The tag, entity or section that is being read.
    pending: Vec<u8>,
    /// Names of the open elements, without prefixes.
    open: Vec<Box<[u8]>>,
    kind: Option<Kind>,
    /// Text of the open `<loc>`.
    location: Vec<u8>,
    locations: Vec<String>,
    locations_bytes: usize,
    read_bytes: usize,
    ended: bool,
    /// Set by `write`, which cannot say it.
    error: Option<SitemapError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Urls,
    Index,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Entity,
    /// After `<`, until `>`; with the quote that is open.
    Tag(Option<u8>),
    Comment,
    Data,
    Instruction,
}

impl Scanner {
    fn push(&mut self, piece: &[u8]) -> Result<(), SitemapError> {
        self.read_bytes = self.read_bytes.saturating_add(piece.len());
        if self.read_bytes > SITEMAP_BYTES_MAX {
            return Err(SitemapError::TooLarge);
        }
        for byte in piece {
            self.step(*byte)?;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), SitemapError> {
        match self.state {
            State::Text => match byte {
                b'<' => self.begin(State::Tag(None)),
                b'&' => self.begin(State::Entity),
                _ => self.text(byte)?,
            },
            State::Entity if byte == b';' => {
                let character = entity(&self.pending).ok_or(SitemapError::Malformed)?;
                self.state = State::Text;
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    self.text(byte)?;
                }
            }
            State::Entity => self.keep(byte, 12)?,
            State::Tag(None) if byte == b'>' => {
                self.state = State::Text;
                let tag = std::mem::take(&mut self.pending);
                self.tag(&tag)?;
            }
            State::Tag(quote) => {
                self.keep(byte, TAG_BYTES_MAX)?;
                self.state = match (self.pending.as_slice(), quote) {
                    (b"!--", None) => self.section(State::Comment),
                    (b"![CDATA[", None) => self.section(State::Data),
                    (b"?", None) => self.section(State::Instruction),
                    (b"!DOCTYPE", None) => return Err(SitemapError::Doctype),
                    (_, None) if byte == b'"' || byte == b'\'' => State::Tag(Some(byte)),
                    (_, None) if byte == b'<' => return Err(SitemapError::Malformed),
                    (_, Some(open)) if open == byte => State::Tag(None),
                    (_, quote) => State::Tag(quote),
                };
            }
            State::Comment => {
                self.keep_last(byte, 3);
                if self.pending == b"-->" {
                    self.state = State::Text;
                }
            }
            State::Instruction => {
                self.keep_last(byte, 2);
                if self.pending == b"?>" {
                    self.state = State::Text;
                }
            }
            State::Data => self.data(byte)?,
        }
        Ok(())
    }

    fn begin(&mut self, state: State) {
        self.pending.clear();
        self.state = state;
    }

    fn section(&mut self, state: State) -> State {
        self.pending.clear();
        state
    }

    fn keep(&mut self, byte: u8, most: usize) -> Result<(), SitemapError> {
        if self.pending.len() >= most {
            return Err(SitemapError::Malformed);
        }
        self.pending.push(byte);
        Ok(())
    }

    fn keep_last(&mut self, byte: u8, count: usize) {
        if self.pending.len() >= count {
            self.pending.remove(0);
        }
        self.pending.push(byte);
    }

    /// In CDATA all is text up to `]]>`; brackets wait until it is known whether they belong to that.
    fn data(&mut self, byte: u8) -> Result<(), SitemapError> {
        self.pending.push(byte);
        if self.pending == b"]]>" {
            self.pending.clear();
            self.state = State::Text;
            return Ok(());
        }
        while !b"]]>".starts_with(&self.pending) {
            let first = self.pending.remove(0);
            self.text(first)?;
        }
        Ok(())
    }

    fn text(&mut self, byte: u8) -> Result<(), SitemapError> {
        if self.is_location() {
            if self.location.len() >= LOCATION_BYTES_MAX {
                return Err(SitemapError::TooMany);
            }
            self.location.push(byte);
        } else if self.open.is_empty() && !byte.is_ascii_whitespace() {
            // A byte order mark is all that may stand around the root.
            if self.kind.is_some() || !b"\xef\xbb\xbf".contains(&byte) {
                return Err(SitemapError::NoSitemap);
            }
        }
        Ok(())
    }

    /// Whether the text here is an address: not one of an extension, such as a picture's.
    fn is_location(&self) -> bool {
        let parent: &[u8] = match self.kind {
            Some(Kind::Urls) => b"url",
            Some(Kind::Index) => b"sitemap",
            None => return false,
        };
        matches!(self.open.as_slice(), [_, item, location] if **item == *parent && **location == *b"loc")
    }

    fn tag(&mut self, tag: &[u8]) -> Result<(), SitemapError> {
        if let Some(name) = tag.strip_prefix(b"/") {
            return self.close(local_name(name));
        }
        let (tag, is_empty) = match tag.strip_suffix(b"/") {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let name = local_name(tag);
        if name.is_empty() || self.open.len() >= DEPTH_MAX || self.ended {
            return Err(SitemapError::Malformed);
        }
        if self.open.is_empty() {
            self.kind = Some(match name {
                b"urlset" => Kind::Urls,
                b"sitemapindex" => Kind::Index,
                _ => return Err(SitemapError::NoSitemap),
            });
        }
        self.open.push(name.into());
        match is_empty {
            true => self.close(name),
            false => Ok(()),
        }
    }

    fn close(&mut self, name: &[u8]) -> Result<(), SitemapError> {
        if self.open.last().is_none_or(|open| **open != *name) {
            return Err(SitemapError::Malformed);
        }
        if self.is_location() {
            let text = std::mem::take(&mut self.location);
            let text = std::str::from_utf8(&text).map_err(|_| SitemapError::NotUtf8)?;
            let text = text.trim();
            self.locations_bytes += text.len() + size_of::<String>();
            if self.locations_bytes > LOCATIONS_BYTES_MAX {
                return Err(SitemapError::TooMany);
            }
            if !text.is_empty() {
                self.locations.push(text.to_owned());
            }
        }
        self.open.pop();
        self.ended = self.open.is_empty();
        Ok(())
    }

    fn finish(self) -> Result<Sitemap, SitemapError> {
        match self.kind {
            None if self.state == State::Text => Err(SitemapError::NoSitemap),
            _ if !self.ended || self.state != State::Text => Err(SitemapError::Cut),
            Some(Kind::Urls) => Ok(Sitemap::Urls(self.locations)),
            Some(Kind::Index) => Ok(Sitemap::Index(self.locations)),
            None => Err(SitemapError::NoSitemap),
        }
    }
}

/// For the decoder of gzip.
impl Write for Scanner {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        match self.push(piece) {
            Ok(()) => Ok(piece.len()),
            Err(error) => {
                self.error = Some(error);
                Err(std::io::Error::other(error))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The name of a tag without its prefix.
fn local_name(tag: &[u8]) -> &[u8] {
    let name = tag
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    name.rsplit(|byte| *byte == b':').next().unwrap_or_default()
}

/// XML 1.0 §4.6 and §4.1.
fn entity(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => {
            let digits = std::str::from_utf8(name).ok()?.strip_prefix('#')?;
            let number = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::Compression;
    use flate2::read::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const NAMESPACE: &str = "xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\"";

    fn read(document: &[u8], step: usize) -> Result<Sitemap, SitemapError> {
        let mut reader = Reader::new();
        for piece in document.chunks(step) {
            if !reader.push(piece) {
                break;
            }
        }
        reader.finish()
    }

    #[track_caller]
    fn check(document: &str, expect: &Result<Sitemap, SitemapError>) {
        for step in [1, 7, document.len().max(1)] {
            assert_eq!(&read(document.as_bytes(), step), expect, "{document}");
        }
        let mut packed = Vec::new();
        GzEncoder::new(document.as_bytes(), Compression::fast())
            .read_to_end(&mut packed)
            .unwrap();
        for step in [1, packed.len()] {
            assert_eq!(&read(&packed, step), expect, "gzip {document}");
        }
    }

    fn urls(list: &[&str]) -> Result<Sitemap, SitemapError> {
        Ok(Sitemap::Urls(
            list.iter().map(|&url| url.to_owned()).collect(),
        ))
    }

    #[test]
    fn pages_and_further_sitemaps_are_told_apart() {
        check(
            &format!(
                "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- <loc>no</loc> - -- -->\n\
                 <urlset {NAMESPACE}>\n<url>\n<loc> https://a/x?b=1&amp;c=%20&#38;&#x26; </loc>\n\
                 <lastmod>2026-01-01</lastmod></url><url><loc><![CDATA[https://a/]]]></loc>\
                 <priority/></url>\n<url/></urlset>\n"
            ),
            &urls(&["https://a/x?b=1&c=%20&&", "https://a/]"]),
        );
        check(
            "<s:sitemapindex xmlns:s='>'><s:sitemap><s:loc>https://a/1.xml.gz</s:loc></s:sitemap></s:sitemapindex>",
            &Ok(Sitemap::Index(vec!["https://a/1.xml.gz".to_owned()])),
        );
        check("<urlset></urlset>", &urls(&[]));
        check("<urlset/>", &urls(&[]));
    }

    #[test]
    fn addresses_of_extensions_are_not_pages() {
        check(
            "<urlset><url><loc>https://a/p</loc><image:image><image:loc>https://a/i</image:loc>\
             </image:image></url><loc>https://a/stray</loc></urlset>",
            &urls(&["https://a/p"]),
        );
    }

    #[test]
    fn what_is_no_sitemap_says_why() {
        check("", &Err(SitemapError::NoSitemap));
        check("<html><body/></html>", &Err(SitemapError::NoSitemap));
        check("https://a/\n", &Err(SitemapError::NoSitemap));
        check("<urlset><url><loc>https://a/", &Err(SitemapError::Cut));
        check("<urlset></urlset", &Err(SitemapError::Cut));
        check("<urlset></url>", &Err(SitemapError::Malformed));
        check("<urlset></urlset><urlset>", &Err(SitemapError::Malformed));
        check("<urlset>&nbsp;</urlset>", &Err(SitemapError::Malformed));
        check(
            "<!DOCTYPE urlset [<!ENTITY a \"b\">]><urlset/>",
            &Err(SitemapError::Doctype),
        );
    }

    #[test]
    fn a_damaged_gzip_stream_is_named() {
        let mut packed = Vec::new();
        GzEncoder::new(&b"<urlset></urlset>"[..], Compression::fast())
            .read_to_end(&mut packed)
            .unwrap();
        packed.truncate(packed.len() - 4);
        assert_eq!(read(&packed, 5), Err(SitemapError::Gzip));
        packed.truncate(12);
        packed.extend([0xff; 20]);
        assert_eq!(read(&packed, 5), Err(SitemapError::Gzip));
    }

    #[test]
    fn sizes_are_bounded_also_inside_gzip() {
        let deep = format!("<urlset>{}", "<a>".repeat(100));
        check(&deep, &Err(SitemapError::Malformed));
        let long = format!("<urlset><url><loc>{}", "x".repeat(9000));
        check(&long, &Err(SitemapError::TooMany));
        let mut bomb = Vec::new();
        GzEncoder::new(std::io::repeat(b' ').take(60 << 20), Compression::fast())
            .read_to_end(&mut bomb)
            .unwrap();
        assert!(bomb.len() < 1 << 20);
        assert_eq!(read(&bomb, 4096), Err(SitemapError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[<>/!&;a-c \\[\\]CDATA?-]{0,60}") {
            let whole = read(text.as_bytes(), usize::MAX);
            prop_assert_eq!(read(text.as_bytes(), 1), whole);
        }

        #[test]
        fn addresses_come_out_as_they_went_in(url in "https://a/[ -~]{0,40}") {
            let escaped = url.replace('&', "&amp;").replace('<', "&lt;");
            let document = format!("<urlset><url><loc>{escaped}</loc></url></urlset>");
            let expect = Ok(Sitemap::Urls(vec![url.trim().to_owned()]));
            prop_assert_eq!(read(document.as_bytes(), 3), expect);
        }
    }
}
