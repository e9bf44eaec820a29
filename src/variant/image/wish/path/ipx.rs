use super::super::super::error::ParameterError;
use super::super::draft::Parameter;
use super::super::values;
use super::{Options, Source};

/// `/_ipx/<modifiers>/<picture>` (unjs/ipx, Nuxt Image). Modifiers that we do not have are let go.
pub(super) fn read(
    options: &mut Options,
    path: &str,
    query: Option<&str>,
) -> Result<Option<Source>, ParameterError> {
    let parts = path
        .strip_prefix("/_ipx/")
        .and_then(|rest| rest.split_once('/'));
    let Some((modifiers, picture)) = parts else {
        return Ok(None);
    };
    let modifiers = values::decoded_in_path(modifiers);
    let (mut flips, mut flops) = (false, false);
    for modifier in modifiers.split(['&', ',']).filter(|text| *text != "_") {
        let (name, value) = modifier.split_once('_').unwrap_or((modifier, ""));
        match name {
            "w" | "width" => options.set(Parameter::Width, value)?,
            "h" | "height" => options.set(Parameter::Height, value)?,
            "s" | "resize" => {
                let (width, height) = value.split_once('x').unwrap_or((value, value));
                options.set(Parameter::Width, width)?;
                options.set(Parameter::Height, height)?;
            }
            "fit" => options.set(Parameter::Fit, fit(value))?,
            "pos" | "position" => options.set(Parameter::Gravity, &position(value))?,
            "f" | "format" => options.set(Parameter::Format, format(value))?,
            "q" | "quality" => options.set(Parameter::Quality, value)?,
            "b" | "background" => options.set(Parameter::Background, value)?,
            "rotate" => options.set(Parameter::Rotate, value)?,
            "flip" => flips = true,
            "flop" => flops = true,
            "blur" if !value.is_empty() => options.radius(value)?,
            "enlarge" => options.set(Parameter::Upscale, "1")?,
            "extract" | "crop" => {
                if let [left, top, width, height] = *value.split('_').collect::<Vec<_>>() {
                    let crop = format!("{width},{height},{left},{top}");
                    options.set(Parameter::Crop, &crop)?;
                }
            }
            _ => {}
        }
    }
    match (flips, flops) {
        (false, false) => {}
        (true, false) => options.set(Parameter::Flip, "v")?,
        (false, true) => options.set(Parameter::Flip, "h")?,
        (true, true) => options.set(Parameter::Flip, "hv")?,
    }
    Ok(Some(Source::in_path(picture, query)))
}

/// sharp's words.
fn fit(word: &str) -> &str {
    match word {
        "inside" => "contain",
        "outside" => "cover",
        "contain" => "pad",
        word => word,
    }
}

/// sharp's words: `right top`, `north`, `attention`.
fn position(words: &str) -> String {
    let word = match words {
        "centre" => "center",
        "entropy" | "attention" => "smart",
        "north" => "top",
        "south" => "bottom",
        "east" => "right",
        "west" => "left",
        "northeast" | "right top" => "top-right",
        "northwest" | "left top" => "top-left",
        "southeast" | "right bottom" => "bottom-right",
        "southwest" | "left bottom" => "bottom-left",
        word => word,
    };
    word.to_owned()
}

fn format(word: &str) -> &str {
    match word {
        "jpg" => "jpeg",
        word => word,
    }
}
