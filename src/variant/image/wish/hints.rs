//! Client hints (Responsive Image Client Hints, WICG), for sites that ask for them.

use http::{HeaderMap, HeaderName};

use super::super::super::config::ImageConfig;
use super::WishedFormat;
use super::draft::Draft;
use super::values::{RATIO_MAX, RATIO_ONE, scaled_decimal, whole_number};

/// For `Accept-CH`.
pub const HINT_FIELDS: &str = "Sec-CH-DPR, Sec-CH-Width, Sec-CH-Viewport-Width";

/// The names of today and those of before, which some clients still send.
const RATIO: [&str; 2] = ["Sec-CH-DPR", "DPR"];
const WIDTH: [&str; 2] = ["Sec-CH-Width", "Width"];
const VIEWPORT: [&str; 2] = ["Sec-CH-Viewport-Width", "Viewport-Width"];

/// Browsers zoom in small steps: a ratio goes up to the next quarter, and a width to the next hundred where the site
/// has no steps of its own, so that hints alone make few variants.
const RATIO_STEP: u32 = 250;
const WIDTH_STEP: u32 = 100;

/// What a client says of its screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// Thousandths.
    ratio: Option<u32>,
    /// Of the place that the picture has, in pixels of the screen.
    width: Option<u32>,
    /// In pixels of CSS.
    viewport: Option<u32>,
}

impl Hints {
    /// Reads the fields; what is malformed is as if absent.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| {
                let name = HeaderName::try_from(*name).ok()?;
                headers.get(name)
            })?;
            value.to_str().ok()
        };
        let ratio = text(RATIO).and_then(|text| scaled_decimal(text, 3));
        let pixels = |names| {
            text(names)
                .and_then(whole_number)
                .filter(|pixels| *pixels > 0)
        };
        Self {
            ratio: ratio.map(|ratio| {
                let stepped = ratio.div_ceil(RATIO_STEP).saturating_mul(RATIO_STEP);
                stepped.clamp(RATIO_ONE, RATIO_MAX)
            }),
            width: pixels(WIDTH),
            viewport: pixels(VIEWPORT),
        }
    }

    /// Puts in what the URL does not say, and names the fields that were looked at.
    pub(super) fn fill(&self, draft: &mut Draft, config: &ImageConfig) -> Vec<&'static str> {
        let has_box = draft.width.is_some() || draft.height.is_some();
        let asked = draft.format.map(|asked| asked.format);
        if draft.placeholder.is_some() || asked == Some(WishedFormat::Facts) {
            return Vec::new();
        }
        let mut looked_at = Vec::new();
        if !has_box {
            looked_at.extend(WIDTH);
            if let Some(width) = self.width {
                draft.width = Some(stepped(width, config));
                // It is counted in pixels of the screen already.
                draft.dpr = None;
                return looked_at;
            }
            looked_at.extend(VIEWPORT);
            let Some(viewport) = self.viewport else {
                return looked_at;
            };
            draft.width = Some(stepped(viewport, config));
        }
        if draft.dpr.is_none() {
            looked_at.extend(RATIO);
            draft.dpr = self.ratio;
        }
        looked_at
    }
}

fn stepped(width: u32, config: &ImageConfig) -> u32 {
    let width = match config.widths.is_empty() {
        true => width.div_ceil(WIDTH_STEP).saturating_mul(WIDTH_STEP),
        false => width,
    };
    width.min(config.max_width)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::asked;
    use super::*;

    #[track_caller]
    fn check(query: &str, fields: &[(&'static str, &'static str)], wish: &str, varies: &[&str]) {
        let config = ImageConfig {
            enabled: true,
            client_hints: true,
            ..ImageConfig::default()
        };
        let headers = fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let hints = Hints::of(&headers);
        let asked = asked(&config, "/a.jpg", Some(query), None, Some(&hints)).unwrap();
        assert_eq!(asked.wish.unwrap().to_string(), wish);
        assert_eq!(asked.varies, varies);
    }

    #[test]
    fn a_box_that_is_asked_for_is_multiplied() {
        let ratio = ("sec-ch-dpr", "2.0");
        check("width=100", &[ratio], "width=200&format=auto", &RATIO);
        check(
            "width=100",
            &[("dpr", "1.6")],
            "width=175&format=auto",
            &RATIO,
        );
        check(
            "width=100",
            &[("dpr", "0.5")],
            "width=100&format=auto",
            &RATIO,
        );
        check(
            "width=100",
            &[("dpr", "x")],
            "width=100&format=auto",
            &RATIO,
        );
        check("width=100&dpr=1", &[ratio], "width=100&format=auto", &[]);
        check(
            "height=9",
            &[("sec-ch-width", "500")],
            "height=9&format=auto",
            &RATIO,
        );
        check("format=json&width=9", &[ratio], "format=json", &[]);
    }

    #[test]
    fn without_a_box_the_screen_decides() {
        check(
            "",
            &[],
            "format=auto",
            &[
                "Sec-CH-Width",
                "Width",
                "Sec-CH-Viewport-Width",
                "Viewport-Width",
            ],
        );
        check(
            "quality=5",
            &[("sec-ch-width", "401"), ("dpr", "2")],
            "width=500&quality=5&format=auto",
            &WIDTH,
        );
        check(
            "",
            &[("viewport-width", "360"), ("sec-ch-dpr", "3")],
            "width=1200&format=auto",
            &[
                "Sec-CH-Width",
                "Width",
                "Sec-CH-Viewport-Width",
                "Viewport-Width",
                "Sec-CH-DPR",
                "DPR",
            ],
        );
        check(
            "",
            &[("width", "99999999")],
            "width=4096&format=auto",
            &WIDTH,
        );
    }
}
