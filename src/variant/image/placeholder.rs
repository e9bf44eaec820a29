/// Something small to paint in a picture's place until it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// ThumbHash (evanw.github.io/thumbhash) in base64.
    Thumbhash,
    /// BlurHash (blurha.sh), 4 × 3 parts or 3 × 4.
    Blurhash,
    /// A tiny picture.
    Lqip,
}

impl Placeholder {
    /// As it is written in a URL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Thumbhash => "thumbhash",
            Self::Blurhash => "blurhash",
            Self::Lqip => "lqip",
        }
    }
}
