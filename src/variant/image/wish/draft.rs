use super::super::super::config::ImageFormat;
use super::super::error::ParameterError;
use super::super::metadata::Keep;
use super::super::operations::{Crop, Fit, Flip, Gravity, Quarters};
use super::super::placeholder::Placeholder;
use super::WishedFormat;
use super::values;

/// A parameter, whatever its name in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    Width,
    Height,
    Fit,
    Gravity,
    Crop,
    Dpr,
    Upscale,
    Quality,
    Format,
    Blur,
    Sharpen,
    Rotate,
    Flip,
    Background,
    Brightness,
    Contrast,
    Saturation,
    Anim,
    Metadata,
    Placeholder,
    Preset,
    /// `auto=format` of vendors: beside a format it counts more.
    Negotiation,
    /// Half of a gravity, as imgix has it.
    FocusX,
    /// Half of a gravity, as imgix has it.
    FocusY,
}

/// Our own names, which every site reads.
pub(super) const OURS: [(&str, Parameter); 21] = [
    ("width", Parameter::Width),
    ("height", Parameter::Height),
    ("fit", Parameter::Fit),
    ("gravity", Parameter::Gravity),
    ("crop", Parameter::Crop),
    ("dpr", Parameter::Dpr),
    ("upscale", Parameter::Upscale),
    ("quality", Parameter::Quality),
    ("format", Parameter::Format),
    ("blur", Parameter::Blur),
    ("sharpen", Parameter::Sharpen),
    ("rotate", Parameter::Rotate),
    ("flip", Parameter::Flip),
    ("background", Parameter::Background),
    ("brightness", Parameter::Brightness),
    ("contrast", Parameter::Contrast),
    ("saturation", Parameter::Saturation),
    ("anim", Parameter::Anim),
    ("metadata", Parameter::Metadata),
    ("placeholder", Parameter::Placeholder),
    ("preset", Parameter::Preset),
];

impl Parameter {
    /// The parameter that has this name of ours.
    pub(super) fn of(name: &str) -> Option<Self> {
        let found = OURS.iter().find(|(ours, _)| *ours == name);
        found.map(|(_, parameter)| *parameter)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Negotiation => "auto",
            Self::FocusX => "fp-x",
            Self::FocusY => "fp-y",
            other => {
                let found = OURS.iter().find(|(_, parameter)| *parameter == other);
                found.map_or("", |(name, _)| *name)
            }
        }
    }

    /// What to write instead of a value that cannot be meant.
    fn expected(self, max_width: u32) -> String {
        let text = match self {
            Self::Width | Self::Height => {
                return format!("a whole number of pixels from 1 to {max_width}");
            }
            Self::Fit => "contain, cover, pad or fill",
            Self::Gravity => {
                "smart, center, a side (left), a corner (top-left), or x,y from 0,0 to 1,1"
            }
            Self::Crop => "w,h,x,y in pixels or percent, such as 50p,50p,10,10",
            Self::Dpr => "a number from 1 to 3",
            Self::Upscale | Self::Anim => "0 or 1",
            Self::Quality => "a whole number from 1 to 100, or auto",
            Self::Format => "auto, avif, webp, jpeg, pjpg, png, gif or json",
            Self::Blur => "a whole number from 0 to 250",
            Self::Sharpen => "a number from 0 to 10",
            Self::Rotate => "0, 90, 180 or 270",
            Self::Flip => "h, v or hv",
            Self::Background => "a colour such as ff8800, rgb(255,136,0) or white",
            Self::Brightness | Self::Contrast | Self::Saturation => {
                "a number from 0 to 10; 1 changes nothing"
            }
            Self::Metadata => "none, copyright or keep",
            Self::Placeholder => "thumbhash, blurhash or lqip",
            Self::Preset => "the name of a preset of the site",
            Self::Negotiation => "format",
            Self::FocusX | Self::FocusY => "a number from 0 to 1",
        };
        text.to_owned()
    }

    fn wrong(self, max_width: u32) -> ParameterError {
        ParameterError::Value {
            name: self.name(),
            expected: self.expected(max_width),
        }
    }
}

/// The format that a URL asks for, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AskedFormat {
    pub(super) format: WishedFormat,
    pub(super) is_progressive: bool,
}

/// Parameters as they are asked for, each for itself: what they come to together is for [`super::Wish`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Draft {
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) fit: Option<Fit>,
    pub(super) gravity: Option<Gravity>,
    pub(super) crop: Option<Crop>,
    /// Thousandths.
    pub(super) dpr: Option<u32>,
    pub(super) upscale: Option<bool>,
    /// The inner `None` is `auto`.
    pub(super) quality: Option<Option<u8>>,
    pub(super) format: Option<AskedFormat>,
    pub(super) blur: Option<u8>,
    pub(super) sharpen: Option<u16>,
    pub(super) rotate: Option<Quarters>,
    pub(super) flip: Option<Flip>,
    pub(super) background: Option<[u8; 4]>,
    pub(super) brightness: Option<u16>,
    pub(super) contrast: Option<u16>,
    pub(super) saturation: Option<u16>,
    pub(super) is_animated: Option<bool>,
    pub(super) metadata: Option<Keep>,
    pub(super) placeholder: Option<Placeholder>,
    pub(super) preset: Option<String>,
    pub(super) negotiation: Option<()>,
    pub(super) focus_x: Option<u16>,
    pub(super) focus_y: Option<u16>,
}

impl Draft {
    /// Reads one value, percent-decoded already.
    ///
    /// # Errors
    /// It cannot be meant, or the parameter is there already.
    pub(super) fn set(
        &mut self,
        parameter: Parameter,
        value: &str,
        max_width: u32,
    ) -> Result<(), ParameterError> {
        let side = |text: &str| {
            values::whole_number(text).filter(|pixels| (1..=max_width).contains(pixels))
        };
        let quality = |text: &str| match text {
            "auto" => Some(None),
            number => values::quality(number).map(Some),
        };
        let put = Put {
            parameter,
            value,
            max_width,
        };
        match parameter {
            Parameter::Width => put.into(&mut self.width, side),
            Parameter::Height => put.into(&mut self.height, side),
            Parameter::Fit => put.into(&mut self.fit, values::fit),
            Parameter::Gravity => put.into(&mut self.gravity, values::gravity),
            Parameter::Crop => put.into(&mut self.crop, values::crop),
            Parameter::Dpr => put.into(&mut self.dpr, values::ratio),
            Parameter::Upscale => put.into(&mut self.upscale, values::switch),
            Parameter::Quality => put.into(&mut self.quality, quality),
            Parameter::Format => put.into(&mut self.format, format_of),
            Parameter::Blur => put.into(&mut self.blur, values::radius),
            Parameter::Sharpen => put.into(&mut self.sharpen, values::sharpness),
            Parameter::Rotate => put.into(&mut self.rotate, values::rotation),
            Parameter::Flip => put.into(&mut self.flip, values::flip),
            Parameter::Background => put.into(&mut self.background, values::colour),
            Parameter::Brightness => put.into(&mut self.brightness, values::factor),
            Parameter::Contrast => put.into(&mut self.contrast, values::factor),
            Parameter::Saturation => put.into(&mut self.saturation, values::factor),
            Parameter::Anim => put.into(&mut self.is_animated, values::switch),
            Parameter::Metadata => put.into(&mut self.metadata, values::metadata),
            Parameter::Placeholder => put.into(&mut self.placeholder, values::placeholder),
            // Whether the site has it is seen where presets are known.
            Parameter::Preset => put.into(&mut self.preset, |text| Some(text.to_owned())),
            Parameter::Negotiation => put.into(&mut self.negotiation, |_| Some(())),
            Parameter::FocusX => put.into(&mut self.focus_x, values::share),
            Parameter::FocusY => put.into(&mut self.focus_y, values::share),
        }
    }

    /// What is asked for here, and what `base` has besides.
    pub(super) fn over(self, base: &Self) -> Self {
        let base = base.clone();
        // Two words for one thing: one of them here takes the place of the other there.
        let names_format = self.format.is_some() || self.negotiation.is_some();
        let names_gravity =
            self.gravity.is_some() || self.focus_x.is_some() || self.focus_y.is_some();
        Self {
            width: self.width.or(base.width),
            height: self.height.or(base.height),
            fit: self.fit.or(base.fit),
            gravity: self
                .gravity
                .or_else(|| base.gravity.filter(|_| !names_gravity)),
            crop: self.crop.or(base.crop),
            dpr: self.dpr.or(base.dpr),
            upscale: self.upscale.or(base.upscale),
            quality: self.quality.or(base.quality),
            format: self
                .format
                .or_else(|| base.format.filter(|_| !names_format)),
            blur: self.blur.or(base.blur),
            sharpen: self.sharpen.or(base.sharpen),
            rotate: self.rotate.or(base.rotate),
            flip: self.flip.or(base.flip),
            background: self.background.or(base.background),
            brightness: self.brightness.or(base.brightness),
            contrast: self.contrast.or(base.contrast),
            saturation: self.saturation.or(base.saturation),
            is_animated: self.is_animated.or(base.is_animated),
            metadata: self.metadata.or(base.metadata),
            placeholder: self.placeholder.or(base.placeholder),
            preset: None,
            negotiation: self
                .negotiation
                .or_else(|| base.negotiation.filter(|()| !names_format)),
            focus_x: self
                .focus_x
                .or_else(|| base.focus_x.filter(|_| !names_gravity)),
            focus_y: self
                .focus_y
                .or_else(|| base.focus_y.filter(|_| !names_gravity)),
        }
    }
}

/// A value on its way into its slot.
struct Put<'a> {
    parameter: Parameter,
    value: &'a str,
    max_width: u32,
}

impl Put<'_> {
    fn into<T>(
        self,
        slot: &mut Option<T>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<(), ParameterError> {
        let value = read(self.value).ok_or_else(|| self.parameter.wrong(self.max_width))?;
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(ParameterError::Twice {
                name: self.parameter.name(),
            }),
        }
    }
}

fn format_of(text: &str) -> Option<AskedFormat> {
    let format = match text {
        "auto" => WishedFormat::Negotiated,
        "avif" => WishedFormat::Exactly(ImageFormat::Avif),
        "webp" => WishedFormat::Exactly(ImageFormat::Webp),
        "jpeg" | "pjpg" => WishedFormat::Exactly(ImageFormat::Jpeg),
        "png" => WishedFormat::Exactly(ImageFormat::Png),
        "gif" => WishedFormat::Exactly(ImageFormat::Gif),
        "json" => WishedFormat::Facts,
        _ => return None,
    };
    Some(AskedFormat {
        format,
        is_progressive: text == "pjpg",
    })
}
