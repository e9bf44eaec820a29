//! What parameters come to together: the one value, and the one spelling, of requests for the same thing.

use std::fmt;

use super::super::super::config::{ImageConfig, ImageFormat};
use super::super::metadata::Keep;
use super::super::operations::{
    Crop, Fit, Flip, Gravity, Hundredths, Length, Operations, Quarters,
};
use super::super::placeholder::Placeholder;
use super::draft::{AskedFormat, Draft};
use super::values::{RATIO_ONE, WHOLE};
use super::{Wish, WishedFormat};

impl Draft {
    /// The wish that this comes to; presets are resolved already.
    pub(super) fn wish(&self, config: &ImageConfig) -> Wish {
        let AskedFormat {
            format,
            is_progressive,
        } = self.asked_format(config);
        let wish = Wish {
            operations: self.operations(config),
            quality: self.quality.flatten(),
            is_quality_searched: self.quality == Some(None),
            format,
            is_progressive,
            metadata: self.metadata,
            placeholder: self.placeholder,
        };
        if let Some(placeholder) = wish.placeholder {
            let format = match (placeholder, format) {
                (Placeholder::ThumbHash | Placeholder::BlurHash, _) => WishedFormat::Original,
                (Placeholder::Lqip, WishedFormat::Facts) => WishedFormat::Negotiated,
                (Placeholder::Lqip, format) => format,
            };
            // As small as it is, it has a quality of its own.
            return Wish {
                operations: wish.operations,
                placeholder: wish.placeholder,
                format,
                ..Wish::default()
            };
        }
        match format {
            // The facts are those of the original.
            WishedFormat::Facts => Wish {
                format,
                ..Wish::default()
            },
            // They have no quality, and a GIF has no metadata.
            WishedFormat::Exactly(ImageFormat::Png | ImageFormat::Gif) => Wish {
                quality: None,
                is_quality_searched: false,
                metadata: wish
                    .metadata
                    .filter(|_| format != WishedFormat::Exactly(ImageFormat::Gif)),
                ..wish
            },
            WishedFormat::Original | WishedFormat::Negotiated | WishedFormat::Exactly(_) => wish,
        }
    }

    /// The pixel ratio, if a box is there to be multiplied.
    pub(super) fn applied_ratio(&self) -> Option<u32> {
        let has_box = self.width.is_some() || self.height.is_some();
        self.dpr.filter(|ratio| *ratio != RATIO_ONE && has_box)
    }

    fn asked_format(&self, config: &ImageConfig) -> AskedFormat {
        let of_site = if config.auto {
            WishedFormat::Negotiated
        } else {
            WishedFormat::Original
        };
        let plain = |format| AskedFormat {
            format,
            is_progressive: false,
        };
        match (self.negotiation, self.format) {
            (Some(()), _) => plain(WishedFormat::Negotiated),
            (None, Some(asked)) => asked,
            (None, None) => plain(of_site),
        }
    }

    fn operations(&self, config: &ImageConfig) -> Operations {
        let ratio = self.dpr.unwrap_or(RATIO_ONE);
        let (width, height) = bounded_box(config, self.width, self.height, ratio);
        let is_closed = width.is_some() && height.is_some();
        let fit = match self.fit {
            Some(fit) if is_closed => fit,
            // A box that is open on one side is filled by containing.
            _ => Fit::Contain,
        };
        let gravity = match (fit, self.asked_gravity()) {
            (Fit::Cover, gravity) | (Fit::Pad, gravity @ Gravity::Point(..)) => gravity,
            // Nothing is cut off, and nothing is looked for in what is there whole.
            (Fit::Pad | Fit::Contain | Fit::Fill, _) => Gravity::default(),
        };
        let (rotate, flip) = turned(
            self.rotate.unwrap_or_default(),
            self.flip.unwrap_or_default(),
        );
        let factor = |factor: Option<u16>| factor.map_or_else(Hundredths::default, Hundredths);
        // Cloudflare Images: "0 is ignored".
        let unless_zero = |value: Option<u16>| factor(value.filter(|value| *value != 0));
        Operations {
            crop: self.crop.map(spelled).filter(|crop| *crop != WHOLE_PICTURE),
            rotate,
            flip,
            width,
            height,
            fit,
            gravity,
            upscale: self.upscale.unwrap_or(false) && (width.is_some() || height.is_some()),
            background: self.asked_background(fit),
            blur: self.blur.unwrap_or(0),
            sharpen: self.sharpen.unwrap_or(0),
            brightness: unless_zero(self.brightness),
            contrast: unless_zero(self.contrast),
            saturation: factor(self.saturation),
            still: self.is_animated == Some(false),
        }
    }

    fn asked_gravity(&self) -> Gravity {
        match (self.gravity, self.focus_x, self.focus_y) {
            (Some(gravity), ..) => gravity,
            (None, x, y) => Gravity::Point(x.unwrap_or(500), y.unwrap_or(500)),
        }
    }

    /// Behind transparency, what is transparent shows nothing; in a pad it is the pad's colour.
    fn asked_background(&self, fit: Fit) -> Option<[u8; 4]> {
        match self.background {
            Some([.., 0]) => (fit == Fit::Pad).then_some([0, 0, 0, 0]),
            colour => colour,
        }
    }
}

/// The eight ways in which a picture may lie have one spelling each: one that is mirrored is turned by a quarter at
/// most, and mirrored along one axis.
fn turned(rotate: Quarters, flip: Flip) -> (Quarters, Flip) {
    use Flip::{Both, Horizontal, Vertical};
    use Quarters::{None as Upright, One, Three, Two};
    match (rotate, flip) {
        (rotate, Flip::None) => (rotate, Flip::None),
        (Upright, Both) => (Two, Flip::None),
        (One, Both) => (Three, Flip::None),
        (Two, Both) => (Upright, Flip::None),
        (Three, Both) => (One, Flip::None),
        (Upright | One, flip @ (Horizontal | Vertical)) => (rotate, flip),
        (Two, Horizontal) => (Upright, Vertical),
        (Two, Vertical) => (Upright, Horizontal),
        (Three, Horizontal) => (One, Vertical),
        (Three, Vertical) => (One, Horizontal),
    }
}

const WHOLE_PICTURE: Crop = Crop {
    left: Length::Pixels(0),
    top: Length::Pixels(0),
    width: Length::ToEndLess(0),
    height: Length::ToEndLess(0),
};

/// What lies outside the picture does not count: the whole side from anywhere is all that is left of it.
fn spelled(crop: Crop) -> Crop {
    let place = |length| match length {
        Length::Share(0) => Length::Pixels(0),
        length => length,
    };
    let extent = |length| match length {
        Length::Share(WHOLE) => Length::ToEndLess(0),
        length => place(length),
    };
    Crop {
        left: place(crop.left),
        top: place(crop.top),
        width: extent(crop.width),
        height: extent(crop.height),
    }
}

/// The box in the picture's own pixels. The ratio gives way where it would lead over the largest side,
/// so that a dense screen gets the best there is instead of an error.
fn bounded_box(
    config: &ImageConfig,
    width: Option<u32>,
    height: Option<u32>,
    ratio: u32,
) -> (Option<u32>, Option<u32>) {
    let Some(longest) = width.max(height) else {
        return (None, None);
    };
    let longest_now = scaled(longest, ratio, RATIO_ONE).min(config.max_width);
    // The side that the steps are for is the width; the height follows it, or stands for it when alone.
    let (stepped, other) = match width {
        Some(width) => (width, height),
        None => (longest, None),
    };
    let step =
        stepped_up(&config.widths, scaled(stepped, longest_now, longest)).min(config.max_width);
    let other = other.map(|side| scaled(side, step, stepped).min(config.max_width));
    match width {
        Some(_) => (Some(step), other),
        None => (None, Some(step)),
    }
}

/// The next step up; the last one above them all, so that the number of variants stays bounded.
fn stepped_up(steps: &[u32], side: u32) -> u32 {
    let next = steps.iter().find(|step| **step >= side);
    next.or_else(|| steps.last()).copied().unwrap_or(side)
}

/// `side * part / whole`, to the nearest pixel and at least one.
fn scaled(side: u32, part: u32, whole: u32) -> u32 {
    let whole = u64::from(whole.max(1));
    let exact = (u64::from(side) * u64::from(part) + whole / 2) / whole;
    u32::try_from(exact).unwrap_or(u32::MAX).max(1)
}

/// The canonical query; reading it again gives the same wish.
impl fmt::Display for Wish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs = Pairs {
            out,
            separator: "",
            between: "&",
        };
        self.operations.write(&mut pairs)?;
        if let Some(quality) = self.quality {
            pairs.put("quality", &quality)?;
        } else if self.is_quality_searched {
            pairs.put("quality", &"auto")?;
        }
        match self.format {
            WishedFormat::Original => {}
            WishedFormat::Negotiated => pairs.put("format", &"auto")?,
            WishedFormat::Exactly(_) if self.is_progressive => pairs.put("format", &"pjpg")?,
            WishedFormat::Exactly(format) => pairs.put("format", &format.name())?,
            WishedFormat::Facts => pairs.put("format", &"json")?,
        }
        if let Some(keep) = self.metadata {
            let word = match keep {
                Keep::None => "none",
                Keep::Copyright => "copyright",
                Keep::All => "keep",
            };
            pairs.put("metadata", &word)?;
        }
        if let Some(placeholder) = self.placeholder {
            pairs.put("placeholder", &placeholder.name())?;
        }
        Ok(())
    }
}

/// The operations alone, in the same words, each after a semicolon.
impl fmt::Display for Operations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut Pairs {
            out,
            separator: ";",
            between: ";",
        })
    }
}

/// Names and values on their way out.
struct Pairs<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    /// What stands before the next one.
    separator: &'static str,
    between: &'static str,
}

impl Pairs<'_, '_> {
    fn put(&mut self, name: &str, value: &dyn fmt::Display) -> fmt::Result {
        write!(self.out, "{}{name}={value}", self.separator)?;
        self.separator = self.between;
        Ok(())
    }
}

impl Operations {
    fn write(&self, pairs: &mut Pairs<'_, '_>) -> fmt::Result {
        if let Some(crop) = &self.crop {
            pairs.put("crop", &CropText(crop))?;
        }
        if let Some(degrees) = degrees(self.rotate) {
            pairs.put("rotate", &degrees)?;
        }
        match self.flip {
            Flip::None => {}
            Flip::Horizontal => pairs.put("flip", &"h")?,
            Flip::Vertical => pairs.put("flip", &"v")?,
            Flip::Both => pairs.put("flip", &"hv")?,
        }
        if let Some(width) = self.width {
            pairs.put("width", &width)?;
        }
        if let Some(height) = self.height {
            pairs.put("height", &height)?;
        }
        match self.fit {
            Fit::Contain => {}
            Fit::Cover => pairs.put("fit", &"cover")?,
            Fit::Pad => pairs.put("fit", &"pad")?,
            // `fill` is another thing on sites that read imgix's words.
            Fit::Fill => pairs.put("fit", &"stretch")?,
        }
        match self.gravity {
            Gravity::Point(500, 500) => {}
            Gravity::Smart => pairs.put("gravity", &"smart")?,
            Gravity::Point(x, y) => {
                let share = |thousandths| Decimal(thousandths, 3);
                pairs.put("gravity", &format_args!("{},{}", share(x), share(y)))?;
            }
        }
        if self.upscale {
            pairs.put("upscale", &1)?;
        }
        if let Some([r, g, b, a]) = self.background {
            pairs.put("background", &format_args!("{r:02x}{g:02x}{b:02x}{a:02x}"))?;
        }
        if self.blur > 0 {
            pairs.put("blur", &self.blur)?;
        }
        if self.sharpen > 0 {
            pairs.put("sharpen", &Decimal(self.sharpen, 2))?;
        }
        for (name, factor) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            if factor != Hundredths::default() {
                pairs.put(name, &Decimal(factor.0, 2))?;
            }
        }
        if self.still {
            pairs.put("anim", &0)?;
        }
        Ok(())
    }
}

fn degrees(quarters: Quarters) -> Option<u16> {
    match quarters {
        Quarters::None => None,
        Quarters::One => Some(90),
        Quarters::Two => Some(180),
        Quarters::Three => Some(270),
    }
}

/// A number with so many decimals, always written out: vendors' whole numbers are other things.
struct Decimal(u16, u32);

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u16.pow(self.1);
        let places = usize::try_from(self.1).unwrap_or(0);
        write!(out, "{}.{:0places$}", self.0 / one, self.0 % one)
    }
}

struct CropText<'a>(&'a Crop);

impl fmt::Display for CropText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crop {
            left,
            top,
            width,
            height,
        } = *self.0;
        for (length, separator) in [(width, ""), (height, ","), (left, ","), (top, ",")] {
            out.write_str(separator)?;
            match length {
                Length::Pixels(pixels) => write!(out, "{pixels}")?,
                Length::Share(share) => write!(out, "{}p", Decimal(share, 2))?,
                Length::ToEndLess(pixels) => write!(out, "-{pixels}")?,
            }
        }
        Ok(())
    }
}

impl ImageFormat {
    /// Its short name: `avif`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avif => "avif",
            Self::Webp => "webp",
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
        }
    }

    /// Its media type: `image/avif`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Avif => "image/avif",
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
        }
    }
}
