//! `Host` and `:authority`: a host and perhaps a port (RFC 3986 §3.2.2), nothing else.

use std::net::Ipv6Addr;

/// The longest name that DNS can hold; a longer one can be nobody's.
const NAME_MAX: usize = 255;

/// A host as it is compared: lower case, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// The name or address; an IPv6 address keeps its brackets.
    pub name: String,
    /// The port, when one is named.
    pub port: Option<u16>,
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no name.
    #[error("the host is empty")]
    Empty,
    /// The name is longer than 255 bytes.
    #[error("the host is too long")]
    TooLong,
    /// The name has a byte that no host has.
    #[error("the host has a byte that does not belong there")]
    BadName,
    /// The brackets hold no IPv6 address.
    #[error("the host is not a valid IPv6 address")]
    BadAddress,
    /// What follows the colon is not a port.
    #[error("the port is not a number from 0 to 65535")]
    BadPort,
}

impl Host {
    /// Reads `host[:port]`. An empty port (`example.com:`) is none, as RFC 3986 §3.2.3 has it.
    ///
    /// # Errors
    ///
    /// When the text is empty, too long, or anything but a host with a port.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let (name, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let (address, after) = inner.split_once(']').ok_or(HostError::BadAddress)?;
                address
                    .parse::<Ipv6Addr>()
                    .map_err(|_| HostError::BadAddress)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(HostError::BadPort)?),
                };
                (format!("[{}]", address.to_ascii_lowercase()), port)
            }
            None => {
                let (name, port) = match text.split_once(':') {
                    Some((name, port)) => (name, Some(port)),
                    None => (text, None),
                };
                (registered_name(name)?, port)
            }
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) => Some(port_number(digits)?),
        };
        Ok(Self { name, port })
    }
}

fn registered_name(name: &str) -> Result<String, HostError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    // A second trailing dot would leave a name in two spellings.
    if name.ends_with('.') {
        return Err(HostError::BadName);
    }
    if name.len() > NAME_MAX {
        return Err(HostError::TooLong);
    }
    let mut rest = name.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            // unreserved / sub-delims of RFC 3986 §2
            (b'-' | b'.' | b'_' | b'~', after) => after,
            (
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=',
                after,
            ) => after,
            (byte, after) if byte.is_ascii_alphanumeric() => after,
            _ => return Err(HostError::BadName),
        };
    }
    Ok(name.to_ascii_lowercase())
}

fn port_number(digits: &str) -> Result<u16, HostError> {
    // `u16::from_str` would take a sign.
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|_| all_digits)
        .ok_or(HostError::BadPort)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(&str, Option<u16>), HostError>) {
        let found = Host::parse(text);
        let found = found.as_ref().map(|host| (host.name.as_str(), host.port));
        assert_eq!(found, expect.as_ref().map(|host| *host), "{text:?}");
    }

    #[test]
    fn hosts_are_compared_in_one_spelling() {
        check("example.com", Ok(("example.com", None)));
        check("EXAMPLE.com.", Ok(("example.com", None)));
        check("example.com:8443", Ok(("example.com", Some(8443))));
        check("example.com.:80", Ok(("example.com", Some(80))));
        check("example.com:", Ok(("example.com", None)));
        check("127.0.0.1:1", Ok(("127.0.0.1", Some(1))));
        check("[::1]", Ok(("[::1]", None)));
        check("[2001:DB8::1]:443", Ok(("[2001:db8::1]", Some(443))));
        check("a_b.example", Ok(("a_b.example", None)));
        check("a%2Db", Ok(("a%2db", None)));
    }

    #[test]
    fn anything_else_is_refused() {
        check("", Err(HostError::Empty));
        check(".", Err(HostError::Empty));
        check(":80", Err(HostError::Empty));
        check("a..", Err(HostError::BadName));
        check("a b", Err(HostError::BadName));
        check(" a", Err(HostError::BadName));
        check("a/b", Err(HostError::BadName));
        check("user@a", Err(HostError::BadName));
        check("a?b", Err(HostError::BadName));
        check("a#b", Err(HostError::BadName));
        check("a\\b", Err(HostError::BadName));
        check("a%zz", Err(HostError::BadName));
        check("ä", Err(HostError::BadName));
        check("a:b", Err(HostError::BadPort));
        check("a:+80", Err(HostError::BadPort));
        check("a:65536", Err(HostError::BadPort));
        check("a:80:80", Err(HostError::BadPort));
        check("::1", Err(HostError::Empty));
        check("[::1", Err(HostError::BadAddress));
        check("[]", Err(HostError::BadAddress));
        check("[::1]80", Err(HostError::BadPort));
        check("[1.2.3.4]", Err(HostError::BadAddress));
        check(&"a".repeat(256), Err(HostError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_what_passes_is_stable(text in "[a-zA-Z0-9.:%@/\\[\\] -]{0,20}|\\PC{0,10}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert!(!host.name.bytes().any(|byte| byte.is_ascii_uppercase()));
                let again = match host.port {
                    Some(port) => format!("{}:{port}", host.name),
                    None => host.name.clone(),
                };
                prop_assert_eq!(Host::parse(&again), Ok(host));
            }
        }
    }
}
