/// What a URL asks to be done to the pixels, in the order in which it is done: the picture is turned upright, cut, turned and
/// flipped, resized, and then its light and edges are changed. Canonical: what has no effect has its default value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Operations {
    pub(super) crop: Option<Crop>,
    /// Clockwise, in quarters; sizes are those after it.
    pub(super) rotate: Quarters,
    pub(super) flip: Flip,
    /// Pixels of the box, if bounded; the pixel ratio is multiplied in.
    pub(super) width: Option<u32>,
    /// Pixels of the box, if bounded; the pixel ratio is multiplied in.
    pub(super) height: Option<u32>,
    pub(super) fit: Fit,
    pub(super) gravity: Gravity,
    /// Whether a box larger than the picture enlarges it.
    pub(super) upscale: bool,
    /// Red, green, blue, alpha: what padding and transparency show.
    pub(super) background: Option<[u8; 4]>,
    /// Radius in pixels (Cloudflare Images, `blur`, 1 to 250); 0 is none.
    pub(super) blur: u8,
    /// Hundredths of 0 to 10 (Cloudflare Images, `sharpen`); 0 is none.
    pub(super) sharpen: u16,
    pub(super) brightness: Hundredths,
    pub(super) contrast: Hundredths,
    pub(super) saturation: Hundredths,
    /// Of an animation the first frame only.
    pub(super) still: bool,
}

impl Operations {
    /// Whether the original shows the same, if perhaps larger: a page scales a picture itself, but it does not cut, turn
    /// or colour it.
    pub(super) fn can_be_left_out(&self) -> bool {
        let only_smaller = Self {
            width: self.width,
            height: self.height,
            // Without a cut or room around, gravity says nothing.
            gravity: self.gravity,
            // So that what may be enlarged and is not asked to be larger can stay.
            upscale: self.upscale,
            ..Self::default()
        };
        *self == only_smaller
    }

    /// The same shape inside a square of that side, for a look at the picture: without what only shows when it
    /// is large.
    pub(super) fn within(self, side: u32) -> Self {
        let longest = self.width.max(self.height).unwrap_or(side).max(1);
        let boxed = |asked: Option<u32>| {
            let exact = u64::from(asked.unwrap_or(longest)) * u64::from(side);
            let asked = u64::from(longest);
            u32::try_from((exact + asked / 2) / asked).map_or(side, |pixels| pixels.max(1))
        };
        let is_shaped = self.width.is_some() && self.height.is_some() && self.fit != Fit::Contain;
        Self {
            width: Some(if is_shaped { boxed(self.width) } else { side }),
            height: Some(if is_shaped { boxed(self.height) } else { side }),
            fit: if is_shaped { self.fit } else { Fit::Contain },
            blur: 0,
            sharpen: 0,
            still: true,
            ..self
        }
    }
}

/// How a picture goes into the box of width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fit {
    /// Whole, inside the box.
    #[default]
    Contain,
    /// The box filled, the rest cut off.
    Cover,
    /// Whole, inside the box, the rest of which shows the background.
    Pad,
    /// Stretched to the box.
    Fill,
}

/// What stays in sight when something is cut off, and where a padded picture stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Gravity {
    /// Thousandths of the width from the left and of the height from the top; the middle is (500, 500).
    Point(u16, u16),
    /// Where most happens in the picture.
    Smart,
}

impl Default for Gravity {
    fn default() -> Self {
        Self::Point(500, 500)
    }
}

/// A part of the upright picture. What lies outside it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Crop {
    pub(super) left: Length,
    pub(super) top: Length,
    pub(super) width: Length,
    pub(super) height: Length,
}

/// A length along one side of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Length {
    Pixels(u32),
    /// Hundredths of a percent of the side: 10 000 is the whole.
    Share(u16),
    /// From the start as far as this many pixels before the end (`trim=top;right;bottom;left`).
    ToEndLess(u32),
}

/// Quarter turns, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Quarters {
    #[default]
    None,
    One,
    Two,
    Three,
}

/// Mirrored along an axis, after turning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Flip {
    #[default]
    None,
    /// Left becomes right.
    Horizontal,
    /// Top becomes bottom.
    Vertical,
    Both,
}

/// A factor; 100 changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hundredths(pub(super) u16);

impl Default for Hundredths {
    fn default() -> Self {
        Self(100)
    }
}
