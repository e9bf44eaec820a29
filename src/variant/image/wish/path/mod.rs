//! Paths that name a picture and what is to be made of it, in the forms of other products.

mod cloudflare;
mod imgproxy;
mod ipx;
mod next;

use super::super::super::config::{ImageConfig, PathStyle};
use super::super::error::ParameterError;
use super::PathParameters;
use super::draft::{Draft, Parameter};
use super::values;

/// A picture that such a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The host and perhaps the port, where the path names one: it has to be one of the site's.
    pub host: Option<String>,
    /// Not canonical.
    pub path: String,
    /// What follows the picture's path.
    pub query: Option<String>,
    /// What is asked of it.
    pub parameters: PathParameters,
}

/// Reads a path in one of the forms that the site takes; `None` for any other path.
///
/// # Errors
/// A parameter in it has a wrong value, or it names no picture that could be ours.
pub fn located(
    config: &ImageConfig,
    path: &str,
    query: Option<&str>,
) -> Result<Option<Located>, ParameterError> {
    if !config.enabled {
        return Ok(None);
    }
    for style in &config.paths {
        let mut options = Options {
            draft: Draft::default(),
            max_width: config.max_width,
        };
        let source = match style {
            PathStyle::Cloudflare => cloudflare::read(&mut options, path, query)?,
            PathStyle::Next => next::read(&mut options, path, query)?,
            PathStyle::Ipx => ipx::read(&mut options, path, query)?,
            PathStyle::Imgproxy => imgproxy::read(&mut options, path, query)?,
        };
        if let Some(Source { host, path, query }) = source {
            return Ok(Some(Located {
                host,
                path,
                query,
                parameters: PathParameters(options.draft),
            }));
        }
    }
    Ok(None)
}

/// What stands in a path besides the picture.
struct Options {
    draft: Draft,
    max_width: u32,
}

impl Options {
    fn set(&mut self, parameter: Parameter, value: &str) -> Result<(), ParameterError> {
        self.draft.set(parameter, value, self.max_width)
    }

    /// As [`Self::set`], where 0 and nothing are no bound.
    fn bound(&mut self, parameter: Parameter, value: &str) -> Result<(), ParameterError> {
        match value {
            "" | "0" => Ok(()),
            value => self.set(parameter, value),
        }
    }

    /// The ratios of others go further than ours.
    fn ratio(&mut self, value: &str) -> Result<(), ParameterError> {
        let thousandths = values::scaled_decimal(value, 3);
        match thousandths {
            Some(..1000) => self.set(Parameter::Dpr, "1"),
            Some(3001..) => self.set(Parameter::Dpr, "3"),
            _ => self.set(Parameter::Dpr, value),
        }
    }

    /// Radii of others have decimals.
    fn radius(&mut self, value: &str) -> Result<(), ParameterError> {
        let rounded =
            values::scaled_decimal(value, 1).map(|tenths| tenths.div_ceil(10).min(250).to_string());
        self.set(Parameter::Blur, rounded.as_deref().unwrap_or(value))
    }
}

/// Where a picture is.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    host: Option<String>,
    path: String,
    query: Option<String>,
}

impl Source {
    /// One that stands in a path: a path, its first slash left out or not, or a URL, of whose two slashes some
    /// programs leave one.
    fn in_path(text: &str, query: Option<&str>) -> Self {
        let query = query.map(str::to_owned);
        match without_scheme(text) {
            Some(rest) => Self {
                query,
                ..Self::of_authority(rest.trim_start_matches('/'))
            },
            None => Self {
                host: None,
                path: format!("/{}", text.trim_start_matches('/')),
                query,
            },
        }
    }

    /// One that is text: an absolute path or a URL, each perhaps with a query.
    fn of_text(text: &str) -> Option<Self> {
        let text = text.split('#').next().unwrap_or_default();
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(escaped(query))),
            None => (text, None),
        };
        let text = escaped(text);
        match without_scheme(&text) {
            Some(rest) => rest.strip_prefix("//").map(|rest| Self {
                query,
                ..Self::of_authority(rest)
            }),
            // Two slashes begin a host (RFC 3986 §4.2), for browsers a backslash is one of them.
            None if text.starts_with('/') && !text.starts_with("//") => Some(Self {
                host: None,
                path: text,
                query,
            }),
            None => None,
        }
    }

    /// What follows the scheme and its slashes.
    fn of_authority(text: &str) -> Self {
        let (host, path) = text
            .split_at_checked(text.find('/').unwrap_or(text.len()))
            .unwrap_or((text, ""));
        Self {
            host: Some(host.to_owned()),
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
            query: None,
        }
    }
}

fn without_scheme(text: &str) -> Option<&str> {
    ["https:", "http:"].iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// What must not stand in a URL, as `%xx`; what is escaped already stays.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&byte) {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::asked;
    use super::*;

    fn config(style: PathStyle) -> ImageConfig {
        ImageConfig {
            enabled: true,
            auto: false,
            paths: vec![style],
            ..ImageConfig::default()
        }
    }

    /// What is asked for, and of which `host|path?query`.
    #[track_caller]
    fn check(style: PathStyle, target: &str, wish: &str, source: &str) {
        let config = config(style);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let found =
            located(&config, path, query).unwrap_or_else(|error| panic!("{target}: {error}"));
        let found = found.unwrap_or_else(|| panic!("{target} is none"));
        let host = found
            .host
            .map(|host| format!("{host}|"))
            .unwrap_or_default();
        let query = found
            .query
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        assert_eq!(format!("{host}{}{query}", found.path), source, "{target}");
        let asked = asked(&config, "/none", None, Some(&found.parameters), None).unwrap();
        assert!(asked.by_parameters);
        assert_eq!(asked.wish.unwrap().to_string(), wish, "{target}");
    }

    #[track_caller]
    fn check_error(style: PathStyle, target: &str, text: &str) {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let error = located(&config(style), path, query).unwrap_err();
        assert_eq!(error.to_string(), text, "{target}");
    }

    #[test]
    fn cloudflares_options_stand_before_the_picture() {
        let style = PathStyle::Cloudflare;
        check(
            style,
            "/cdn-cgi/image/width=80,quality=75,f=auto/uploads/a.jpg?v=1",
            "width=80&quality=75&format=auto",
            "/uploads/a.jpg?v=1",
        );
        check(
            style,
            "/cdn-cgi/image/w=9,h=8,fit=scale-down,g=0.5x0.2,onerror=redirect/https://a.test/b/c.png",
            "width=9&height=8",
            "a.test|/b/c.png",
        );
        check(
            style,
            "/cdn-cgi/image/w=9/https:/a.test/c.png",
            "width=9",
            "a.test|/c.png",
        );
        check(
            style,
            "/cdn-cgi/image/background=rgb(1%2C2%2C3)//a.png",
            "background=010203ff",
            "/a.png",
        );
        check_error(
            style,
            "/cdn-cgi/image/width=0/a.jpg",
            "width must be a whole number of pixels from 1 to 4096",
        );
        for path in [
            "/cdn-cgi/image/a.jpg",
            "/cdn-cgi/image/w=8",
            "/x/cdn-cgi/image/w=8/a.jpg",
        ] {
            assert_eq!(located(&config(style), path, None), Ok(None), "{path}");
        }
    }

    #[test]
    fn nexts_picture_stands_in_the_query() {
        let style = PathStyle::Next;
        check(
            style,
            "/_next/image?url=%2Fa%2520b.jpg%3Fv%3D1&w=640&q=75",
            "width=640&quality=75&format=auto",
            "/a%20b.jpg?v=1",
        );
        check(
            style,
            "/_next/image?w=640&url=https%3A%2F%2Fa.test%3A81%2Fa.jpg&q=75&dpl=x&sig=y",
            "width=640&quality=75&format=auto",
            "a.test:81|/a.jpg",
        );
        check(
            style,
            "/_next/image?url=/%C3%A4.jpg",
            "format=auto",
            "/%C3%A4.jpg",
        );
        let text = "url must be the path of a picture on this site";
        for target in [
            "/_next/image",
            "/_next/image?w=1",
            "/_next/image?url=a.jpg",
            "/_next/image?url=//evil.test/a.jpg",
            "/_next/image?url=https:a.jpg",
            "/_next/image?url=file:///etc/passwd",
        ] {
            check_error(style, target, text);
        }
        check_error(
            style,
            "/_next/image?url=/a&url=/b",
            "url is given twice; write it once",
        );
        assert_eq!(
            located(&config(style), "/_next/image/x", Some("url=/a")),
            Ok(None)
        );
    }

    #[test]
    fn ipxs_modifiers_stand_before_the_picture() {
        let style = PathStyle::Ipx;
        check(style, "/_ipx/_/a.jpg", "", "/a.jpg");
        check(
            style,
            "/_ipx/w_300&h_200&fit_cover&position_top&f_webp&q_80/img/a.jpg?v=2",
            "width=300&height=200&fit=cover&gravity=0.500,0.000&quality=80&format=webp",
            "/img/a.jpg?v=2",
        );
        check(
            style,
            "/_ipx/s_30x20,fit_fill,enlarge,b_ff0000,flop,rotate_90,grayscale/a.jpg",
            "rotate=90&flip=h&width=30&height=20&fit=stretch&upscale=1&background=ff0000ff",
            "/a.jpg",
        );
        check(
            style,
            "/_ipx/extract_1_2_3_4/https://a.test/a.jpg",
            "crop=3,4,1,2",
            "a.test|/a.jpg",
        );
        assert_eq!(located(&config(style), "/_ipx/a.jpg", None), Ok(None));
    }

    #[test]
    fn imgproxys_options_stand_before_the_picture() {
        let style = PathStyle::Imgproxy;
        check(
            style,
            "/insecure/rs:fit:300:400/plain/a/b.jpg@webp",
            "width=300&height=400&format=webp",
            "/a/b.jpg",
        );
        check(
            style,
            "/_/rs:fill:30:40:1/g:sm/q:70/dpr:2/plain/https://a.test/b%20c.jpg%3Fv=1",
            "width=60&height=80&fit=cover&gravity=smart&upscale=1&quality=70",
            "a.test|/b%20c.jpg?v=1",
        );
        check(
            style,
            "/unsafe/w:30/bg:255:0:0/rot:90/fl:1/sm:1/bl:2.5/plain/local:///a.jpg",
            "rotate=90&flip=h&width=30&background=ff0000ff&blur=3&metadata=none",
            "/a.jpg",
        );
        check(
            style,
            "/insecure/L2Ev/Yi5qcGc.png",
            "format=png",
            "/a/b.jpg",
        );
        check(
            style,
            "/insecure/rt:force/s:3:4/L2EvYi5qcGc",
            "width=3&height=4&fit=stretch",
            "/a/b.jpg",
        );
        check(style, "/insecure/w:3/plain/a+b.jpg", "width=3", "/a+b.jpg");
        for path in [
            "/a/plain/b.jpg",
            "/insecure",
            "/insecure/w:3",
            "/insecure/a.jpg!",
            "/img/w:3/plain/a.jpg",
        ] {
            assert_eq!(located(&config(style), path, None), Ok(None), "{path}");
        }
    }

    #[test]
    fn forms_that_are_not_listed_are_paths() {
        let path = "/cdn-cgi/image/w=8/a.jpg";
        assert_eq!(located(&config(PathStyle::Next), path, None), Ok(None));
        let off = ImageConfig {
            enabled: false,
            ..config(PathStyle::Cloudflare)
        };
        assert_eq!(located(&off, path, None), Ok(None));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(
            prefix in prop::sample::select(vec!["/cdn-cgi/image/", "/_next/image", "/_ipx/", "/insecure/", "/"]),
            rest in ".{0,40}",
            query in prop::option::of("(url=)?.{0,30}"),
        ) {
            let config = ImageConfig {
                paths: vec![PathStyle::Cloudflare, PathStyle::Next, PathStyle::Ipx, PathStyle::Imgproxy],
                ..config(PathStyle::Next)
            };
            if let Ok(Some(found)) = located(&config, &format!("{prefix}{rest}"), query.as_deref()) {
                prop_assert!(found.path.starts_with('/'));
            }
        }
    }
}
