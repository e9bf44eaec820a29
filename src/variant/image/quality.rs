use super::super::config::{ImageFormat, ImageWorkers};
use super::cook::Watch;
use super::decode::{Demand, open};
use super::encode::{Output, encode};
use super::error::ImageError;
use super::film::Film;
use super::metadata::Metadata;
use super::operate::luma;
use super::raster::{Channels, Raster};
use super::sniff::sniff;

/// Pictures of more pixels keep the default quality: each try would take seconds.
const SEARCHED_PIXELS_MAX: u64 = 4_000_000;
/// Files that a search makes, at most.
const TRIES_MAX: usize = 4;
/// What a picture should come to, on the scale of SSIMULACRA2: 70 is "high quality".
const WANTED_SCORE: f64 = 72.0;
/// So near is near enough: less cannot be seen, and the score is no more exact.
const TOLERANCE: f64 = 1.0;
/// What one step of quality changes in the score, before two tries have told.
const SCORE_PER_STEP: f64 = 0.7;
/// Where a search ends.
const QUALITIES: (u8, u8) = (25, 95);

/// Whether the quality of such a file can be searched for.
pub(super) fn can_be_searched(film: &Film, output: &Output) -> bool {
    let is_lossy = match output.format {
        ImageFormat::Webp => !output.is_lossless,
        ImageFormat::Jpeg | ImageFormat::Avif => true,
        ImageFormat::Png | ImageFormat::Gif => false,
    };
    let pixels = film.first().map_or(u64::MAX, Raster::pixel_count);
    is_lossy && !film.is_animated() && pixels <= SEARCHED_PIXELS_MAX
}

/// Encodes at the quality at which the picture looks as good as wanted: an easy picture gets smaller than at
/// the default quality, from which the search begins, and a hard one better.
pub(super) fn encode_searched<W: Watch>(
    film: &Film,
    output: Output,
    metadata: &Metadata,
    limits: &ImageWorkers,
    watch: &W,
) -> Result<Vec<u8>, ImageError> {
    let Some(reference) = film.first() else {
        return encode(film, &output, metadata);
    };
    let mut tries: Vec<Try> = Vec::new();
    let mut quality = output.quality;
    loop {
        watch.check()?;
        let file = encode(film, &Output { quality, ..output }, metadata)?;
        let Some(score) = score_of(reference, &file, limits) else {
            // What cannot be judged keeps the quality that it would have had.
            return Ok(file);
        };
        tries.push(Try {
            quality,
            score,
            file,
        });
        match next(&tries) {
            Some(next) if tries.len() < TRIES_MAX => quality = next,
            _ => break,
        }
    }
    let failed = || ImageError::Encode {
        detail: "no quality was tried".to_owned(),
    };
    best(tries).ok_or_else(failed)
}

struct Try {
    quality: u8,
    score: f64,
    file: Vec<u8>,
}

/// The quality to try next; `None` when one that was tried is right, or there is no other.
fn next(tries: &[Try]) -> Option<u8> {
    let last = tries.last()?;
    if (last.score - WANTED_SCORE).abs() <= TOLERANCE {
        return None;
    }
    // Between the nearest on both sides, or onwards along the line through the last two.
    let below = tries
        .iter()
        .filter(|tried| tried.score < WANTED_SCORE)
        .max_by_key(|tried| tried.quality);
    let above = tries
        .iter()
        .filter(|tried| tried.score >= WANTED_SCORE)
        .min_by_key(|tried| tried.quality);
    let (from, to) = match (below, above, tries) {
        (Some(below), Some(above), _) => (below, above),
        (_, _, [.., before, last]) => (before, last),
        (_, _, _) => (last, last),
    };
    let steps = f64::from(to.quality) - f64::from(from.quality);
    let slope = if steps == 0.0 {
        SCORE_PER_STEP
    } else {
        ((to.score - from.score) / steps).clamp(0.2, 3.0)
    };
    let wanted = f64::from(to.quality) + (WANTED_SCORE - to.score) / slope;
    let next = rounded(wanted).clamp(QUALITIES.0, QUALITIES.1);
    tries
        .iter()
        .all(|tried| tried.quality != next)
        .then_some(next)
}

/// The smallest that is good enough, or else the best there is.
fn best(tries: Vec<Try>) -> Option<Vec<u8>> {
    let is_good = |tried: &Try| tried.score >= WANTED_SCORE - TOLERANCE;
    let chosen = if tries.iter().any(is_good) {
        let good = tries.into_iter().filter(is_good);
        good.min_by_key(|tried| tried.file.len())
    } else {
        tries.into_iter().max_by(|a, b| a.score.total_cmp(&b.score))
    };
    chosen.map(|tried| tried.file)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
fn rounded(quality: f64) -> u8 {
    quality.round() as u8
}

fn score_of(reference: &Raster, file: &[u8], limits: &ImageWorkers) -> Option<f64> {
    const WHOLE: Demand = Demand {
        reduction: 1,
        all_frames: false,
    };
    let sniffed = sniff(file, None).ok()?;
    let opened = open(file, &sniffed, limits).ok()?;
    let decoded = opened.decode(WHOLE, &|| Ok(())).ok()?;
    score(reference, decoded.film.first()?)
}

/// How like two pictures of one size are, by their luma. `None` for pictures too small to tell.
///
/// The mean structural similarity (Z. Wang et al., 2004, over windows of 8 × 8) at a half and at a quarter of the
/// size, where the eye looks at a page, brought to the scale of SSIMULACRA2 by a line through 150 files (seven
/// photographs and two screenshots at 320 and 800 px as JPEG, WebP and AVIF of quality 20 to 90): from 40
/// to 92 it is off by 1.9 (root of the mean square), at a small part of that metric's work.
fn score(reference: &Raster, other: &Raster) -> Option<f64> {
    const PERFECT: f64 = 105.1;
    const SLOPE: f64 = 252.2;
    if (reference.width, reference.height) != (other.width, other.height) {
        return None;
    }
    let halves = (Plane::of(reference).halved()?, Plane::of(other).halved()?);
    let quarters = (halves.0.halved()?, halves.1.halved()?);
    let unlike = halves.0.unlike(&halves.1)? + quarters.0.unlike(&quarters.1)?;
    Some((PERFECT - SLOPE * unlike.max(0.0).sqrt()).min(100.0))
}

/// The luma of a picture.
struct Plane {
    width: usize,
    values: Vec<u8>,
}

impl Plane {
    fn of(raster: &Raster) -> Self {
        let values = match raster.channels {
            Channels::Grey => raster.pixels.clone(),
            Channels::Rgb | Channels::Rgba | Channels::Cmyk => {
                let rgb = raster.rgb_on_white();
                rgb.as_chunks().0.iter().copied().map(luma).collect()
            }
        };
        Self {
            width: usize::try_from(raster.width).unwrap_or(usize::MAX),
            values,
        }
    }

    /// At half the size; `None` when nothing would be left.
    fn halved(&self) -> Option<Self> {
        let width = self.width / 2;
        let mut values = Vec::with_capacity(self.values.len() / 4);
        for pair in self.values.chunks_exact(self.width.checked_mul(2)?) {
            let (above, below) = pair.split_at_checked(self.width)?;
            let (above, _) = above.as_chunks::<2>();
            let (below, _) = below.as_chunks::<2>();
            values.extend(above.iter().zip(below).map(|([a, b], [c, d])| {
                let sum = u16::from(*a) + u16::from(*b) + u16::from(*c) + u16::from(*d);
                u8::try_from((sum + 2) / 4).unwrap_or(u8::MAX)
            }));
        }
        (!values.is_empty() && width > 0).then_some(Self { width, values })
    }

    /// The mean of 1 − SSIM over windows that lie half over each other.
    fn unlike(&self, other: &Self) -> Option<f64> {
        const SIDE: usize = 8;
        const STEP: usize = 4;
        let (mut sum, mut count) = (0.0, 0_u32);
        let rows: Vec<(&[u8], &[u8])> = self
            .values
            .chunks_exact(self.width)
            .zip(other.values.chunks_exact(self.width))
            .collect();
        for window in rows.windows(SIDE).step_by(STEP) {
            for left in (0..(self.width + 1).saturating_sub(SIDE)).step_by(STEP) {
                let mut sums = [0_u32; 5];
                for (a, b) in window {
                    let a = a.get(left..left + SIDE)?;
                    let b = b.get(left..left + SIDE)?;
                    for (a, b) in a.iter().zip(b) {
                        let (a, b) = (u32::from(*a), u32::from(*b));
                        let values = [a, b, a * a, b * b, a * b];
                        for (sum, value) in sums.iter_mut().zip(values) {
                            *sum += value;
                        }
                    }
                }
                sum += unlikeness(sums);
                count += 1;
            }
        }
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// 1 − SSIM of a window, from the sums over its 64 places of both values, their squares and their product.
fn unlikeness(sums: [u32; 5]) -> f64 {
    const PLACES: f64 = 64.0;
    /// (0.01 × 255)² and (0.03 × 255)², as the paper has them.
    const SMALL: (f64, f64) = (6.5025, 58.5225);
    let [a, b, aa, bb, ab] = sums.map(|sum| f64::from(sum) / PLACES);
    let (variances, covariance) = (aa - a * a + bb - b * b, ab - a * b);
    let light = (2.0 * a * b + SMALL.0) / (a * a + b * b + SMALL.0);
    let shape = (2.0 * covariance + SMALL.1) / (variances + SMALL.1);
    1.0 - light * shape
}

#[cfg(test)]
mod tests {
    use super::super::encode::Effort;
    use super::super::testing;
    use super::*;

    struct Free;

    impl Watch for Free {
        type Reserved = ();

        fn reserve(&self, _: u64) -> Result<(), ImageError> {
            Ok(())
        }

        fn check(&self) -> Result<(), ImageError> {
            Ok(())
        }
    }

    fn tried(quality: u8, score: f64, bytes: usize) -> Try {
        Try {
            quality,
            score,
            file: vec![0; bytes],
        }
    }

    #[test]
    fn the_search_goes_to_where_the_score_is_right() {
        // A picture whose score rises by half a point a step.
        for wanted_quality in [30_u8, 60, 78, 90] {
            let score =
                |quality: u8| WANTED_SCORE + (f64::from(quality) - f64::from(wanted_quality)) * 0.5;
            let mut tries = vec![tried(78, score(78), 78)];
            while let Some(quality) = next(&tries)
                && tries.len() < TRIES_MAX
            {
                tries.push(tried(quality, score(quality), quality.into()));
            }
            let found = u8::try_from(best(tries).unwrap().len()).unwrap();
            assert!(
                found.abs_diff(wanted_quality) <= 2,
                "{found}, {wanted_quality}"
            );
        }
    }

    #[test]
    fn searches_end_at_the_ends() {
        let high = [tried(80, 99.0, 9), tried(25, 90.0, 2)];
        assert_eq!(next(&high), None);
        let low = [tried(80, 10.0, 9), tried(95, 20.0, 12)];
        assert_eq!(next(&low), None);
        assert_eq!(best(high.into()).unwrap().len(), 2, "the smallest");
        assert_eq!(best(low.into()).unwrap().len(), 12, "the best");
    }

    fn raster(picture: &image::DynamicImage) -> Raster {
        Raster {
            width: picture.width(),
            height: picture.height(),
            channels: Channels::Rgb,
            pixels: picture.to_rgb8().into_raw(),
        }
    }

    #[test]
    fn scores_fall_with_the_damage() {
        let picture = raster(&testing::noise(120, 90));
        assert_eq!(score(&picture, &picture), Some(100.0));
        let mut last = 101.0;
        for blur in [1, 3, 6, 12] {
            let operations = super::super::operations::Operations {
                blur,
                ..Default::default()
            };
            let soft = super::super::operate::tone(picture.clone(), &operations);
            let found = score(&picture, &soft).unwrap();
            assert!(found < last, "{blur}: {found}");
            last = found;
        }
        let tiny = raster(&testing::noise(9, 9));
        assert_eq!(score(&tiny, &tiny), None, "too small to tell");
    }

    #[test]
    fn easy_pictures_get_smaller_and_all_stay_good() {
        let picture = raster(&testing::noise(160, 120));
        let film = Film::still(picture.clone());
        for format in [ImageFormat::Jpeg, ImageFormat::Webp] {
            let output = Output {
                format,
                quality: 95,
                is_lossless: false,
                is_progressive: false,
                effort: Effort::Best,
            };
            assert!(can_be_searched(&film, &output));
            let limits = ImageWorkers::default();
            let metadata = Metadata::default();
            let file = encode_searched(&film, output, &metadata, &limits, &Free).unwrap();
            let default = encode(&film, &output, &metadata).unwrap();
            assert!(file.len() < default.len());
            let found = score_of(&picture, &file, &limits).unwrap();
            assert!(found >= WANTED_SCORE - TOLERANCE, "{format:?}: {found}");
        }
    }
}
