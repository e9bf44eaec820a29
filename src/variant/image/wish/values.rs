//! The values of parameters, from their percent-decoded text.

use std::borrow::Cow;

use super::super::metadata::Keep;
use super::super::operations::{Crop, Fit, Flip, Gravity, Length, Quarters};
use super::super::placeholder::Placeholder;

/// The pixel ratio 1, in thousandths.
pub(super) const RATIO_ONE: u32 = 1000;
/// The largest pixel ratio, in thousandths.
pub(super) const RATIO_MAX: u32 = 3000;
/// Radius in pixels (Cloudflare Images, `blur`).
const BLUR_MAX: u32 = 250;
/// Cloudflare Images, `sharpen`, in hundredths.
const SHARPEN_MAX: u32 = 1000;
/// Ten times as bright, in hundredths.
const FACTOR_MAX: u32 = 1000;
/// The whole side, in hundredths of a percent.
pub(super) const WHOLE: u16 = 10_000;

/// Percent-decoded, a plus sign for a space as forms write it. A percent sign without two hexadecimal digits means
/// itself (`crop=50%,50%,0,0`); what is no UTF-8 then becomes a character that no value has.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    unescaped(text, b' ')
}

/// The same of text in a path, where a plus sign means itself (RFC 3986 §3.3).
pub(super) fn decoded_in_path(text: &str) -> Cow<'_, str> {
    unescaped(text, b'+')
}

fn unescaped(text: &str, plus: u8) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (b'+', _) => bytes.push(plus),
            (byte, _) => bytes.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Digits only: `parse` alone would take a sign.
pub(super) fn whole_number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A number without a sign, with at most nine decimals; those beyond `places` are cut.
pub(super) fn scaled_decimal(text: &str, places: usize) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = whole_number(whole)?;
    let digits = fraction.len();
    if digits == 0 || digits > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The zero in front is for no places at all.
    let decimals = fraction.chars().chain("000000000".chars()).take(places);
    let kept: String = std::iter::once('0').chain(decimals).collect();
    let one = 10_u32.checked_pow(u32::try_from(places).ok()?)?;
    whole.checked_mul(one)?.checked_add(kept.parse().ok()?)
}

pub(super) fn ratio(text: &str) -> Option<u32> {
    scaled_decimal(text, 3).filter(|ratio| (RATIO_ONE..=RATIO_MAX).contains(ratio))
}

/// A factor in hundredths.
pub(super) fn factor(text: &str) -> Option<u16> {
    let hundredths = scaled_decimal(text, 2).filter(|factor| *factor <= FACTOR_MAX)?;
    u16::try_from(hundredths).ok()
}

pub(super) fn sharpness(text: &str) -> Option<u16> {
    let hundredths = scaled_decimal(text, 2).filter(|amount| *amount <= SHARPEN_MAX)?;
    u16::try_from(hundredths).ok()
}

pub(super) fn radius(text: &str) -> Option<u8> {
    let pixels = whole_number(text).filter(|radius| *radius <= BLUR_MAX)?;
    u8::try_from(pixels).ok()
}

pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

pub(super) fn quality(text: &str) -> Option<u8> {
    whole_number(text)
        .and_then(|quality| u8::try_from(quality).ok())
        .filter(|quality| (1..=100).contains(quality))
}

pub(super) fn fit(text: &str) -> Option<Fit> {
    match text {
        "contain" => Some(Fit::Contain),
        "cover" | "crop" => Some(Fit::Cover),
        "pad" => Some(Fit::Pad),
        "fill" | "stretch" => Some(Fit::Fill),
        _ => None,
    }
}

pub(super) fn gravity(text: &str) -> Option<Gravity> {
    let point = |x, y| Some(Gravity::Point(x, y));
    match text {
        "smart" => Some(Gravity::Smart),
        "center" => point(500, 500),
        "left" => point(0, 500),
        "right" => point(1000, 500),
        "top" => point(500, 0),
        "bottom" => point(500, 1000),
        "top-left" => point(0, 0),
        "top-right" => point(1000, 0),
        "bottom-left" => point(0, 1000),
        "bottom-right" => point(1000, 1000),
        _ => {
            let (x, y) = text.split_once(',')?;
            point(share(x)?, share(y)?)
        }
    }
}

/// 0 to 1, in thousandths.
pub(super) fn share(text: &str) -> Option<u16> {
    let thousandths = scaled_decimal(text, 3).filter(|share| *share <= 1000)?;
    u16::try_from(thousandths).ok()
}

/// `w,h,x,y`, each in pixels, or in percent of its side; a negative width or height ends that many pixels before
/// the far side.
pub(super) fn crop(text: &str) -> Option<Crop> {
    let mut parts = text.split(',');
    let crop = Crop {
        width: extent(parts.next()?)?,
        height: extent(parts.next()?)?,
        left: length(parts.next()?)?,
        top: length(parts.next()?)?,
    };
    let is_empty = |length: Length| matches!(length, Length::Pixels(0) | Length::Share(0));
    (parts.next().is_none() && !is_empty(crop.width) && !is_empty(crop.height)).then_some(crop)
}

fn extent(text: &str) -> Option<Length> {
    match text.strip_prefix('-') {
        Some(pixels) => whole_number(pixels).map(Length::ToEndLess),
        None => length(text),
    }
}

/// Percent signs are awkward in queries: `p` says the same.
fn length(text: &str) -> Option<Length> {
    match text.strip_suffix(['%', 'p']) {
        Some(percent) => {
            let share = scaled_decimal(percent, 2)?;
            let share = u16::try_from(share).ok().filter(|share| *share <= WHOLE)?;
            Some(Length::Share(share))
        }
        None => whole_number(text).map(Length::Pixels),
    }
}

pub(super) fn rotation(text: &str) -> Option<Quarters> {
    match text {
        "0" | "360" => Some(Quarters::None),
        "90" => Some(Quarters::One),
        "180" => Some(Quarters::Two),
        "270" => Some(Quarters::Three),
        _ => None,
    }
}

pub(super) fn flip(text: &str) -> Option<Flip> {
    match text {
        "h" => Some(Flip::Horizontal),
        "v" => Some(Flip::Vertical),
        "hv" | "vh" => Some(Flip::Both),
        _ => None,
    }
}

pub(super) fn metadata(text: &str) -> Option<Keep> {
    match text {
        "none" => Some(Keep::None),
        "copyright" => Some(Keep::Copyright),
        "keep" => Some(Keep::All),
        _ => None,
    }
}

pub(super) fn placeholder(text: &str) -> Option<Placeholder> {
    match text {
        "thumbhash" => Some(Placeholder::ThumbHash),
        "blurhash" => Some(Placeholder::BlurHash),
        "lqip" => Some(Placeholder::Lqip),
        _ => None,
    }
}

/// The basic colours of CSS (CSS Color 4 §6.1), and the one that is none.
const NAMED: [(&str, [u8; 4]); 18] = [
    ("aqua", [0, 255, 255, 255]),
    ("black", [0, 0, 0, 255]),
    ("blue", [0, 0, 255, 255]),
    ("fuchsia", [255, 0, 255, 255]),
    ("gray", [128, 128, 128, 255]),
    ("green", [0, 128, 0, 255]),
    ("grey", [128, 128, 128, 255]),
    ("lime", [0, 255, 0, 255]),
    ("maroon", [128, 0, 0, 255]),
    ("navy", [0, 0, 128, 255]),
    ("olive", [128, 128, 0, 255]),
    ("purple", [128, 0, 128, 255]),
    ("red", [255, 0, 0, 255]),
    ("silver", [192, 192, 192, 255]),
    ("teal", [0, 128, 128, 255]),
    ("transparent", [0, 0, 0, 0]),
    ("white", [255, 255, 255, 255]),
    ("yellow", [255, 255, 0, 255]),
];

/// A colour of CSS: `#rgb`, `#rgba`, `#rrggbb`, `#rrggbbaa` (the `#` may be left out), `rgb(…)`, `rgba(…)`, a name.
pub(super) fn colour(text: &str) -> Option<[u8; 4]> {
    let text = text.trim().to_ascii_lowercase();
    let named = NAMED.iter().find(|(name, _)| *name == text);
    if let Some((_, colour)) = named {
        return Some(*colour);
    }
    let called = text
        .strip_prefix("rgba(")
        .or_else(|| text.strip_prefix("rgb("));
    match called {
        Some(inside) => rgb(inside.strip_suffix(')')?),
        None => hex_colour(text.strip_prefix('#').unwrap_or(&text)),
    }
}

fn hex_colour(text: &str) -> Option<[u8; 4]> {
    let digits: Vec<u8> = text.bytes().map(hex).collect::<Option<_>>()?;
    let twice = |digit: u8| digit << 4 | digit;
    match *digits {
        [r, g, b] => Some([twice(r), twice(g), twice(b), 255]),
        [r, g, b, a] => Some([twice(r), twice(g), twice(b), twice(a)]),
        [r, s, g, h, b, c] => Some([r << 4 | s, g << 4 | h, b << 4 | c, 255]),
        [r, s, g, h, b, c, a, z] => Some([r << 4 | s, g << 4 | h, b << 4 | c, a << 4 | z]),
        _ => None,
    }
}

/// What stands in the brackets: three channels and perhaps the alpha, with commas or spaces, and a slash.
fn rgb(text: &str) -> Option<[u8; 4]> {
    let parts = text
        .split([',', ' ', '/'])
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>();
    let (channels, alpha) = match *parts {
        [r, g, b] => ([r, g, b], 255),
        [r, g, b, alpha] => ([r, g, b], of_unit(alpha)?),
        _ => return None,
    };
    let [r, g, b] = channels.map(channel);
    Some([r?, g?, b?, alpha])
}

fn channel(text: &str) -> Option<u8> {
    match text.strip_suffix('%') {
        Some(_) => of_unit(text),
        None => u8::try_from(whole_number(text)?).ok(),
    }
}

/// 0 to 1, or a percentage, of 255.
fn of_unit(text: &str) -> Option<u8> {
    let text = match text.strip_prefix('.') {
        Some(decimals) => Cow::Owned(format!("0.{decimals}")),
        None => Cow::Borrowed(text),
    };
    let (number, one) = match text.strip_suffix('%') {
        Some(percent) => (scaled_decimal(percent, 3)?, 100_000),
        None => (scaled_decimal(&text, 3)?, 1000),
    };
    if number > one {
        return None;
    }
    u8::try_from((number * 255 + one / 2) / one).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_colour(text: &str, expect: Option<[u8; 4]>) {
        assert_eq!(colour(text), expect, "{text}");
    }

    #[test]
    fn colours_are_those_of_css() {
        check_colour("#f80", Some([255, 136, 0, 255]));
        check_colour("F80c", Some([255, 136, 0, 204]));
        check_colour("ff8800", Some([255, 136, 0, 255]));
        check_colour("#ff880080", Some([255, 136, 0, 128]));
        check_colour("rgb(1,2,3)", Some([1, 2, 3, 255]));
        check_colour("rgba(1, 2, 3, 0.5)", Some([1, 2, 3, 128]));
        check_colour("RGB(1 2 3 / 50%)", Some([1, 2, 3, 128]));
        check_colour("rgb(100%,0%,50%)", Some([255, 0, 128, 255]));
        check_colour("rgba(1,2,3,.25)", Some([1, 2, 3, 64]));
        check_colour(" White ", Some([255, 255, 255, 255]));
        check_colour("transparent", Some([0, 0, 0, 0]));
        for wrong in [
            "",
            "#",
            "ff",
            "fffff",
            "#ggg",
            "rgb(1,2)",
            "rgb(1,2,256)",
            "rgb(1,2,3",
            "rgba(1,2,3,2)",
            "rgb(-1,2,3)",
            "blurple",
            "é12",
        ] {
            check_colour(wrong, None);
        }
    }

    #[test]
    fn texts_are_decoded_as_forms_write_them() {
        for (text, expect) in [
            ("abc", "abc"),
            ("a%20b+c", "a b c"),
            ("%23f00", "#f00"),
            ("50%,50%", "50%,50%"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%C3%A4", "ä"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(text), expect, "{text}");
        }
        assert_eq!(decoded_in_path("a%20b+c"), "a b+c");
    }

    #[test]
    fn a_crop_has_four_lengths() {
        let expect = Crop {
            width: Length::Share(5000),
            height: Length::Pixels(40),
            left: Length::Share(1250),
            top: Length::Pixels(0),
        };
        assert_eq!(crop("50%,40,12.5p,0"), Some(expect));
        let to_end = crop("-3,-4,5,6").unwrap();
        assert_eq!(to_end.width, Length::ToEndLess(3));
        for wrong in [
            "",
            "1,2,3",
            "1,2,3,4,5",
            "0,1,1,1",
            "1,0%,1,1",
            "1,1,-1,0",
            "101%,1,1,1",
            "1,1,a,1",
        ] {
            assert_eq!(crop(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let text = decoded(&text);
            let _all = (colour(&text), crop(&text), gravity(&text), ratio(&text), factor(&text), radius(&text));
        }
    }
}
