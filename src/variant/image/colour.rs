use std::sync::Arc;

use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout, MatrixCoefficients,
    ParsingOptions, RenderingIntent, TransferCharacteristics, Transform8BitExecutor,
    TransformOptions,
};

use super::error::ImageError;
use super::raster::{Channels, Raster};

/// Brings pixels of another colour profile to sRGB, because the result carries none.
///
/// A profile that cannot be read, or that is for other channels than these, is ignored as browsers do.
/// One that can be read but not be followed makes the picture pass through, rather than change colour.
pub(super) fn to_srgb(raster: Raster, profile: Option<&[u8]>) -> Result<Raster, ImageError> {
    match (profile.and_then(profile_of), raster.channels) {
        (Some(profile), channels) if fits(&profile, channels) => follow(&profile, raster),
        (Some(profile), Channels::Rgb | Channels::Rgba)
            if profile.color_space == DataColorSpace::Gray =>
        {
            follow_spread(&profile, raster)
        }
        (_, Channels::Cmyk) => Ok(Raster {
            channels: Channels::Rgb,
            pixels: raster.inks_as_light(),
            ..raster
        }),
        (_, Channels::Grey | Channels::Rgb | Channels::Rgba) => Ok(raster),
    }
}

/// The profile of an enumerated colour space (ITU-T H.273): none for sRGB and for what is not said.
///
/// # Errors
///
/// `Unsupported` for light beyond white (PQ, HLG) and for spaces that we do not know.
pub(super) fn coded_profile(primaries: u8, transfer: u8) -> Result<Option<Vec<u8>>, ImageError> {
    const UNSPECIFIED: u8 = 2;
    // BT.709 and its like are shown as sRGB by browsers: their curve is that of cameras, not of displays.
    let is_camera = matches!(transfer, 1 | UNSPECIFIED | 6 | 13 | 14 | 15);
    if matches!(primaries, 1 | UNSPECIFIED) && is_camera {
        return Ok(None);
    }
    let primaries = match primaries {
        1 | UNSPECIFIED => CicpColorPrimaries::Bt709,
        5 => CicpColorPrimaries::Bt470Bg,
        6 | 7 => CicpColorPrimaries::Bt601,
        9 => CicpColorPrimaries::Bt2020,
        12 => CicpColorPrimaries::Smpte432,
        _ => return Err(unknown()),
    };
    let transfer = match transfer {
        _ if is_camera => TransferCharacteristics::Srgb,
        4 => TransferCharacteristics::Bt470M,
        5 => TransferCharacteristics::Bt470Bg,
        8 => TransferCharacteristics::Linear,
        _ => return Err(unknown()),
    };
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries: primaries,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    profile.encode().map(Some).map_err(|_| unknown())
}

fn unknown() -> ImageError {
    ImageError::Unsupported {
        what: "a colour profile",
    }
}

fn profile_of(icc: &[u8]) -> Option<ColorProfile> {
    /// Samples of one table; presses have grids of 17 steps a channel, 250 000 samples.
    const TABLE_MAX: usize = 4 << 20;
    let options = ParsingOptions {
        max_allowed_clut_size: TABLE_MAX,
        ..ParsingOptions::default()
    };
    ColorProfile::new_from_slice_with_options(icc, options).ok()
}

fn fits(profile: &ColorProfile, channels: Channels) -> bool {
    matches!(
        (profile.color_space, channels),
        (DataColorSpace::Rgb, Channels::Rgb | Channels::Rgba)
            | (DataColorSpace::Gray, Channels::Grey)
            | (DataColorSpace::Cmyk, Channels::Cmyk)
    )
}

fn follow(profile: &ColorProfile, raster: Raster) -> Result<Raster, ImageError> {
    let (from, to, channels) = match raster.channels {
        Channels::Rgb => (Layout::Rgb, Layout::Rgb, Channels::Rgb),
        Channels::Rgba => (Layout::Rgba, Layout::Rgba, Channels::Rgba),
        Channels::Grey => (Layout::Gray, Layout::Rgb, Channels::Rgb),
        Channels::Cmyk => (Layout::Rgba, Layout::Rgb, Channels::Rgb),
    };
    let options = TransformOptions {
        rendering_intent: RenderingIntent::Perceptual,
        ..TransformOptions::default()
    };
    let transform = profile
        .create_transform_8bit(from, &ColorProfile::new_srgb(), to, options)
        .map_err(|_| unknown())?;
    if changes_nothing(&transform, raster.channels)? {
        return Ok(raster);
    }
    let pixels = raster.pixels.len() / raster.channels.count();
    let mut converted = vec![0; pixels * channels.count()];
    transform
        .transform(&raster.pixels, &mut converted)
        .map_err(|_| unknown())?;
    if raster.channels == Channels::Grey {
        return Ok(grey_again(&raster, &converted));
    }
    Ok(Raster {
        channels,
        pixels: converted,
        ..raster
    })
}

/// A profile of grey for what a decoder has given three channels, because there is alpha beside. Colours have none.
fn follow_spread(profile: &ColorProfile, mut raster: Raster) -> Result<Raster, ImageError> {
    let count = raster.channels.count();
    let is_grey = |pixel: &[u8]| matches!(pixel, [r, g, b, ..] if r == g && g == b);
    if !raster.pixels.chunks_exact(count).all(is_grey) {
        return Ok(raster);
    }
    let grey = Raster {
        channels: Channels::Grey,
        pixels: raster.pixels.iter().step_by(count).copied().collect(),
        ..raster
    };
    let grey = follow(profile, grey)?;
    for (pixel, grey) in raster.pixels.chunks_exact_mut(count).zip(&grey.pixels) {
        if let Some(colours) = pixel.first_chunk_mut::<3>() {
            *colours = [*grey; 3];
        }
    }
    Ok(raster)
}

/// Grey stays grey: its three channels are the same but for rounding.
fn grey_again(raster: &Raster, rgb: &[u8]) -> Raster {
    let (triples, _) = rgb.as_chunks::<3>();
    Raster {
        width: raster.width,
        height: raster.height,
        channels: Channels::Grey,
        pixels: triples.iter().map(|[_, green, _]| *green).collect(),
    }
}

/// Most profiles out there are sRGB under one name or another, and their pixels should stay exact. What a
/// profile is called says little (and may be wrong), so it is asked for some colours.
fn changes_nothing(
    transform: &Arc<Transform8BitExecutor>,
    channels: Channels,
) -> Result<bool, ImageError> {
    const STEPS: [u8; 6] = [0, 30, 77, 128, 200, 255];
    let probe: Vec<[u8; 3]> = STEPS
        .iter()
        .flat_map(|r| STEPS.iter().map(move |g| (*r, *g)))
        .flat_map(|(r, g)| STEPS.iter().map(move |b| [r, g, *b]))
        .collect();
    let mut found = vec![0; probe.len() * 3];
    let asked: Vec<u8> = match channels {
        Channels::Cmyk => return Ok(false),
        Channels::Rgb => probe.concat(),
        Channels::Rgba => {
            found = vec![0; probe.len() * 4];
            probe
                .iter()
                .flat_map(|[r, g, b]| [*r, *g, *b, u8::MAX])
                .collect()
        }
        Channels::Grey => (0..=u8::MAX).cycle().take(probe.len()).collect(),
    };
    transform
        .transform(&asked, &mut found)
        .map_err(|_| unknown())?;
    let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
    Ok(match channels {
        Channels::Grey => {
            let (triples, _) = found.as_chunks::<3>();
            triples
                .iter()
                .zip(&asked)
                .all(|([r, ..], grey)| near((r, grey)))
        }
        Channels::Rgb | Channels::Rgba | Channels::Cmyk => asked.iter().zip(&found).all(near),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red(channels: Channels) -> Raster {
        let pixels = match channels {
            Channels::Grey => vec![100, 200],
            Channels::Rgb => vec![200, 50, 50, 10, 250, 10],
            Channels::Rgba => vec![200, 50, 50, 255, 10, 250, 10, 7],
            Channels::Cmyk => vec![0, 255, 255, 0, 0, 0, 0, 128],
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
        assert_eq!(found.channels, Channels::Grey, "grey stays grey");
        assert!(
            found.pixels[0] > 150,
            "linear light is darker: {:?}",
            found.pixels
        );
    }

    #[test]
    fn a_grey_profile_is_followed_where_there_is_alpha() {
        let icc = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let alone = to_srgb(red(Channels::Grey), Some(&icc)).unwrap();
        let [dark, light] = alone.pixels[..] else {
            panic!()
        };
        let spread = Raster {
            pixels: vec![100, 100, 100, 9, 200, 200, 200, 255],
            ..red(Channels::Rgba)
        };
        let found = to_srgb(spread, Some(&icc)).unwrap();
        assert_eq!(
            found.pixels,
            [dark, dark, dark, 9, light, light, light, 255]
        );
    }

    #[test]
    fn ink_without_a_profile_is_shown_as_browsers_do() {
        let found = to_srgb(red(Channels::Cmyk), None).unwrap();
        assert_eq!(found.channels, Channels::Rgb);
        assert_eq!(found.pixels, [255, 0, 0, 127, 127, 127]);
    }

    #[test]
    fn codes_of_colour_spaces_make_profiles() {
        assert_eq!(coded_profile(1, 13), Ok(None));
        assert_eq!(coded_profile(2, 2), Ok(None));
        assert_eq!(coded_profile(1, 1), Ok(None));
        let p3 = coded_profile(12, 13).unwrap().unwrap();
        let named = ColorProfile::new_display_p3().encode().unwrap();
        let by_code = to_srgb(red(Channels::Rgb), Some(&p3)).unwrap();
        let by_name = to_srgb(red(Channels::Rgb), Some(&named)).unwrap();
        let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
        assert!(by_code.pixels.iter().zip(&by_name.pixels).all(near));
        assert!(coded_profile(9, 16).is_err() && coded_profile(77, 13).is_err());
    }

    #[test]
    fn a_name_does_not_make_a_profile_srgb() {
        let mut p3 = ColorProfile::new_display_p3();
        p3.description = ColorProfile::new_srgb().description;
        let found = to_srgb(red(Channels::Rgb), Some(&p3.encode().unwrap())).unwrap();
        assert_ne!(found, red(Channels::Rgb));
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
