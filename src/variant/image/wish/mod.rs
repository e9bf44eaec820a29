//! What a URL wishes of a picture: its parameters, read, checked and made canonical.

mod base64;
mod canonical;
mod draft;
mod hints;
mod path;
mod pattern;
mod preset;
mod signature;
mod values;
mod vendor;

use self::draft::{Draft, Parameter};
use self::pattern::matches_any;
use super::super::config::{ImageConfig, ImageFormat};
use super::error::ParameterError;
use super::metadata::Keep;
use super::operations::Operations;
use super::placeholder::Placeholder;

pub use self::hints::{HINT_FIELDS, Hints};
pub use self::path::{Located, located};
pub use self::preset::ImagePreset;
pub use self::signature::{SignatureError, check_signature, signature_of};

/// The format that a URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WishedFormat {
    /// That of the original, or the nearest that browsers show.
    #[default]
    Original,
    /// The best that `Accept` allows.
    Negotiated,
    /// This one, whatever `Accept` says.
    Exactly(ImageFormat),
    /// No picture: what is known of it, as JSON.
    Facts,
}

/// What a URL asks of a picture, canonical: equal wishes are equal values. The pixel ratio is multiplied
/// in, widths are on the site's steps, and what has no effect is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Wish {
    operations: Operations,
    quality: Option<u8>,
    /// Whether the quality is to be searched for (`quality=auto`).
    is_quality_searched: bool,
    format: WishedFormat,
    /// Whether a JPEG comes in passes (`format=pjpg`).
    is_progressive: bool,
    /// What of the metadata stays; `None` is as the site says.
    metadata: Option<Keep>,
    /// What stands in for the picture, instead of it.
    placeholder: Option<Placeholder>,
}

impl Wish {
    /// The best format that the client takes, and nothing else: what `auto` gives every picture.
    #[must_use]
    pub fn auto() -> Self {
        Self {
            format: WishedFormat::Negotiated,
            ..Self::default()
        }
    }

    /// What is done to the pixels.
    pub(super) fn operations(&self) -> &Operations {
        &self.operations
    }

    /// Whether a JPEG comes in passes.
    pub(super) fn is_progressive(&self) -> bool {
        self.is_progressive
    }

    /// What of the metadata stays, when asked for.
    pub(super) fn metadata(&self) -> Option<Keep> {
        self.metadata
    }

    /// What stands in for the picture, when that is asked for.
    pub(super) fn placeholder(&self) -> Option<Placeholder> {
        self.placeholder
    }

    /// Whether the quality is to be searched for.
    pub(super) fn is_quality_searched(&self) -> bool {
        self.is_quality_searched
    }

    /// 1 to 100, when asked for.
    #[must_use]
    pub fn quality(&self) -> Option<u8> {
        self.quality
    }

    /// The format asked for.
    #[must_use]
    pub fn format(&self) -> WishedFormat {
        self.format
    }

    /// Pixels of the box, if bounded.
    #[must_use]
    pub fn width(&self) -> Option<u32> {
        self.operations.width
    }

    /// Whether the answer depends on `Accept`, and so must say `Vary: Accept`.
    #[must_use]
    pub fn is_negotiated(&self) -> bool {
        self.format == WishedFormat::Negotiated
    }

    /// Whether the answer depends on `Save-Data`: a quality that was asked for is kept, and some answers have none.
    #[must_use]
    pub fn may_save_data(&self) -> bool {
        let has_quality = match self.format {
            WishedFormat::Original | WishedFormat::Negotiated => true,
            WishedFormat::Exactly(ImageFormat::Png | ImageFormat::Gif) | WishedFormat::Facts => {
                false
            }
            WishedFormat::Exactly(ImageFormat::Avif | ImageFormat::Webp | ImageFormat::Jpeg) => {
                true
            }
        };
        let is_asked = self.quality.is_some() || self.is_quality_searched;
        !is_asked && self.placeholder.is_none() && has_quality
    }
}

/// What a request asks of the pictures of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// `None` where the path is none of the site's pictures, or nothing is asked for and the site has `auto` off.
    pub wish: Option<Wish>,
    /// What the origin may see of the query: our own parameters are cut out, everything else stays byte for byte
    /// and in order.
    pub query: Option<String>,
    /// Whether the URL itself asks for something.
    pub by_parameters: bool,
    /// Whether the URL has a signature, where the site has keys.
    pub is_signed: bool,
    /// Fields of the request that were looked at.
    pub varies: Vec<&'static str>,
    /// The pixel ratio that is multiplied in, in thousandths, when that is not 1.
    pub ratio: Option<u32>,
}

/// Parameters that stood in the path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathParameters(Draft);

/// Reads what a request asks of the site's pictures: `of_path` is what stood in the path, if anything.
///
/// # Errors
/// A parameter of ours has a value that cannot be meant, or stands there twice: the client gets a 400
/// with this text.
pub fn asked(
    config: &ImageConfig,
    path: &str,
    query: Option<&str>,
    of_path: Option<&PathParameters>,
    hints: Option<&Hints>,
) -> Result<Asked, ParameterError> {
    let untouched = Asked {
        query: query.map(str::to_owned),
        ..Asked::default()
    };
    // Such paths are parameters, too.
    let of_path = of_path.filter(|_| config.parameters);
    if !config.enabled || (of_path.is_none() && !matches_any(&config.patterns, path)) {
        return Ok(untouched);
    }
    let mut draft = of_path.map_or_else(Draft::default, |of_path| of_path.0.clone());
    let is_signed = config.sign.is_used() && signature::is_in(query);
    let query = cut(config, &mut draft, query)?;
    let by_parameters = of_path.is_some() || draft != Draft::default();
    if !by_parameters && !config.auto {
        return Ok(Asked {
            query,
            is_signed,
            ..untouched
        });
    }
    let mut draft = config.filled(draft)?;
    let varies = match hints {
        Some(hints) if config.client_hints => hints.fill(&mut draft, config),
        _ => Vec::new(),
    };
    Ok(Asked {
        wish: Some(draft.wish(config)),
        query,
        by_parameters,
        is_signed,
        varies,
        ratio: draft.applied_ratio(),
    })
}

/// As [`asked`], of a plain path and without hints.
///
/// # Errors
/// As there.
pub fn wish_of(
    config: &ImageConfig,
    path: &str,
    query: Option<&str>,
) -> Result<(Option<Wish>, Option<String>), ParameterError> {
    let asked = asked(config, path, query, None, None)?;
    Ok((asked.wish, asked.query))
}

/// Takes our parameters out of the query; what is left is the origin's.
fn cut(
    config: &ImageConfig,
    draft: &mut Draft,
    query: Option<&str>,
) -> Result<Option<String>, ParameterError> {
    let Some(query) = query else {
        return Ok(None);
    };
    let mut rest = Vec::new();
    let mut is_whole = true;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_ours = (config.sign.is_used() && signature::is_part(name))
            || read(config, draft, name, value)?;
        if is_ours {
            is_whole = false;
        } else {
            rest.push(pair);
        }
    }
    Ok(match is_whole {
        true => Some(query.to_owned()),
        false => (!rest.is_empty()).then(|| rest.join("&")),
    })
}

/// Reads one pair, if it is one of ours: then it is true.
fn read(
    config: &ImageConfig,
    draft: &mut Draft,
    name: &str,
    value: &str,
) -> Result<bool, ParameterError> {
    let value = values::decoded(value);
    let is_read = |parameter: Parameter| config.parameters || parameter == Parameter::Preset;
    match vendor::in_ours(&config.aliases, name, &value) {
        Some(pairs) => {
            let mut is_ours = false;
            for (parameter, value) in pairs.iter().filter(|(parameter, _)| is_read(*parameter)) {
                draft.set(*parameter, value, config.max_width)?;
                is_ours = true;
            }
            Ok(is_ours)
        }
        None => match Parameter::of(name).filter(|parameter| is_read(*parameter)) {
            Some(parameter) => {
                draft.set(parameter, &value, config.max_width)?;
                Ok(true)
            }
            None => Ok(false),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::config::{SigningKey, Vendor};
    use super::*;

    fn config() -> ImageConfig {
        ImageConfig {
            enabled: true,
            ..ImageConfig::default()
        }
    }

    fn stepped() -> ImageConfig {
        ImageConfig {
            widths: vec![320, 640, 1280],
            ..config()
        }
    }

    #[track_caller]
    fn check(config: &ImageConfig, query: &str, wish: &str, rest: Option<&str>) {
        let (found, left) = wish_of(config, "/a/b.jpg", Some(query)).unwrap();
        assert_eq!(found.map(|w| w.to_string()).as_deref(), Some(wish));
        assert_eq!(left.as_deref(), rest);
    }

    #[track_caller]
    fn check_error(query: &str, text: &str) {
        let error = wish_of(&config(), "/b.jpg", Some(query)).unwrap_err();
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn parameters_are_cut_and_made_canonical() {
        let c = config();
        check(&c, "width=300", "width=300&format=auto", None);
        check(
            &c,
            "v=1&width=0300&x",
            "width=300&format=auto",
            Some("v=1&x"),
        );
        check(
            &c,
            "format=webp&height=20&width=10&fit=cover",
            "width=10&height=20&fit=cover&format=webp",
            None,
        );
        check(&c, "width=10&fit=cover", "width=10&format=auto", None);
        check(&c, "fit=cover", "format=auto", None);
        check(&c, "quality=auto", "quality=auto&format=auto", None);
        check(&c, "quality=5&format=auto", "quality=5&format=auto", None);
        check(
            &c,
            "Width=x&w=3&%77idth=4",
            "format=auto",
            Some("Width=x&w=3&%77idth=4"),
        );
        check(&c, "", "format=auto", Some(""));
        check(&c, "a=1&&b=%zz", "format=auto", Some("a=1&&b=%zz"));
    }

    #[test]
    fn the_ratio_is_multiplied_in_and_gives_way_to_the_largest_side() {
        let c = config();
        check(&c, "dpr=3", "format=auto", None);
        check(
            &c,
            "dpr=2&width=100&height=50&fit=cover",
            "width=200&height=100&fit=cover&format=auto",
            None,
        );
        check(&c, "dpr=1.5&width=101", "width=152&format=auto", None);
        check(&c, "dpr=2.62549&width=1000", "width=2625&format=auto", None);
        check(
            &c,
            "dpr=3&width=4000&height=2000&fit=cover",
            "width=4096&height=2048&fit=cover&format=auto",
            None,
        );
        check(&c, "dpr=3&height=4000", "height=4096&format=auto", None);
    }

    #[test]
    fn widths_go_up_to_the_steps_and_take_the_height_along() {
        let c = stepped();
        check(&c, "width=1", "width=320&format=auto", None);
        check(&c, "width=320", "width=320&format=auto", None);
        check(&c, "width=321", "width=640&format=auto", None);
        check(&c, "width=2000", "width=1280&format=auto", None);
        check(&c, "height=400", "height=640&format=auto", None);
        check(
            &c,
            "width=160&height=80&fit=cover",
            "width=320&height=160&fit=cover&format=auto",
            None,
        );
        check(
            &c,
            "width=2560&height=80&fit=cover",
            "width=1280&height=40&fit=cover&format=auto",
            None,
        );
    }

    #[test]
    fn a_wrong_value_says_what_to_write() {
        let sides = "must be a whole number of pixels from 1 to 4096";
        for value in [
            "0",
            "",
            "-1",
            "+1",
            "1.5",
            "4097",
            "abc",
            "99999999999",
            "%zz",
        ] {
            check_error(&format!("width={value}"), &format!("width {sides}"));
            check_error(&format!("height={value}"), &format!("height {sides}"));
        }
        check_error("width", &format!("width {sides}"));
        check_error("width=1&width=1", "width is given twice; write it once");
        check_error(
            "quality=0",
            "quality must be a whole number from 1 to 100, or auto",
        );
        check_error(
            "quality=101",
            "quality must be a whole number from 1 to 100, or auto",
        );
        check_error(
            "quality=300",
            "quality must be a whole number from 1 to 100, or auto",
        );
        check_error("fit=squeeze", "fit must be contain, cover, pad or fill");
        check_error(
            "format=jpg",
            "format must be auto, avif, webp, jpeg, pjpg, png, gif or json",
        );
        for value in [
            "0", "0.9", "3.001", "4", "2.", ".5", "1e1", "NaN", "1.0.0", "-2",
        ] {
            check_error(&format!("dpr={value}"), "dpr must be a number from 1 to 3");
        }
    }

    #[test]
    fn every_parameter_has_one_spelling() {
        let c = ImageConfig {
            auto: false,
            ..config()
        };
        for (query, wish) in [
            (
                "fit=pad&width=9&height=8&background=%23fff",
                "width=9&height=8&fit=pad&background=ffffffff",
            ),
            ("fit=fill&width=9&height=8", "width=9&height=8&fit=stretch"),
            ("fit=crop&width=9&height=8", "width=9&height=8&fit=cover"),
            ("gravity=smart", ""),
            (
                "gravity=smart&width=9&height=8&fit=pad",
                "width=9&height=8&fit=pad",
            ),
            (
                "gravity=top-left&width=9&height=8&fit=cover",
                "width=9&height=8&fit=cover&gravity=0.000,0.000",
            ),
            (
                "gravity=0.5,0.5&width=9&height=8&fit=cover",
                "width=9&height=8&fit=cover",
            ),
            ("crop=50%25,50%,10,1.5p", "crop=50.00p,50.00p,10,1.50p"),
            ("crop=100p,100p,0,0p", ""),
            ("crop=-0,100p,0p,0", ""),
            ("crop=-7,-8,1,2", "crop=-7,-8,1,2"),
            ("crop=1,1,0,100%", "crop=1,1,0,100.00p"),
            ("upscale=1", ""),
            ("upscale=true&width=9", "width=9&upscale=1"),
            ("upscale=0&width=9", "width=9"),
            (
                "blur=0&sharpen=0.0&brightness=1&contrast=0&saturation=1.004",
                "",
            ),
            (
                "blur=7&sharpen=1.5&brightness=2&contrast=0.5&saturation=0",
                "blur=7&sharpen=1.50&brightness=2.00&contrast=0.50&saturation=0.00",
            ),
            ("rotate=180&flip=hv", ""),
            ("rotate=270&flip=h", "rotate=90&flip=v"),
            ("flip=hv", "rotate=180"),
            ("rotate=360", ""),
            ("anim=0", "anim=0"),
            ("anim=false", "anim=0"),
            ("anim=1", ""),
            ("background=transparent", ""),
            ("background=rgb(1,%202,3)", "background=010203ff"),
            ("metadata=keep", "metadata=keep"),
            ("format=pjpg", "format=pjpg"),
            ("format=gif&quality=4", "format=gif"),
            ("format=json&width=4&blur=3", "format=json"),
            (
                "placeholder=thumbhash&format=webp&quality=9&rotate=90",
                "rotate=90&placeholder=thumbhash",
            ),
            ("width=%33%30", "width=30"),
        ] {
            check(&c, query, wish, None);
        }
    }

    #[test]
    fn vendors_words_are_read_where_they_are_listed() {
        let site = |aliases: &[Vendor]| ImageConfig {
            auto: false,
            aliases: aliases.to_vec(),
            ..config()
        };
        for (query, wish, rest) in [
            (
                "w=9&h=8&fit=scale-down&f=auto&q=70",
                "width=9&height=8&quality=70&format=auto",
                None,
            ),
            (
                "w=9&h=8&fit=cover&g=0.25x0.5",
                "width=9&height=8&fit=cover&gravity=0.250,0.500",
                None,
            ),
            (
                "w=9&h=8&fit=crop&gravity=auto",
                "width=9&height=8&fit=cover&gravity=smart",
                None,
            ),
            (
                "w=9&h=8&fit=squeeze&q=low",
                "width=9&height=8&fit=stretch&quality=50",
                None,
            ),
            ("trim=1;2;3;4", "crop=-2,-3,4,1", None),
            (
                "format=baseline-jpeg&onerror=redirect",
                "format=jpeg",
                Some("onerror=redirect"),
            ),
            ("format=json&w=5", "format=json", None),
            ("w=9&dpr=5", "width=27", None),
            ("w=9&dpr=0.5", "width=9", None),
            ("trim=border&fm=webp", "", Some("trim=border&fm=webp")),
        ] {
            let found = wish_of(&site(&VENDORS[..1]), "/a.jpg", Some(query)).unwrap();
            assert_eq!(
                found.0.map(|w| w.to_string()).unwrap_or_default(),
                wish,
                "{query}"
            );
            assert_eq!(found.1.as_deref(), rest, "{query}");
        }
        for (query, wish, rest) in [
            (
                "width=9&height=8&fit=bounds&format=pjpg",
                "width=9&height=8&format=pjpg",
                None,
            ),
            (
                "auto=webp&format=jpg&quality=70,60",
                "quality=70&format=auto",
                None,
            ),
            ("format=webply", "format=webp", None),
            ("crop=40,50p,x1,y2", "crop=40,50.00p,1,2", None),
            ("crop=16:9", "", Some("crop=16:9")),
            ("width=0.5", "", Some("width=0.5")),
            (
                "bg-color=1,2,3&width=9&height=9&fit=pad",
                "width=9&height=9&fit=pad&background=010203ff",
                None,
            ),
            ("bg-color=f00", "background=ff0000ff", None),
            (
                "brightness=-20&contrast=20&saturation=-100",
                "brightness=0.80&contrast=1.20&saturation=0.00",
                None,
            ),
            ("brightness=1.5", "brightness=1.50", None),
            ("sharpen=a2,r1,t0&blur=2.5", "blur=3&sharpen=2.00", None),
            ("orient=r", "rotate=90", None),
            ("orient=6&pad=9", "", Some("orient=6&pad=9")),
            ("trim=1,2", "crop=-2,-1,2,1", None),
            ("width=9&enable=upscale", "width=9&upscale=1", None),
            ("frame=1", "anim=0", None),
        ] {
            let found = wish_of(&site(&VENDORS[1..2]), "/a.jpg", Some(query)).unwrap();
            assert_eq!(
                found.0.map(|w| w.to_string()).unwrap_or_default(),
                wish,
                "{query}"
            );
            assert_eq!(found.1.as_deref(), rest, "{query}");
        }
        for (query, wish, rest) in [
            (
                "w=9&h=8&fit=clip&fm=jpg&q=7",
                "width=9&height=8&quality=7&format=jpeg",
                None,
            ),
            (
                "w=9&h=8&fit=fill&bg=80ff0000",
                "width=9&height=8&fit=pad&background=ff000080",
                None,
            ),
            ("w=9&h=8&fit=scale", "width=9&height=8&fit=stretch", None),
            (
                "w=9&h=8&fit=crop&crop=top,left",
                "width=9&height=8&fit=cover&gravity=0.000,0.000",
                None,
            ),
            (
                "w=9&h=8&fit=crop&crop=faces,edges",
                "width=9&height=8&fit=cover&gravity=smart",
                None,
            ),
            (
                "w=9&h=8&fit=crop&crop=focalpoint&fp-x=.25&fp-y=1",
                "width=9&height=8&fit=cover&gravity=0.250,1.000",
                Some("crop=focalpoint"),
            ),
            ("auto=format,compress&fm=png", "format=auto", None),
            ("auto=compress", "", Some("auto=compress")),
            ("rect=1,2,3,4&rot=90", "crop=3,4,1,2&rotate=270", None),
            ("rot=45&w=0.5", "", Some("rot=45&w=0.5")),
            (
                "sharp=25&bri=50&con=-50&sat=-100&blur=900",
                "blur=250&sharpen=2.50&brightness=1.50&contrast=0.50&saturation=0.00",
                None,
            ),
            ("fm=blurhash", "placeholder=blurhash", None),
            ("fm=mp4", "", Some("fm=mp4")),
        ] {
            let found = wish_of(&site(&VENDORS[2..]), "/a.jpg", Some(query)).unwrap();
            assert_eq!(
                found.0.map(|w| w.to_string()).unwrap_or_default(),
                wish,
                "{query}"
            );
            assert_eq!(found.1.as_deref(), rest, "{query}");
        }
        let of_imgix = site(&VENDORS[2..]);
        for (query, text) in [
            ("w=9&width=9", "width is given twice; write it once"),
            (
                "bri=x",
                "brightness must be a number from 0 to 10; 1 changes nothing",
            ),
            (
                "q=0",
                "quality must be a whole number from 1 to 100, or auto",
            ),
        ] {
            let error = wish_of(&of_imgix, "/a.jpg", Some(query)).unwrap_err();
            assert_eq!(error.to_string(), text, "{query}");
        }
    }

    fn with_presets() -> ImageConfig {
        let mut thumb = ImagePreset::default();
        for (name, value) in [
            ("width", "320"),
            ("height", "200"),
            ("fit", "cover"),
            ("quality", "50"),
        ] {
            assert_eq!(thumb.set(name, value, 4096), Ok(true));
        }
        assert_eq!(thumb.set("w", "1", 4096), Ok(false));
        assert_eq!(thumb.set("preset", "x", 4096), Ok(false));
        assert!(thumb.set("dpr", "9", 4096).is_err());
        ImageConfig {
            presets: [("thumb".to_owned(), thumb)].into(),
            ..config()
        }
    }

    #[test]
    fn presets_stand_behind_what_the_url_says() {
        let c = with_presets();
        check(
            &c,
            "preset=thumb",
            "width=320&height=200&fit=cover&quality=50&format=auto",
            None,
        );
        check(
            &c,
            "width=100&preset=thumb&quality=auto&p=1",
            "width=100&height=200&fit=cover&quality=auto&format=auto",
            Some("p=1"),
        );
        check(
            &c,
            "preset=thumb&dpr=2&fit=contain",
            "width=640&height=400&quality=50&format=auto",
            None,
        );
        let error = wish_of(&c, "/b.jpg", Some("preset=thump")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "preset must be the name of a preset of the site"
        );

        let alone = ImageConfig {
            parameters: false,
            aliases: VENDORS.to_vec(),
            ..c
        };
        check(
            &alone,
            "width=x&preset=thumb&q=3",
            "width=320&height=200&fit=cover&quality=50&format=auto",
            Some("width=x&q=3"),
        );
        check(
            &alone,
            "p=thumb",
            "width=320&height=200&fit=cover&quality=50&format=auto",
            None,
        );
    }

    #[test]
    fn what_signs_is_cut_where_the_site_signs() {
        check(
            &config(),
            "sig=a&expires=1",
            "format=auto",
            Some("sig=a&expires=1"),
        );
        let mut signing = config();
        signing.sign.keys = vec![SigningKey::new("0123456789abcdef")];
        check(&signing, "sig=a&v=1&expires=1", "format=auto", Some("v=1"));
    }

    #[test]
    fn only_the_sites_pictures_are_wished_for() {
        let wished = |config: &ImageConfig, path: &str, query| {
            let (wish, rest) = wish_of(config, path, query).unwrap();
            assert_eq!(rest.as_deref(), query, "nothing is cut");
            wish.is_some()
        };
        assert!(wished(&config(), "/a.JPG", None));
        assert!(!wished(&config(), "/a.html", Some("width=x")));
        assert!(!wished(&config(), "/a.jpg/b", Some("width=x")));
        assert!(!wished(&ImageConfig::default(), "/a.jpg", Some("width=x")));

        let no_parameters = ImageConfig {
            parameters: false,
            ..config()
        };
        assert!(wished(&no_parameters, "/a.jpg", Some("width=x")));
        let explicit = ImageConfig {
            auto: false,
            ..config()
        };
        assert!(!wished(&explicit, "/a.jpg", Some("v=1")));
        let (wish, _) = wish_of(&explicit, "/a.jpg", Some("width=9")).unwrap();
        assert_eq!(wish.unwrap().format(), WishedFormat::Original);
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(
            name in prop::sample::select(NAMES.to_vec()),
            value in ".{0,20}",
            query in ".{0,60}",
            path in ".{0,20}",
        ) {
            let all = ImageConfig { aliases: VENDORS.to_vec(), ..with_presets() };
            let query = format!("{query}&{name}={value}");
            for (config, path) in [(&config(), path.as_str()), (&all, "/x.png")] {
                if let Ok((_, rest)) = wish_of(config, path, Some(&query)) {
                    prop_assert!(rest.is_none_or(|rest| rest.len() <= query.len()));
                }
            }
        }

        #[test]
        fn the_canonical_query_is_the_same_wish(
            (all, vendors) in (pairs(), prop::sample::subsequence(VENDORS.to_vec(), 0..=3)),
            steps in any::<bool>(),
            auto in any::<bool>(),
        ) {
            let base = if steps { stepped() } else { config() };
            let config = ImageConfig { auto, aliases: vendors, ..base };
            let query = format!("keep=1&{}", all.join("&"));
            let Ok((Some(wish), rest)) = wish_of(&config, "/x.png", Some(&query)) else {
                return Ok(());
            };
            prop_assert!(rest.is_some_and(|rest| rest.starts_with("keep=1")));
            let longest = wish.operations.width.max(wish.operations.height);
            prop_assert!(longest.unwrap_or(0) <= config.max_width);
            let again = wish_of(&config, "/x.png", Some(&wish.to_string())).unwrap();
            match again.0 {
                Some(again) => prop_assert_eq!(again, wish, "{}", wish),
                None => prop_assert_eq!(wish, Wish::default()),
            }
        }
    }

    /// Names with values of many forms.
    const NAMES: [&str; 20] = [
        "width",
        "crop",
        "gravity",
        "background",
        "dpr",
        "trim",
        "auto",
        "quality",
        "g",
        "rect",
        "fp-x",
        "bg",
        "bg-color",
        "sharpen",
        "sharp",
        "brightness",
        "bri",
        "blur",
        "rot",
        "preset",
    ];

    const VENDORS: [Vendor; 3] = [Vendor::Cloudflare, Vendor::Fastly, Vendor::Imgix];

    /// Pairs with values of every kind, each name at most once.
    fn pairs() -> impl Strategy<Value = Vec<String>> {
        let decimal = || (0_u32..1000).prop_map(|v| format!("{}.{:02}", v / 100, v % 100));
        let side = || (1_u32..5000).prop_map(|v| v.to_string());
        let word =
            |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
        let length = || {
            prop_oneof![
                (0_u32..3000).prop_map(|v| v.to_string()),
                (0_u32..10_001).prop_map(|v| format!("{}.{:02}%", v / 100, v % 100)),
            ]
        };
        let extent = || prop_oneof![length(), (0_u32..90).prop_map(|v| format!("-{v}"))];
        let crop = (extent(), extent(), length(), length())
            .prop_map(|(w, h, x, y)| format!("{w},{h},{x},{y}"));
        let point = (0_u32..1001, 0_u32..1001).prop_map(|(x, y)| {
            format!("{}.{:03},{}.{:03}", x / 1000, x % 1000, y / 1000, y % 1000)
        });
        let gravity = prop_oneof![
            word(&["smart", "center", "left", "top-right", "bottom"]),
            point
        ];
        let values: Vec<(&str, BoxedStrategy<String>)> = vec![
            ("width", side().boxed()),
            ("height", side().boxed()),
            (
                "dpr",
                (100_u32..300)
                    .prop_map(|v| format!("{}.{:02}", v / 100, v % 100))
                    .boxed(),
            ),
            (
                "fit",
                word(&["contain", "cover", "pad", "fill", "crop", "stretch"]).boxed(),
            ),
            ("gravity", gravity.boxed()),
            ("crop", crop.boxed()),
            ("upscale", word(&["0", "1", "true"]).boxed()),
            ("quality", (1_u8..101).prop_map(|v| v.to_string()).boxed()),
            (
                "format",
                word(&["auto", "avif", "webp", "jpeg", "pjpg", "png", "gif", "json"]).boxed(),
            ),
            ("blur", (0_u8..251).prop_map(|v| v.to_string()).boxed()),
            ("sharpen", decimal().boxed()),
            ("rotate", word(&["0", "90", "180", "270", "360"]).boxed()),
            ("flip", word(&["h", "v", "hv"]).boxed()),
            (
                "background",
                word(&["red", "%23f008", "rgb(1,2,3)", "transparent"]).boxed(),
            ),
            ("brightness", decimal().boxed()),
            ("contrast", decimal().boxed()),
            ("saturation", decimal().boxed()),
            ("anim", word(&["0", "1"]).boxed()),
            ("metadata", word(&["none", "copyright", "keep"]).boxed()),
            (
                "placeholder",
                word(&["thumbhash", "blurhash", "lqip"]).boxed(),
            ),
        ];
        let present = prop::collection::vec(prop::bool::weighted(0.3), values.len());
        let all: Vec<BoxedStrategy<String>> = values
            .into_iter()
            .map(|(name, value)| {
                value
                    .prop_map(move |value| format!("{name}={value}"))
                    .boxed()
            })
            .collect();
        (all, present).prop_map(|(pairs, present)| {
            let kept = pairs.into_iter().zip(present).filter(|(_, kept)| *kept);
            kept.map(|(pair, _)| pair).collect()
        })
    }
}
