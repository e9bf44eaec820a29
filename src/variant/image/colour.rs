use moxcms::{ColorProfile, DataColorSpace, Layout, ProfileText, TransformOptions};

use super::error::ImageError;
use super::raster::{Channels, Raster};

/// Brings pixels of another colour profile to sRGB, because the result carries none.
///
/// A profile that cannot be read, or that is for other channels than these, is ignored as browsers do.
/// One that can be read but not be followed makes the picture pass through, rather than change colour.
pub(super) fn to_srgb(raster: Raster, profile: Option<&[u8]>) -> Result<Raster, ImageError> {
    let Some(profile) = profile.and_then(|icc| ColorProfile::new_from_slice(icc).ok()) else {
        return Ok(raster);
    };
    let (from, to, channels) = match (profile.color_space, raster.channels) {
        (DataColorSpace::Rgb, Channels::Rgb) => (Layout::Rgb, Layout::Rgb, Channels::Rgb),
        (DataColorSpace::Rgb, Channels::Rgba) => (Layout::Rgba, Layout::Rgba, Channels::Rgba),
        (DataColorSpace::Gray, Channels::Grey) => (Layout::Gray, Layout::Rgb, Channels::Rgb),
        _ => return Ok(raster),
    };
    if says_srgb(&profile) {
        return Ok(raster);
    }
    let options = TransformOptions::default();
    let pixels = raster.pixels.len() / raster.channels.count();
    let mut converted = vec![0; pixels * channels.count()];
    profile
        .create_transform_8bit(from, &ColorProfile::new_srgb(), to, options)
        .and_then(|transform| transform.transform(&raster.pixels, &mut converted))
        .map_err(|_| ImageError::Unsupported {
            what: "a colour profile",
        })?;
    Ok(Raster {
        channels,
        pixels: converted,
        ..raster
    })
}

/// Most profiles out there are sRGB under its own name: their pixels stay exact.
fn says_srgb(profile: &ColorProfile) -> bool {
    let named = |text: &str| text.contains("sRGB");
    match &profile.description {
        Some(ProfileText::PlainString(text)) => named(text),
        Some(ProfileText::Localizable(texts)) => texts.iter().any(|text| named(&text.value)),
        Some(ProfileText::Description(text)) => {
            named(&text.ascii_string) || named(&text.unicode_string)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red(channels: Channels) -> Raster {
        let pixels = match channels {
            Channels::Grey => vec![100, 200],
            Channels::Rgb => vec![200, 50, 50, 10, 250, 10],
            Channels::Rgba => vec![200, 50, 50, 255, 10, 250, 10, 7],
        };
        Raster {
            width: 2,
            height: 1,
            channels,
            pixels,
        }
    }

    #[test]
    fn wide_colours_are_brought_to_srgb() {
        let icc = ColorProfile::new_display_p3().encode().unwrap();
        let found = to_srgb(red(Channels::Rgb), Some(&icc)).unwrap();
        let [r, g, ..] = found.pixels[..] else {
            panic!()
        };
        assert!(
            r > 205 && g < 45,
            "P3 red is further out: {:?}",
            found.pixels
        );

        let with_alpha = to_srgb(red(Channels::Rgba), Some(&icc)).unwrap();
        assert_eq!((with_alpha.pixels[3], with_alpha.pixels[7]), (255, 7));
    }

    #[test]
    fn a_grey_profile_is_followed() {
        let icc = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let found = to_srgb(red(Channels::Grey), Some(&icc)).unwrap();
        assert_eq!(found.channels, Channels::Rgb);
        assert!(
            found.pixels[0] > 150,
            "linear light is darker: {:?}",
            found.pixels
        );
    }

    #[test]
    fn other_profiles_change_nothing() {
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        let grey = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        for icc in [None, Some(&srgb[..]), Some(&grey), Some(b"junk")] {
            assert_eq!(to_srgb(red(Channels::Rgb), icc), Ok(red(Channels::Rgb)));
        }
    }
}
