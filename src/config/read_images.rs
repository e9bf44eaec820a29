use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeValue;

use crate::variant::{
    Fallback, ImageConfig, ImageFormat, ImagePreset, ImageSigning, Keep, PathStyle, Refused,
    SigningKey, Vendor,
};

use super::field;
use super::keys::nearest;
use super::read_node::{bearer_token, secret};
use super::section::{Entry, Section, text_of};
use super::source::Wrong;

pub(super) const FALLBACKS: [(&str, Fallback); 2] =
    [("original", Fallback::Original), ("error", Fallback::Error)];
pub(super) const STRIPS: [(&str, Keep); 3] = [
    ("all", Keep::None),
    ("privacy", Keep::Copyright),
    ("none", Keep::All),
];

/// Half of what the hash of a signature has: a shorter key is the weaker part.
const SIGNING_KEY_BYTES_MIN: usize = 16;

pub(super) fn read_images(section: Section<'_>, base: &Path) -> ImageConfig {
    let mut images = ImageConfig::default();
    section.flag("enabled", &mut images.enabled);
    section.list("match", &mut images.patterns, field::file_pattern);
    section.flag("auto", &mut images.auto);
    section.words(
        "formats",
        &mut images.formats,
        &[("avif", ImageFormat::Avif), ("webp", ImageFormat::Webp)],
    );
    section.flag("parameters", &mut images.parameters);
    section.words_or_none(
        "aliases",
        &mut images.aliases,
        &[
            ("cloudflare", Vendor::Cloudflare),
            ("fastly", Vendor::Fastly),
            ("imgix", Vendor::Imgix),
        ],
    );
    read_paths(section, &mut images);
    section.integer("max_width", &mut images.max_width);
    section.integers(
        "widths",
        &mut images.widths,
        (1, i64::from(images.max_width)),
    );
    images.widths.sort_unstable();
    section.integer("max_variants", &mut images.max_variants);
    let quality = section.section("quality");
    quality.integer("jpeg", &mut images.quality.jpeg);
    quality.integer("webp", &mut images.quality.webp);
    quality.integer("avif", &mut images.quality.avif);
    section.word("strip", &mut images.keep, &STRIPS);
    section.flag("client_hints", &mut images.client_hints);
    section.flag("async", &mut images.background);
    section.duration("first_answer", &mut images.first_answer);
    section.value("refused", &mut images.refused, refused);
    section.word("fallback", &mut images.fallback, &FALLBACKS);
    section.flag("svg_csp", &mut images.svg_csp);
    images.presets = read_presets(section, images.max_width);
    images.sign = read_sign(section.section("sign"), base);
    images
}

/// A word, or a status, with quotes or without.
pub(super) fn refused(value: &DeValue<'_>) -> Result<Refused, Wrong> {
    let written = match value {
        DeValue::Integer(number) => number.as_str(),
        other => text_of(other, "\"original\", 415 or 422")?,
    };
    match written {
        "original" => Ok(Refused::Original),
        "415" => Ok(Refused::UnsupportedMediaType),
        "422" => Ok(Refused::UnprocessableContent),
        _ => Err(Wrong::new("unknown word", "write \"original\", 415 or 422")),
    }
}

fn read_paths(section: Section<'_>, images: &mut ImageConfig) {
    section.words_or_none(
        "paths",
        &mut images.paths,
        &[
            ("cloudflare", PathStyle::Cloudflare),
            ("next", PathStyle::Next),
            ("ipx", PathStyle::Ipx),
            ("imgproxy", PathStyle::Imgproxy),
        ],
    );
    if !images.parameters && !images.paths.is_empty() {
        section.refuse(
            "paths",
            Wrong::new(
                "such paths are parameters, and parameters = false takes none",
                "leave one of the two out",
            ),
        );
    }
}

fn read_presets(section: Section<'_>, max_width: u32) -> BTreeMap<String, ImagePreset> {
    let mut presets = BTreeMap::new();
    for entry in section.entries("presets").unwrap_or_default() {
        match field::label(entry.name) {
            Ok(name) => {
                presets.insert(name, read_preset(section, &entry, max_width));
            }
            Err(wrong) => section.refuse_name(&entry, "presets", wrong),
        }
    }
    presets
}

fn read_preset(section: Section<'_>, preset: &Entry<'_>, max_width: u32) -> ImagePreset {
    let mut parameters = ImagePreset::default();
    let Some(entries) = section.entries_of(preset) else {
        let fix = "write { width = 320, fit = \"cover\" }, for example";
        section.refuse_entry(preset, "presets", Wrong::new("not a table", fix));
        return parameters;
    };
    let path = format!("presets.{}", preset.name);
    for entry in entries {
        let Some(text) = text_of_value(entry.value) else {
            let wrong = Wrong::new(
                "not a value of a parameter",
                "write a string, a number, true or false",
            );
            section.refuse_entry(&entry, &path, wrong);
            continue;
        };
        match parameters.set(entry.name, &text, max_width) {
            Ok(true) => {}
            Ok(false) => section.refuse_name(&entry, &path, unknown_parameter(entry.name)),
            Err(error) => {
                let wrong = Wrong::new("cannot be meant", format!("{error}"));
                section.refuse_entry(&entry, &path, wrong);
            }
        }
    }
    parameters
}

fn unknown_parameter(name: &str) -> Wrong {
    let fix = match nearest(name, ImagePreset::names()) {
        Some(known) => format!("write {known}"),
        None => {
            let known: Vec<&str> = ImagePreset::names().collect();
            format!("write one of {}", known.join(", "))
        }
    };
    Wrong::new("no parameter of pictures", fix)
}

/// A value as it stands in a URL.
fn text_of_value(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn read_sign(section: Section<'_>, base: &Path) -> ImageSigning {
    let mut sign = ImageSigning::default();
    section.flag("required", &mut sign.required);
    let keys = section.items_of("keys", &|value| match value {
        // As secret as this file is: for whoever makes it of a template.
        DeValue::String(text) => bearer_token(text, "the text").and_then(signing_key),
        _ => secret(value, base).and_then(signing_key),
    });
    sign.keys = keys.into_iter().flatten().map(|(key, _)| key).collect();
    if sign.required && !section.has("keys") {
        let fix = "write keys = [{ env = \"BRIM_IMAGE_KEY\" }] beside it";
        section.refuse("required", Wrong::new("there is no key to sign by", fix));
    } else if sign.required {
        section.not_empty("keys", Some(vec![()]));
    }
    sign
}

fn signing_key(secret: String) -> Result<SigningKey, Wrong> {
    match secret.len() {
        SIGNING_KEY_BYTES_MIN.. => Ok(SigningKey::new(secret)),
        _ => Err(Wrong::new(
            "too short to sign by",
            format!(
                "write at least {SIGNING_KEY_BYTES_MIN} characters, such as openssl rand -hex 32 prints"
            ),
        )),
    }
}
