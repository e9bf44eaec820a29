use std::cmp::Reverse;

use bytes::Bytes;
use moxcms::{ColorProfile, ProfileText};
use serde_json::{Value, json};

use super::decode::Decoded;
use super::error::ImageError;
use super::looks::Looks;
use super::operate::Turn;
use super::placeholder::{blurhash, thumbhash};
use super::raster::{Channels, Raster};
use super::recipe::{Media, Picture};

/// The longer side of the picture that colours are counted in.
pub(super) const FACTS_SIDE: u32 = 128;

/// Of a profile's own name, so many characters are told.
const NAME_CHARS_MAX: usize = 64;

/// What is known of a picture, as JSON. `small` is it upright, in sRGB, and [`FACTS_SIDE`] large.
pub(super) fn facts(
    decoded: &Decoded,
    small: &Raster,
    source: &[u8],
) -> Result<Picture, ImageError> {
    let (width, height) = Turn::of(decoded.orientation).size(decoded.size);
    let frames = &decoded.film.frames;
    let has_alpha = frames.iter().any(|frame| is_open(&frame.raster));
    let duration: u64 = frames
        .iter()
        .map(|frame| u64::from(frame.milliseconds))
        .sum();
    let looks = match decoded.film.first() {
        Some(_) if !decoded.sniffed.is_lossless => Looks {
            is_drawn: false,
            because: "its format is lossy already",
        },
        Some(first) => Looks::of(first),
        None => Looks::of(small),
    };
    let palette = palette(small);
    let facts = json!({
        "format": decoded.sniffed.format.name(),
        "width": width,
        "height": height,
        "bytes": source.len(),
        "frames": frames.len(),
        "duration_ms": duration,
        "has_alpha": has_alpha,
        "orientation": decoded.orientation.to_exif(),
        "colour_profile": decoded.profile.as_deref().map_or_else(|| Value::from("srgb"), profile_name),
        "looks": if looks.is_drawn { "drawing" } else { "photograph" },
        "looks_because": looks.because,
        "dominant_colour": palette.first().copied().map(hex),
        "palette": palette.into_iter().map(hex).collect::<Vec<_>>(),
        "thumbhash": thumbhash(small)?,
        "blurhash": blurhash(small)?,
    });
    Ok(Picture {
        media: Media::Json,
        bytes: Bytes::from(facts.to_string()),
        width,
        height,
        may_improve: false,
        detail: format!("json;from={}", decoded.sniffed.format.name()),
    })
}

fn is_open(raster: &Raster) -> bool {
    let (quads, _) = raster.pixels.as_chunks::<4>();
    raster.has_alpha() && quads.iter().any(|[.., alpha]| *alpha != u8::MAX)
}

/// The name that an ICC profile gives itself; null when it cannot be read.
fn profile_name(profile: &[u8]) -> Value {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else {
        return Value::Null;
    };
    let name = match profile.description {
        Some(ProfileText::PlainString(text)) => text,
        Some(ProfileText::Localizable(texts)) => texts
            .into_iter()
            .next()
            .map(|text| text.value)
            .unwrap_or_default(),
        Some(ProfileText::Description(text)) if !text.ascii_string.is_empty() => text.ascii_string,
        Some(ProfileText::Description(text)) => text.unicode_string,
        None => String::new(),
    };
    let name = name.chars().filter(|c| !c.is_control());
    Value::from(name.take(NAME_CHARS_MAX).collect::<String>())
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Colours that a picture consists of, the one of the largest area first.
const PALETTE: usize = 5;

/// The means of groups of like colours (k-means, begun with the colours that lie furthest from each other, so that the
/// same picture gives the same colours).
fn palette(small: &Raster) -> Vec<[u8; 3]> {
    const ROUNDS: usize = 8;
    let colours = seen_colours(small);
    let mut means = far_apart(&colours);
    let mut counts = vec![0_u32; means.len()];
    for _ in 0..ROUNDS {
        let mut sums = vec![[0_u32; 4]; means.len()];
        for colour in &colours {
            let nearest = nearest(&means, *colour);
            if let Some([red, green, blue, count]) = sums.get_mut(nearest) {
                *red += u32::from(colour[0]);
                *green += u32::from(colour[1]);
                *blue += u32::from(colour[2]);
                *count += 1;
            }
        }
        counts = sums.iter().map(|[.., count]| *count).collect();
        for (mean, [red, green, blue, count]) in means.iter_mut().zip(sums) {
            if count > 0 {
                *mean = [red, green, blue].map(|sum| to_u8((sum + count / 2) / count));
            }
        }
    }
    let mut groups: Vec<_> = counts
        .into_iter()
        .zip(means)
        .filter(|(count, _)| *count > 0)
        .collect();
    groups.sort_by_key(|(count, _)| Reverse(*count));
    groups.into_iter().map(|(_, mean)| mean).collect()
}

/// The colours of what is more seen than transparent.
fn seen_colours(small: &Raster) -> Vec<[u8; 3]> {
    match small.channels {
        Channels::Grey => small.pixels.iter().map(|grey| [*grey; 3]).collect(),
        Channels::Rgb => small.pixels.as_chunks().0.to_vec(),
        Channels::Cmyk => small.inks_as_light().as_chunks().0.to_vec(),
        Channels::Rgba => {
            let (quads, _) = small.pixels.as_chunks::<4>();
            let seen = quads.iter().filter(|[.., alpha]| *alpha >= 128);
            seen.map(|[r, g, b, _]| [*r, *g, *b]).collect()
        }
    }
}

/// First the colour nearest to the mean, then always the one furthest from all taken so far.
fn far_apart(colours: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let count = u32::try_from(colours.len()).unwrap_or(u32::MAX).max(1);
    let sum = |channel: fn(&[u8; 3]) -> u8| -> u32 {
        colours
            .iter()
            .map(|colour| u32::from(channel(colour)))
            .sum()
    };
    let mean = [sum(|c| c[0]), sum(|c| c[1]), sum(|c| c[2])].map(|sum| to_u8(sum / count));
    let mut taken: Vec<[u8; 3]> = Vec::new();
    taken.extend(colours.iter().min_by_key(|colour| distance(**colour, mean)));
    let mut distances: Vec<u32> = vec![u32::MAX; colours.len()];
    while let Some(last) = taken.last().copied()
        && taken.len() < PALETTE
    {
        for (least, colour) in distances.iter_mut().zip(colours) {
            *least = (*least).min(distance(*colour, last));
        }
        let furthest = distances
            .iter()
            .zip(colours)
            .max_by_key(|(least, _)| **least);
        match furthest {
            Some((least, colour)) if *least > 0 => taken.push(*colour),
            _ => break,
        }
    }
    taken
}

fn nearest(means: &[[u8; 3]], colour: [u8; 3]) -> usize {
    let distances = means.iter().map(|mean| distance(*mean, colour)).enumerate();
    distances
        .min_by_key(|(_, distance)| *distance)
        .map_or(0, |(place, _)| place)
}

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    let squares = a
        .into_iter()
        .zip(b)
        .map(|(a, b)| u32::from(a.abs_diff(b)).pow(2));
    squares.sum()
}

fn to_u8(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(areas: &[([u8; 4], usize)]) -> Raster {
        let pixels: Vec<u8> = areas
            .iter()
            .flat_map(|(colour, count)| colour.repeat(*count))
            .collect();
        Raster {
            width: u32::try_from(pixels.len() / 4).unwrap(),
            height: 1,
            channels: Channels::Rgba,
            pixels,
        }
    }

    #[test]
    fn the_palette_names_areas_by_size() {
        let picture = areas(&[
            ([200, 0, 0, 255], 10),
            ([0, 0, 200, 255], 50),
            ([0, 200, 0, 255], 20),
            ([90, 90, 90, 0], 500),
        ]);
        assert_eq!(palette(&picture), [[0, 0, 200], [0, 200, 0], [200, 0, 0]]);
        assert_eq!(palette(&areas(&[([1, 2, 3, 255], 4)])), [[1, 2, 3]]);
        assert!(palette(&areas(&[([1, 2, 3, 0], 4)])).is_empty());
    }

    #[test]
    fn many_colours_become_five() {
        let ramp: Vec<_> = (0..250).map(|n| ([n, n, n, 255], 1)).collect();
        let found = palette(&areas(&ramp));
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|[r, g, b]| r == g && g == b));
    }

    #[test]
    fn profiles_tell_their_names() {
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        assert_eq!(profile_name(&p3), "Display P3");
        assert_eq!(profile_name(b"junk"), Value::Null);
    }
}
