/// What stands in for a picture until it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placeholder {
    /// <https://evanw.github.io/thumbhash/>
    ThumbHash,
    /// <https://blurha.sh/>
    BlurHash,
    /// A tiny picture.
    Lqip,
}

impl Placeholder {
    /// Its name in a URL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ThumbHash => "thumbhash",
            Self::BlurHash => "blurhash",
            Self::Lqip => "lqip",
        }
    }
}
