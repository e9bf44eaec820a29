mod exif;
mod strip;

use image::metadata::Orientation;

pub(super) use self::strip::strip;

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

impl Metadata {
    /// What may go into a result, whose pixels stand upright.
    pub(super) fn kept(&self, keep: Keep) -> Self {
        let exif = self.exif.as_deref();
        Self {
            exif: exif.and_then(|exif| exif::rebuilt(exif, keep, None)),
        }
    }
}

/// How the camera was held, if Exif can be read and says so.
pub(super) fn orientation_of(exif: &[u8]) -> Option<Orientation> {
    exif::orientation(exif).and_then(Orientation::from_exif)
}

/// Whether the values of a TIFF's first folder lie within the file.
pub(super) fn is_sound_tiff(source: &[u8]) -> bool {
    exif::is_sound(source)
}
