/// What of a source's metadata goes into a result. Where a picture was taken never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Keep {
    /// Nothing.
    None,
    /// Who made it and who owns it.
    #[default]
    Copyright,
    /// All but places.
    All,
}

/// What a file says besides its pixels, as it may be written into a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// A TIFF structure as in JPEG's `Exif` segment, without that segment's six bytes of name.
    pub(super) exif: Option<Vec<u8>>,
}
