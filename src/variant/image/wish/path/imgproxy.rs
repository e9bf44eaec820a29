use super::super::super::error::ParameterError;
use super::super::draft::Parameter;
use super::super::{base64, values};
use super::{Options, Source};

/// What stands in the place of a signature of imgproxy's that nobody checks.
const UNSIGNED: [&str; 3] = ["insecure", "unsafe", "_"];

/// `/insecure/<options>/plain/<picture>@<format>`, or the picture in Base64 (imgproxy, "Processing an image"). Options
/// that we do not have are let go.
pub(super) fn read(
    options: &mut Options,
    path: &str,
    query: Option<&str>,
) -> Result<Option<Source>, ParameterError> {
    let parts = path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .filter(|(signature, _)| UNSIGNED.contains(signature));
    let Some((_, mut rest)) = parts else {
        return Ok(None);
    };
    let mut listed = Vec::new();
    let (picture, format) = loop {
        let (segment, after) = rest.split_once('/').unwrap_or((rest, ""));
        if segment == "plain" && !after.is_empty() {
            break plain(after);
        }
        if segment.contains(':') {
            if after.is_empty() {
                return Ok(None);
            }
            listed.push(segment);
            rest = after;
            continue;
        }
        match in_base64(rest) {
            Some(found) => break found,
            None => return Ok(None),
        }
    };
    let mut source = match picture.split_once("://") {
        Some(("local", path)) => Source::of_text(path),
        Some(_) => Source::of_text(&picture),
        None => Source::of_text(&format!("/{}", picture.trim_start_matches('/'))),
    };
    let Some(source) = &mut source else {
        return Ok(None);
    };
    if source.query.is_none() {
        source.query = query.map(str::to_owned);
    }
    for option in listed {
        let option = values::decoded_in_path(option);
        let parts: Vec<&str> = option.split(':').collect();
        if let [name, values @ ..] = &*parts {
            read_option(options, name, values)?;
        }
    }
    if let Some(format) = format {
        options.bound(Parameter::Format, word_of_format(&format))?;
    }
    Ok(Some(Source {
        host: source.host.take(),
        path: std::mem::take(&mut source.path),
        query: source.query.take(),
    }))
}

/// The picture and its format, from a text in which an at sign of the picture's is escaped.
fn plain(text: &str) -> (String, Option<String>) {
    let (picture, format) = match text.rsplit_once('@') {
        Some((picture, format)) => (picture, Some(format.to_owned())),
        None => (text, None),
    };
    (values::decoded_in_path(picture).into_owned(), format)
}

fn in_base64(text: &str) -> Option<(String, Option<String>)> {
    let (encoded, format) = match text.rsplit_once('.') {
        Some((encoded, format)) => (encoded, Some(format.to_owned())),
        None => (text, None),
    };
    let joined: String = encoded
        .chars()
        .filter(|letter| !matches!(letter, '/' | '='))
        .collect();
    let bytes = base64::decoded(&joined).filter(|bytes| !bytes.is_empty())?;
    let picture = String::from_utf8(bytes).ok()?;
    Some((picture, format))
}

fn read_option(options: &mut Options, name: &str, values: &[&str]) -> Result<(), ParameterError> {
    let value = |place: usize| values.get(place).copied().unwrap_or_default();
    match name {
        "resize" | "rs" => {
            read_option(options, "rt", &[value(0)])?;
            size(options, [value(1), value(2), value(3)])
        }
        "size" | "s" => size(options, [value(0), value(1), value(2)]),
        "resizing_type" | "rt" => match value(0) {
            "" => Ok(()),
            "fill" | "fill-down" => options.set(Parameter::Fit, "cover"),
            "force" => options.set(Parameter::Fit, "stretch"),
            _ => options.set(Parameter::Fit, "contain"),
        },
        "width" | "w" => options.bound(Parameter::Width, value(0)),
        "height" | "h" => options.bound(Parameter::Height, value(0)),
        "dpr" => options.ratio(value(0)),
        "enlarge" | "el" => options.set(Parameter::Upscale, switch(value(0))),
        "gravity" | "g" => gravity(options, value(0), value(1), value(2)),
        "rotate" | "rot" => options.set(Parameter::Rotate, value(0)),
        "flip" | "fl" => match (switch(value(0)), switch(value(1))) {
            ("1", "1") => options.set(Parameter::Flip, "hv"),
            ("1", _) => options.set(Parameter::Flip, "h"),
            (_, "1") => options.set(Parameter::Flip, "v"),
            _ => Ok(()),
        },
        "background" | "bg" => match values {
            [red, green, blue] => {
                options.set(Parameter::Background, &format!("rgb({red},{green},{blue})"))
            }
            _ => options.bound(Parameter::Background, value(0)),
        },
        "blur" | "bl" => options.radius(value(0)),
        "sharpen" | "sh" => options.bound(Parameter::Sharpen, value(0)),
        "contrast" | "co" => options.bound(Parameter::Contrast, value(0)),
        "saturation" | "sa" => options.set(Parameter::Saturation, value(0)),
        "quality" | "q" => options.bound(Parameter::Quality, value(0)),
        "format" | "f" | "ext" => options.bound(Parameter::Format, word_of_format(value(0))),
        "strip_metadata" | "sm" if switch(value(0)) == "1" => {
            options.set(Parameter::Metadata, "none")
        }
        "preset" | "pr" => options.bound(Parameter::Preset, value(0)),
        _ => Ok(()),
    }
}

fn size(options: &mut Options, [width, height, enlarge]: [&str; 3]) -> Result<(), ParameterError> {
    options.bound(Parameter::Width, width)?;
    options.bound(Parameter::Height, height)?;
    match enlarge {
        "" => Ok(()),
        enlarge => options.set(Parameter::Upscale, switch(enlarge)),
    }
}

fn switch(text: &str) -> &str {
    match text {
        "t" | "true" | "1" => "1",
        "f" | "false" | "" => "0",
        text => text,
    }
}

fn gravity(options: &mut Options, kind: &str, x: &str, y: &str) -> Result<(), ParameterError> {
    let word = match kind {
        "no" => "top",
        "so" => "bottom",
        "ea" => "right",
        "we" => "left",
        "noea" => "top-right",
        "nowe" => "top-left",
        "soea" => "bottom-right",
        "sowe" => "bottom-left",
        "sm" => "smart",
        "fp" => return options.set(Parameter::Gravity, &format!("{x},{y}")),
        _ => "center",
    };
    options.set(Parameter::Gravity, word)
}

fn word_of_format(word: &str) -> &str {
    match word {
        "jpg" => "jpeg",
        "best" => "auto",
        word => word,
    }
}
