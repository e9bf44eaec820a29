use http::{HeaderName, HeaderValue, Method};
use tracing_subscriber::EnvFilter;

use crate::variant::DictionaryPattern;

use super::source::Wrong;

/// Fields of one connection (RFC 9110 §7.6.1): they mean nothing behind it.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that the node makes for every request to an origin.
const OURS: &[&str] = &[
    "accept-encoding",
    "cdn-loop",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// A field's name (RFC 9110 §5.1).
pub(super) fn name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::try_from(text).map_err(|_| {
        Wrong::new(
            format!("{text:?} is no field name"),
            "write letters, digits and hyphens, such as \"X-Example\"",
        )
    })
}

/// A field's name that belongs to more than one connection.
pub(super) fn end_to_end_name(text: &str) -> Result<HeaderName, Wrong> {
    let name = name(text)?;
    if HOP_BY_HOP.contains(&name.as_str()) || name == http::header::CONTENT_LENGTH {
        return Err(Wrong::new(
            format!("{name} belongs to one connection, the node makes it itself"),
            "leave it out",
        ));
    }
    Ok(name)
}

/// A field that a site may send to its origin.
pub(super) fn origin_name(text: &str) -> Result<HeaderName, Wrong> {
    let name = end_to_end_name(text)?;
    if OURS.contains(&name.as_str()) {
        return Err(Wrong::new(
            format!("the node makes {name} itself for every request to the origin"),
            match name.as_str() {
                "host" => "write origin.host_header",
                _ => "leave it out",
            },
        ));
    }
    Ok(name)
}

/// A field's value (RFC 9110 §5.5).
pub(super) fn value(text: &str) -> Result<HeaderValue, Wrong> {
    let is_trimmed = text.trim_matches([' ', '\t']).len() == text.len();
    HeaderValue::try_from(text)
        .ok()
        .filter(|_| is_trimmed)
        .ok_or_else(|| {
            Wrong::new(
                "not a field value",
                "write one line without spaces at its ends",
            )
        })
}

/// A method that a site may answer.
pub(super) fn method(text: &str) -> Result<Method, Wrong> {
    const WELL_KNOWN: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
    const NEVER: [&str; 4] = ["CONNECT", "TRACE", "PRI", "PURGE"];
    let upper = text.to_ascii_uppercase();
    if NEVER.contains(&upper.as_str()) {
        return Err(Wrong::new(
            format!("{upper} is never answered"),
            "leave it out",
        ));
    }
    // Methods differ by case (RFC 9110 §9.1), but nobody means another method than this.
    if upper != text && WELL_KNOWN.contains(&upper.as_str()) {
        return Err(Wrong::new(
            "methods are written in capitals",
            format!("write \"{upper}\""),
        ));
    }
    any_method(text)
}

/// Any method (RFC 9110 §9.1).
pub(super) fn any_method(text: &str) -> Result<Method, Wrong> {
    Method::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new("not a method", "write a method such as \"GET\""))
}

/// As [`media_type`], or `*+json` for a structured syntax (RFC 6838 §4.2.8), lower case.
pub(super) fn media_type_or_suffix(text: &str) -> Result<String, Wrong> {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("*+") {
        Some(suffix) if is_token(suffix) && !suffix.contains('*') => Ok(lower),
        Some(_) => Err(Wrong::new(
            "not a structured syntax",
            "write it as \"*+json\"",
        )),
        None => media_type(text),
    }
}

/// A pattern of paths as browsers read it in `Use-As-Dictionary` (RFC 9842 §2.1.1).
pub(super) fn dictionary_pattern(text: &str) -> Result<DictionaryPattern, Wrong> {
    DictionaryPattern::new(text).map_err(|error| {
        let fix = "write a path such as \"/assets/app.*.js\", where * stands for any characters";
        Wrong::new(error.to_string(), fix)
    })
}

/// `text/css` or `text/*` (RFC 9110 §8.3.1), lower case.
pub(super) fn media_type(text: &str) -> Result<String, Wrong> {
    let lower = text.to_ascii_lowercase();
    let is_good = lower.split_once('/').is_some_and(|(kind, subtype)| {
        is_token(kind)
            && kind != "*"
            && (subtype == "*" || is_token(subtype) && !subtype.contains('*'))
    });
    is_good.then_some(lower).ok_or_else(|| {
        let fix = match text.split_once(';') {
            Some((essence, _)) => format!("write \"{}\" without parameters", essence.trim()),
            None => "write it as \"text/css\", or \"text/*\" for all of a kind".to_owned(),
        };
        Wrong::new("not a media type", fix)
    })
}

/// `*.jpg`, lower case.
pub(super) fn file_pattern(text: &str) -> Result<String, Wrong> {
    let lower = text.to_ascii_lowercase();
    let is_good = lower.strip_prefix("*.").is_some_and(|extension| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !extension.is_empty() && extension.bytes().all(inside)
    });
    is_good.then_some(lower).ok_or_else(|| {
        Wrong::new(
            "not a pattern of file names",
            format!(
                "write it as \"*.{}\"",
                match text.trim_start_matches(['*', '.']) {
                    "" => "jpg",
                    rest if rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
                    _ => "jpg",
                }
            ),
        )
    })
}

/// A cookie's name (RFC 6265 §4.1.1).
pub(super) fn cookie(text: &str) -> Result<String, Wrong> {
    is_token(text).then(|| text.to_owned()).ok_or_else(|| {
        Wrong::new(
            "not a cookie's name",
            "write its name without \"=\" and spaces",
        )
    })
}

/// The name of a query parameter, as it stands in a query.
pub(super) fn parameter(text: &str) -> Result<String, Wrong> {
    let is_good = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte));
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        Wrong::new(
            "not a parameter's name",
            "write it as in the query, other characters as %xx",
        )
    })
}

/// A pseudonym for `Via` and `Cache-Status`: a token that is also a token of structured fields
/// (RFC 9110 §7.6.3, RFC 9651 §3.3.4).
pub(super) fn node_id(text: &str) -> Result<String, Wrong> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_good = starts && text.len() <= 64 && is_token(text);
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        Wrong::new(
            "not a node's name",
            "write at most 64 letters, digits, dots and hyphens, a letter first, such as \"edge-1\"",
        )
    })
}

/// The name of a site, a listener or a token: part of keys, labels and logs.
pub(super) fn label(text: &str) -> Result<String, Wrong> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_good = (1..=64).contains(&text.len()) && text.bytes().all(inside);
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        Wrong::new(
            format!("{text:?} is no name"),
            "write at most 64 letters, digits, dots, hyphens and underscores",
        )
    })
}

/// A filter of `tracing`: levels, for all or by target.
pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
    let wrong = || {
        Wrong::new(
            "not a log level",
            "write off, error, warn, info, debug or trace, or levels by part such as \"warn,brim=debug\"",
        )
    };
    for part in text.split(',') {
        // The filter takes a bare word that is no level for a target, and would then log everything of it.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if !LEVELS.contains(&level.trim().to_ascii_lowercase().as_str()) {
            return Err(wrong());
        }
    }
    EnvFilter::try_new(text).map_err(|_| wrong())?;
    Ok(text.to_owned())
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check<T: std::fmt::Debug>(got: &Result<T, Wrong>, fix: Option<&str>) {
        match (got, fix) {
            (Ok(_), None) => {}
            (Err(wrong), Some(fix)) => assert!(wrong.fix.contains(fix), "{wrong:?}"),
            _ => panic!("{got:?}, not {fix:?}"),
        }
    }

    #[test]
    fn each_parser_says_what_to_write() {
        check(&name("X-Test"), None);
        check(&name("X Test"), Some("X-Example"));
        check(&end_to_end_name("Connection"), Some("leave it out"));
        check(&origin_name("Authorization"), None);
        check(&origin_name("Host"), Some("host_header"));
        check(&origin_name("Via"), Some("leave it out"));
        check(&value("nosniff"), None);
        check(&value("two\nlines"), Some("one line"));
        check(&value(" x"), Some("one line"));
        check(&method("GET"), None);
        check(&method("get"), Some("\"GET\""));
        check(&method("POST"), None);
        check(&method("M-SEARCH"), None);
        check(&method("brew"), None);
        check(&method("post"), Some("\"POST\""));
        check(&method("TRACE"), Some("leave it out"));
        check(&method("purge"), Some("leave it out"));
        check(&method("G T"), Some("such as"));
        check(&media_type("Text/*"), None);
        check(
            &media_type("text/html; charset=utf-8"),
            Some("\"text/html\""),
        );
        check(&media_type("html"), Some("text/css"));
        check(&media_type("*/*"), Some("text/css"));
        check(&media_type("*+json"), Some("text/css"));
        check(&media_type_or_suffix("*+JSON"), None);
        check(&media_type_or_suffix("Text/*"), None);
        check(&media_type_or_suffix("*+"), Some("*+json"));
        check(&media_type_or_suffix("*+a b"), Some("*+json"));
        check(&media_type_or_suffix("json"), Some("text/css"));
        check(&file_pattern("*.JPG"), None);
        check(&file_pattern("jpg"), Some("*.jpg"));
        check(&file_pattern("*"), Some("*.jpg"));
        check(&cookie("session"), None);
        check(&cookie("a=b"), Some("without"));
        check(&parameter("utm_source"), None);
        check(&parameter("a&b"), Some("%xx"));
        check(&node_id("edge-1.fra"), None);
        check(&node_id("1edge"), Some("letter first"));
        check(&label("assets"), None);
        check(&label("a/b"), Some("letters"));
        check(&label(""), Some("letters"));
        check(&log_filter("info"), None);
        check(&log_filter("warn,brim=debug,brim::store=trace"), None);
        check(&log_filter("inof"), Some("trace"));
        check(&log_filter("brim"), Some("trace"));
        check(&log_filter(""), Some("trace"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _first = (name(&text), value(&text), method(&text), media_type(&text));
            let _second = (file_pattern(&text), parameter(&text), node_id(&text), log_filter(&text));
        }
    }
}
