use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::address::Address;
use super::refusal::Refusal;

/// Fields of one explained request.
const HEADERS_MAX: usize = 100;

/// The query of `GET /v1/explain`, checked but for the site.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) url: Address,
    pub(super) host: String,
    pub(super) headers: HeaderMap,
}

/// Reads `url=…&header=name: value&method=GET`; `header` may come several times.
pub(super) fn question(pairs: &[(String, String)]) -> Result<Question, Refusal> {
    let mut method = Method::GET;
    let mut url = None;
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        match name.as_str() {
            "url" if url.is_none() => url = Some(value),
            "url" => return Err(Refusal::bad("url may be given once.")),
            "header" if headers.len() >= HEADERS_MAX => {
                return Err(Refusal::bad(format!("More than {HEADERS_MAX} header.")));
            }
            "header" => {
                let (name, value) = field(value)?;
                headers.append(name, value);
            }
            "method" => method = checked_method(value)?,
            other => {
                return Err(Refusal::bad(format!(
                    "Unknown parameter '{other}'; known are url, header and method."
                )));
            }
        }
    }
    let Some(text) = url else {
        return Err(Refusal::bad("The parameter url is missing."));
    };
    let url =
        Address::parse(text).map_err(|error| Refusal::bad(format!("url '{text}': {error}.")))?;
    let Some(host) = url.host.clone() else {
        return Err(Refusal::bad(format!(
            "url '{text}' must be absolute, like https://host/path."
        )));
    };
    Ok(Question {
        method,
        url,
        host,
        headers,
    })
}

fn checked_method(value: &str) -> Result<Method, Refusal> {
    match value {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        other => Err(Refusal::bad(format!(
            "method '{other}': only GET and HEAD can be explained."
        ))),
    }
}

pub(super) fn field(text: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let wrong = || Refusal::bad(format!("header '{text}' is not of the form 'name: value'."));
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Result<Question, Refusal> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        question(&pairs)
    }

    #[test]
    fn a_full_question() {
        let question = ask(&[
            ("url", "https://Shop.example/a?b"),
            ("header", "Accept: image/avif"),
            ("header", "accept:text/html"),
            ("method", "HEAD"),
        ])
        .unwrap();
        assert_eq!(question.host, "shop.example");
        assert_eq!(question.url.path, "/a");
        assert_eq!(question.method, Method::HEAD);
        let accepted: Vec<_> = question.headers.get_all("accept").iter().collect();
        assert_eq!(accepted, ["image/avif", "text/html"]);
    }

    #[track_caller]
    fn refused(pairs: &[(&str, &str)], says: &str) {
        let refusal = ask(pairs).unwrap_err();
        assert_eq!(refusal.status().as_u16(), 400);
        assert!(refusal.error().contains(says), "{}", refusal.error());
    }

    #[test]
    fn what_is_no_question() {
        refused(&[], "url is missing");
        refused(&[("url", "/a")], "must be absolute");
        refused(&[("url", "x")], "url 'x'");
        refused(&[("url", "http://a/"), ("url", "http://b/")], "once");
        refused(&[("url", "http://a/"), ("headr", "x")], "'headr'");
        refused(&[("url", "http://a/"), ("header", "x")], "header 'x'");
        refused(&[("url", "http://a/"), ("header", "a b: c")], "name: value");
        refused(&[("url", "http://a/"), ("method", "POST")], "'POST'");
        let many = vec![("header", "a: b"); HEADERS_MAX + 1];
        refused(&many, "More than 100");
    }
}
