//! What other vendors call our parameters, so that URLs written for them go on working. Sources: the public
//! documentation of Cloudflare Images ("Transform via URL"), of Fastly's Image Optimizer ("Image Optimizer
//! reference") and of imgix ("Rendering API"), as of November 2026.

use std::borrow::Cow;

use super::super::super::config::Vendor;
use super::draft::Parameter;
use super::values::{hex, scaled_decimal, whole_number};

/// A vendor's pair in our words; empty is known, and nothing that we can do.
pub(super) type InOurs<'a> = Vec<(Parameter, Cow<'a, str>)>;

/// Words of no single vendor, which sites with any of them read, too.
const OF_ALL: [(&str, Parameter); 2] = [("p", Parameter::Preset), ("position", Parameter::Gravity)];

/// The pair in our words, if it is one of these vendors'. `None` leaves it to our own names.
pub(super) fn in_ours<'a>(vendors: &[Vendor], name: &str, value: &'a str) -> Option<InOurs<'a>> {
    if vendors.is_empty() {
        return None;
    }
    let mut of_vendors = vendors.iter();
    of_vendors
        .find_map(|vendor| match vendor {
            Vendor::Cloudflare => cloudflare(name, value),
            Vendor::Fastly => fastly(name, value),
            Vendor::Imgix => imgix(name, value),
        })
        .or_else(|| of_any(name, value))
}

fn one<'a>(parameter: Parameter, value: impl Into<Cow<'a, str>>) -> Option<InOurs<'a>> {
    Some(vec![(parameter, value.into())])
}

/// Known, and nothing that we can do.
fn nothing<'a>() -> Option<InOurs<'a>> {
    Some(Vec::new())
}

fn of_any<'a>(name: &str, value: &'a str) -> Option<InOurs<'a>> {
    if name == "dpr" {
        // Their scripts write ratios up to 8, and below 1.
        let thousandths = scaled_decimal(value, 3)?;
        return match thousandths {
            ..1000 => one(Parameter::Dpr, "1"),
            3001.. => one(Parameter::Dpr, "3"),
            _ => None,
        };
    }
    let found = OF_ALL.iter().find(|(word, _)| *word == name);
    found.and_then(|(_, parameter)| one(*parameter, value))
}

fn cloudflare<'a>(name: &str, value: &'a str) -> Option<InOurs<'a>> {
    match name {
        "w" => one(Parameter::Width, value),
        "h" => one(Parameter::Height, value),
        "f" | "format" => match value {
            "baseline-jpeg" => one(Parameter::Format, "jpeg"),
            value => one(Parameter::Format, value),
        },
        "q" | "quality" => match value {
            "high" => one(Parameter::Quality, "90"),
            "medium-high" => one(Parameter::Quality, "80"),
            "medium-low" => one(Parameter::Quality, "65"),
            "low" => one(Parameter::Quality, "50"),
            value => one(Parameter::Quality, value),
        },
        "fit" => match value {
            "scale-down" => one(Parameter::Fit, "contain"),
            "squeeze" => one(Parameter::Fit, "stretch"),
            _ => None,
        },
        "g" | "gravity" => match (value, value.split_once('x')) {
            ("auto" | "face", _) => one(Parameter::Gravity, "smart"),
            (_, Some((x, y))) => one(Parameter::Gravity, format!("{},{}", whole(x), whole(y))),
            (value, None) => one(Parameter::Gravity, value),
        },
        "trim" => match value {
            "border" => nothing(),
            value => margins(value, ';'),
        },
        _ => None,
    }
}

/// `.5` is `0.5`.
fn whole(number: &str) -> Cow<'_, str> {
    match number.strip_prefix('.') {
        Some(decimals) => Cow::Owned(format!("0.{decimals}")),
        None => Cow::Borrowed(number),
    }
}

/// Margins in the order of CSS, as a crop; one, two or three of them stand for all four.
fn margins<'a>(value: &'a str, separator: char) -> Option<InOurs<'a>> {
    let sides: Vec<&str> = value.split(separator).collect();
    let (top, right, bottom, left) = match *sides {
        [all] => (all, all, all, all),
        [ends, sides] => (ends, sides, ends, sides),
        [top, sides, bottom] => (top, sides, bottom, sides),
        [top, right, bottom, left] => (top, right, bottom, left),
        _ => return one(Parameter::Crop, value),
    };
    one(Parameter::Crop, format!("-{right},-{bottom},{left},{top}"))
}

fn fastly<'a>(name: &str, value: &'a str) -> Option<InOurs<'a>> {
    match name {
        // Shares of the original's sides.
        "width" | "height" if value == "auto" || value.contains(['.', 'p', '%']) => nothing(),
        "fit" if value == "bounds" => one(Parameter::Fit, "contain"),
        "crop" => fastly_crop(value),
        "format" => match value {
            "jpg" | "jpeg" | "bjpg" | "bjpeg" => one(Parameter::Format, "jpeg"),
            "pjpg" | "pjpeg" => one(Parameter::Format, "pjpg"),
            "png8" => one(Parameter::Format, "png"),
            "webpll" | "webply" => one(Parameter::Format, "webp"),
            "mp4" | "jxl" | "jpegxl" | "svg" => nothing(),
            _ => None,
        },
        "auto" if value.split(',').any(|word| matches!(word, "webp" | "avif")) => {
            one(Parameter::Negotiation, "format")
        }
        // The second number is for WebP.
        "quality" => value
            .split_once(',')
            .and_then(|(first, _)| one(Parameter::Quality, first)),
        "bg-color" if value.contains(',') => one(Parameter::Background, format!("rgb({value})")),
        "bg-color" => one(Parameter::Background, value),
        "blur" => blurred(value),
        "sharpen" => {
            // Amount, radius and threshold: ours has the first of them.
            let amount = value.split(',').find_map(|part| part.strip_prefix('a'))?;
            one(Parameter::Sharpen, amount)
        }
        "brightness" => percentage(Parameter::Brightness, value),
        "contrast" => percentage(Parameter::Contrast, value),
        "saturation" => percentage(Parameter::Saturation, value),
        "orient" => match value {
            "r" => one(Parameter::Rotate, "90"),
            "l" => one(Parameter::Rotate, "270"),
            "h" | "v" | "hv" | "vh" => one(Parameter::Flip, value),
            _ => nothing(),
        },
        "trim" if value.contains(['.', 'p', '%']) => nothing(),
        "trim" if value.starts_with(|c: char| c.is_ascii_digit()) && !value.contains(';') => {
            margins(value, ',')
        }
        "enable" if value == "upscale" => one(Parameter::Upscale, "1"),
        "disable" if value == "upscale" => one(Parameter::Upscale, "0"),
        "frame" if value == "1" => one(Parameter::Anim, "0"),
        _ => None,
    }
}

/// `w,h,x10,y20`; aspect ratios and offsets are nothing that we can do.
fn fastly_crop(value: &str) -> Option<InOurs<'_>> {
    let parts: Vec<&str> = value.split(',').collect();
    match *parts {
        [width, height, x, y] if !width.contains(':') => {
            match (x.strip_prefix('x'), y.strip_prefix('y')) {
                (Some(x), Some(y)) => one(Parameter::Crop, format!("{width},{height},{x},{y}")),
                _ => None,
            }
        }
        _ => nothing(),
    }
}

/// −100 to 100 percent more, where ours is a factor: a factor has a decimal point.
fn percentage<'a>(parameter: Parameter, value: &str) -> Option<InOurs<'a>> {
    if value.contains('.') && !value.starts_with('-') {
        return None;
    }
    one(parameter, more(value).unwrap_or_else(|| value.to_owned()))
}

/// The factor that is so many percent more than 1.
fn more(percent: &str) -> Option<String> {
    let (is_less, digits) = match percent.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, percent),
    };
    let percent = scaled_decimal(digits, 0).filter(|percent| *percent <= 100)?;
    let hundredths = if is_less {
        100 - percent
    } else {
        100 + percent
    };
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

/// Others have radii with decimals, and larger ones than ours.
fn blurred<'a>(value: &str) -> Option<InOurs<'a>> {
    let tenths = scaled_decimal(value, 1)?;
    one(Parameter::Blur, tenths.div_ceil(10).min(250).to_string())
}

fn imgix<'a>(name: &str, value: &'a str) -> Option<InOurs<'a>> {
    match name {
        // Shares of the original's sides.
        "w" | "h" | "width" | "height" if value.contains('.') => nothing(),
        "w" => one(Parameter::Width, value),
        "h" => one(Parameter::Height, value),
        "fit" => match value {
            "clip" | "max" => one(Parameter::Fit, "contain"),
            "min" => one(Parameter::Fit, "cover"),
            "facearea" => Some(vec![
                (Parameter::Fit, "cover".into()),
                (Parameter::Gravity, "smart".into()),
            ]),
            "fill" | "fillmax" | "clamp" => one(Parameter::Fit, "pad"),
            "scale" => one(Parameter::Fit, "stretch"),
            _ => None,
        },
        "fm" => match value {
            "jpg" => one(Parameter::Format, "jpeg"),
            "png8" | "png32" => one(Parameter::Format, "png"),
            "blurhash" => one(Parameter::Placeholder, "blurhash"),
            "jpeg" | "pjpg" | "png" | "webp" | "avif" | "gif" | "json" => {
                one(Parameter::Format, value)
            }
            _ => nothing(),
        },
        "auto" if value.split(',').any(|word| word == "format") => {
            one(Parameter::Negotiation, "format")
        }
        "q" => one(Parameter::Quality, value),
        "rect" => imgix_rect(value),
        "crop" => imgix_crop(value),
        "fp-x" => one(Parameter::FocusX, whole(value)),
        "fp-y" => one(Parameter::FocusY, whole(value)),
        "bg" => one(Parameter::Background, alpha_last(value)),
        "blur" => blurred(value),
        "sharp" => {
            let amount = whole_number(value).filter(|amount| *amount <= 100);
            let tenth = |amount: u32| format!("{}.{}", amount / 10, amount % 10);
            let value = amount.map_or(Cow::Borrowed(value), |amount| tenth(amount).into());
            one(Parameter::Sharpen, value)
        }
        // Counter-clockwise; a slant is nothing that we can do.
        "rot" => match value {
            "0" | "180" => one(Parameter::Rotate, value),
            "90" => one(Parameter::Rotate, "270"),
            "270" => one(Parameter::Rotate, "90"),
            _ => nothing(),
        },
        "bri" => percent(Parameter::Brightness, value),
        "con" => percent(Parameter::Contrast, value),
        "sat" => percent(Parameter::Saturation, value),
        "frame" if value == "1" => one(Parameter::Anim, "0"),
        _ => None,
    }
}

fn percent<'a>(parameter: Parameter, value: &str) -> Option<InOurs<'a>> {
    // What is no percentage is none of our values either, and so refused.
    one(
        parameter,
        more(value).unwrap_or_else(|| format!("{value}%")),
    )
}

/// `x,y,w,h`; words in it are nothing that we can do.
fn imgix_rect(value: &str) -> Option<InOurs<'_>> {
    let parts: Vec<&str> = value.split(',').collect();
    match *parts {
        [x, y, width, height] if parts.iter().all(|part| whole_number(part).is_some()) => {
            one(Parameter::Crop, format!("{width},{height},{x},{y}"))
        }
        _ => nothing(),
    }
}

/// Which side stays, or what is looked for; four lengths are ours.
fn imgix_crop(value: &str) -> Option<InOurs<'_>> {
    let (mut x, mut y) = (None, None);
    for word in value.split(',') {
        match word {
            "left" => x = Some("left"),
            "right" => x = Some("right"),
            "top" => y = Some("top"),
            "bottom" => y = Some("bottom"),
            "faces" | "entropy" | "edges" => return one(Parameter::Gravity, "smart"),
            "focalpoint" => return nothing(),
            _ => return None,
        }
    }
    match (y, x) {
        (Some(y), Some(x)) => one(Parameter::Gravity, format!("{y}-{x}")),
        (Some(side), None) | (None, Some(side)) => one(Parameter::Gravity, side),
        (None, None) => None,
    }
}

/// imgix puts the alpha of a hexadecimal colour first.
fn alpha_last(value: &str) -> Cow<'_, str> {
    let digits = value.strip_prefix('#').unwrap_or(value);
    let is_hex = digits.bytes().all(|digit| hex(digit).is_some());
    let alpha = match digits.len() {
        4 => 1,
        8 => 2,
        _ => return Cow::Borrowed(value),
    };
    match digits.split_at_checked(alpha) {
        Some((alpha, colour)) if is_hex => Cow::Owned(format!("{colour}{alpha}")),
        _ => Cow::Borrowed(value),
    }
}
