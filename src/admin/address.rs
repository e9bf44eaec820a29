use http::uri::Authority;

/// A URL as an operator writes it: absolute, or a path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether the scheme is https; `None` for a path alone.
    pub secure: Option<bool>,
    /// Lower case, without port and trailing dot; `None` for a path alone.
    pub host: Option<String>,
    /// As written.
    pub port: Option<u16>,
    /// Begins with `/`.
    pub path: String,
    /// Without `?`; `None` when there is no `?`.
    pub query: Option<String>,
}

/// Why a text is no URL for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither absolute nor a path.
    #[error("a URL begins with https:// or http://, a path with '/'")]
    Form,
    /// The part between `//` and the path.
    #[error("the host is missing or malformed")]
    Host,
    /// Credentials would be ignored; that is worth saying.
    #[error("a URL here has no user name")]
    User,
    /// A browser never sends it, so nothing is stored under it.
    #[error("a URL here has no '#'")]
    Fragment,
    /// Spaces and control bytes never come in a request.
    #[error("spaces and control characters must be percent-encoded")]
    Byte,
}

impl Address {
    /// Reads `https://host[:port]/path?query` or `/path?query`. Characters outside ASCII are
    /// percent-encoded, as a client does before it sends them.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text
            .bytes()
            .any(|byte| byte.is_ascii_control() || byte == b' ')
        {
            return Err(AddressError::Byte);
        }
        if text.contains('#') {
            return Err(AddressError::Fragment);
        }
        if text.starts_with('/') {
            return Ok(Self::of(None, None, None, text));
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Form)?;
        let secure = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err(AddressError::Form);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(AddressError::Host)?;
        if authority.contains('@') {
            return Err(AddressError::User);
        }
        let authority: Authority = authority.parse().map_err(|_| AddressError::Host)?;
        let port = match authority.port_u16() {
            Some(port) => Some(port),
            None if authority.as_str() == authority.host() => None,
            // A port that is empty, no number or too large.
            None => return Err(AddressError::Host),
        };
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        Ok(Self::of(Some(secure), Some(host.to_owned()), port, target))
    }

    fn of(secure: Option<bool>, host: Option<String>, port: Option<u16>, target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(encoded(query))),
            None => (target, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Self {
            secure,
            host,
            port,
            path: encoded(path),
            query,
        }
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, host: Option<&str>, path: &str, query: Option<&str>) {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.host.as_deref(), host);
        assert_eq!(address.path, path);
        assert_eq!(address.query.as_deref(), query);
    }

    #[test]
    fn absolute_urls() {
        check(
            "https://a.example/x?y=1",
            Some("a.example"),
            "/x",
            Some("y=1"),
        );
        check("HTTP://A.Example.:8080", Some("a.example"), "/", None);
        check("https://a.example?q", Some("a.example"), "/", Some("q"));
        check("https://[::1]:8443/x", Some("[::1]"), "/x", None);
        check("https://a/?", Some("a"), "/", Some(""));
        check("https://a/ä?ö", Some("a"), "/%C3%A4", Some("%C3%B6"));
    }

    #[test]
    fn paths() {
        check("/x/y.css?v=2?3", None, "/x/y.css", Some("v=2?3"));
        check("//x", None, "//x", None);
        check("/a%2Fb/*", None, "/a%2Fb/*", None);
    }

    #[test]
    fn scheme_and_port_are_kept() {
        let address = Address::parse("https://a:8443/").unwrap();
        assert_eq!((address.secure, address.port), (Some(true), Some(8443)));
        assert_eq!(Address::parse("http://a/").unwrap().secure, Some(false));
        assert_eq!(Address::parse("/").unwrap().secure, None);
    }

    #[track_caller]
    fn check_error(text: &str, expect: AddressError) {
        assert_eq!(Address::parse(text), Err(expect), "{text}");
    }

    #[test]
    fn what_is_no_url() {
        check_error("", AddressError::Form);
        check_error("a.example/x", AddressError::Form);
        check_error("ftp://a/x", AddressError::Form);
        check_error("https:///x", AddressError::Host);
        check_error("https://a:b/x", AddressError::Host);
        check_error("https://a:/x", AddressError::Host);
        check_error("https://a:99999/x", AddressError::Host);
        check_error("https://user@a/x", AddressError::User);
        check_error("https://a/x#y", AddressError::Fragment);
        check_error("/x y", AddressError::Byte);
        check_error("/x\ny", AddressError::Byte);
        check_error("*", AddressError::Form);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}|https?://\\PC{0,30}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(address.path.starts_with('/'));
                prop_assert!(address.path.is_ascii());
                prop_assert!(!address.path.contains('?'));
                prop_assert_eq!(address.host.is_some(), address.secure.is_some());
            }
        }
    }
}
