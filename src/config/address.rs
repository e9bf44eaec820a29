use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::origin::{HostHeader, Scheme, Server, Source};
use crate::site::HostPattern;

use super::source::{Wrong, cannot_read};

/// A path of a file's, relative to the file's folder; `..` is taken out by its words, so that
/// messages name short paths.
pub(super) fn below(base: &Path, written: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in base.join(written).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if ends_in_a_name(&path) => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    if path.as_os_str().is_empty() {
        path.push(".");
    }
    path
}

fn ends_in_a_name(path: &Path) -> bool {
    matches!(path.components().next_back(), Some(Component::Normal(_)))
}

/// `127.0.0.1:8443` or `[::1]:8443`.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let fix = match text.rsplit_once(':') {
            Some(("", port)) if port.parse::<u16>().is_ok() => {
                format!("write \"0.0.0.0:{port}\" and \"[::]:{port}\" for all addresses")
            }
            Some(("localhost", port)) => {
                format!("write \"127.0.0.1:{port}\" and \"[::1]:{port}\"")
            }
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
                format!("write \"[{host}]:{port}\"")
            }
            Some((host, _)) if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => {
                "write a port from 0 to 65535 behind the colon".to_owned()
            }
            _ => "write address and port, such as \"127.0.0.1:8443\" or \"[::1]:8443\"".to_owned(),
        };
        Wrong::new("not an address with a port", fix)
    })
}

/// A host that a site answers for.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, Wrong> {
    if text == "*" {
        return Err(Wrong::new(
            "a site cannot take every host",
            "name the hosts, and write default_site in edge.toml for all others",
        ));
    }
    if let Some(suffix) = text.strip_prefix("*.") {
        let suffix = dns_name(suffix)?;
        let last_label = suffix.rsplit('.').next().unwrap_or_default();
        if last_label.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::new(
                "an address has no wildcard",
                "write each address",
            ));
        }
        return Ok(HostPattern::Wildcard(suffix));
    }
    if text.contains('*') {
        return Err(Wrong::new(
            "a wildcard stands for whole labels at the front",
            "write it as \"*.example.com\"",
        ));
    }
    if let Some(inside) = text.strip_prefix('[') {
        let address = inside.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return match address {
            Some(Ok(address)) => Ok(HostPattern::Exact(format!("[{address}]"))),
            _ => Err(Wrong::new(
                "not an IPv6 address in brackets",
                "write a host without a port, such as \"[::1]\"",
            )),
        };
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(Wrong::new(
            "an IPv6 address without brackets",
            format!("write \"[{address}]\""),
        ));
    }
    dns_name(text).map(HostPattern::Exact)
}

/// A name in a certificate made here: a host, or an address without brackets.
pub(super) fn certificate_name(text: &str) -> Result<String, Wrong> {
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => match text.strip_prefix("*.") {
            Some(suffix) => dns_name(suffix).map(|suffix| format!("*.{suffix}")),
            None => dns_name(text),
        },
    }
}

/// A name of the DNS, or an IPv4 address: lower case, without a dot at its end.
pub(super) fn dns_name(text: &str) -> Result<String, Wrong> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return Err(Wrong::new("a host, not a URL", format!("write \"{host}\"")));
    }
    if let Some((host, _)) = name.split_once(':') {
        return Err(Wrong::new(
            "a host has no port here",
            format!("write \"{host}\""),
        ));
    }
    if !name.is_ascii() {
        return Err(Wrong::new(
            "not a host name: it has letters beyond ASCII",
            "write its xn-- form (punycode)",
        ));
    }
    let last_label = name.rsplit('.').next().unwrap_or_default();
    let is_number = !last_label.is_empty() && last_label.bytes().all(|byte| byte.is_ascii_digit());
    let is_good = match is_number {
        // RFC 3986 §3.2.2 and the URL standard: what ends in a number is an IPv4 address or nothing.
        true => name.parse::<Ipv4Addr>().is_ok(),
        false => name.len() <= 253 && name.split('.').all(is_label),
    };
    is_good.then_some(name).ok_or_else(|| {
        Wrong::new(
            "not a host name",
            "write letters, digits, hyphens and dots, such as \"static.example.com\"",
        )
    })
}

fn is_label(label: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `[origin] url`.
pub(super) fn origin_source(text: &str, base: &Path) -> Result<Source, Wrong> {
    if text == "demo:" {
        return Ok(Source::Demo);
    }
    if let Some(path) = text.strip_prefix("dir:") {
        return folder(below(base, path)).map(Source::Folder);
    }
    if text.starts_with("s3:") {
        return Err(Wrong::new(
            "this version does not pull from S3 buckets",
            "write the bucket's http or https URL, or dir:path for a folder",
        ));
    }
    server_url(text).map(|server| Source::Servers(vec![server]))
}

/// A folder that is there.
pub(super) fn folder(path: PathBuf) -> Result<PathBuf, Wrong> {
    match std::fs::read_dir(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(cannot_read(
            &path,
            &error,
            "write the path of a folder that is there and may be read",
        )),
    }
}

/// `http://host[:port][/path]` or the same with https.
pub(super) fn server_url(text: &str) -> Result<Server, Wrong> {
    let example = "write it as \"https://origin.example.com\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Wrong::new(
            "not a URL",
            match dns_name(text.split(['/', ':']).next().unwrap_or_default()) {
                Ok(_) if !text.starts_with('/') => format!("write \"https://{text}\""),
                _ => example.to_owned(),
            },
        ));
    };
    let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, 80),
        "https" => (Scheme::Https, 443),
        other => {
            return Err(Wrong::new(
                format!("{other:?} is no scheme of an origin"),
                "write an http or https URL, or dir:path for a folder",
            ));
        }
    };
    if rest.contains(['?', '#']) {
        return Err(Wrong::new(
            "an origin's URL has no query and no fragment",
            "leave out what follows the path",
        ));
    }
    let path_start = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(path_start).unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(Wrong::new(
            "a URL with a name and password in it",
            "leave them out, and set an Authorization field in origin.request_headers",
        ));
    }
    let (host, port) = host_and_port(authority)?;
    let base_path = path.trim_end_matches('/');
    let is_canonical = !base_path
        .split('/')
        .skip(1)
        .any(|segment| segment.is_empty() || segment == "." || segment == "..");
    if !base_path.is_empty() && (PathAndQuery::try_from(base_path).is_err() || !is_canonical) {
        return Err(Wrong::new(
            "the path has what no path may have",
            "write it without empty or dot segments, other bytes as %xx",
        ));
    }
    Ok(Server {
        scheme,
        host,
        port: port.unwrap_or(default_port),
        base_path: base_path.to_owned(),
        weight: 1,
        backup: false,
    })
}

/// The host without brackets, and the port if there is one.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Wrong> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let wrong = || {
                Wrong::new(
                    "not an IPv6 address in brackets",
                    "write it as \"[::1]\", with a colon and the port behind it",
                )
            };
            let (address, rest) = inside.split_once(']').ok_or_else(wrong)?;
            let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or_else(wrong)?),
            };
            (address.to_string(), port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (dns_name(host)?, Some(port)),
            None => (dns_name(authority)?, None),
        },
    };
    let Some(port) = port else {
        return Ok((host, None));
    };
    let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number @ 1..) if is_digits => Ok((host, Some(number))),
        _ => Err(Wrong::new(
            format!("{port:?} is no port"),
            "write a port from 1 to 65535",
        )),
    }
}

/// `[origin] host_header`.
pub(super) fn host_header(text: &str) -> Result<HostHeader, Wrong> {
    match text {
        "" => Ok(HostHeader::Url),
        "client" => Ok(HostHeader::Client),
        text => {
            let (host, port) = host_and_port(text)?;
            let host = match host.parse::<Ipv6Addr>() {
                Ok(address) => format!("[{address}]"),
                Err(_) => host,
            };
            let value = match port {
                Some(port) => format!("{host}:{port}"),
                None => host,
            };
            HeaderValue::try_from(value)
                .map(HostHeader::Fixed)
                .map_err(|_| Wrong::new("not a host", "write a host name"))
        }
    }
}

/// An origin as browsers send it in `Origin` (RFC 6454 §6.2), or `*`.
pub(super) fn cors_origin(text: &str) -> Result<String, Wrong> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let example =
        "write scheme and host as a browser sends them, such as \"https://www.example.com\"";
    let Some((scheme @ ("http" | "https"), authority)) = text.split_once("://") else {
        return Err(Wrong::new("not an origin", example));
    };
    if let Some((authority, _)) = authority.split_once('/') {
        return Err(Wrong::new(
            "an origin has no path and no slash at its end",
            format!("write \"{scheme}://{authority}\""),
        ));
    }
    let (host, port) = host_and_port(authority)?;
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host,
    };
    // Browsers leave the scheme's own port out; a rule with it would never match.
    Ok(match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_host(text: &str, expect: Result<&str, &str>) {
        let got = host_pattern(text).map(|pattern| match pattern {
            HostPattern::Exact(host) => host,
            HostPattern::Wildcard(suffix) => format!("*.{suffix}"),
        });
        match (got, expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{text}"),
            (Err(wrong), Err(fix)) => assert!(wrong.fix.contains(fix), "{text}: {wrong:?}"),
            (got, expect) => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn hosts_are_names_addresses_or_wildcards() {
        check_host("Static.Example.COM", Ok("static.example.com"));
        check_host("example.com.", Ok("example.com"));
        check_host("*.cdn.example.com", Ok("*.cdn.example.com"));
        check_host("*.localhost", Ok("*.localhost"));
        check_host("127.0.0.1", Ok("127.0.0.1"));
        check_host("[::0001]", Ok("[::1]"));
        check_host("::1", Err("[::1]"));
        check_host("*", Err("default_site"));
        check_host("a*.example.com", Err("*.example.com"));
        check_host("*.0.0.1", Err("letters"));
        check_host("example.com:80", Err("\"example.com\""));
        check_host("https://example.com/x", Err("\"example.com\""));
        check_host("exämple.com", Err("punycode"));
        check_host("a..b", Err("letters"));
        check_host("", Err("letters"));
        check_host("-a.com", Err("letters"));
        check_host("1.2.3", Err("letters"));
        check_host("256.1.1.1", Err("letters"));
        check_host("a b", Err("letters"));
    }

    #[track_caller]
    fn check_url(text: &str, expect: Result<(Scheme, &str, u16, &str), &str>) {
        match (server_url(text), expect) {
            (Ok(server), Ok(expect)) => {
                let got = (
                    server.scheme,
                    server.host.as_str(),
                    server.port,
                    server.base_path.as_str(),
                );
                assert_eq!(got, expect, "{text}");
            }
            (Err(wrong), Err(fix)) => assert!(wrong.fix.contains(fix), "{text}: {wrong:?}"),
            (got, expect) => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn servers_are_urls_without_query() {
        use Scheme::{Http, Https};
        check_url(
            "https://o.example.com",
            Ok((Https, "o.example.com", 443, "")),
        );
        check_url(
            "http://O.example.com:8080/",
            Ok((Http, "o.example.com", 8080, "")),
        );
        check_url("HTTP://[::1]:81/a/b/", Ok((Http, "::1", 81, "/a/b")));
        check_url(
            "http://127.0.0.1/a%20b",
            Ok((Http, "127.0.0.1", 80, "/a%20b")),
        );
        check_url("o.example.com", Err("\"https://o.example.com\""));
        check_url("ftp://o.example.com", Err("http or https"));
        check_url("http://u:p@o.example.com", Err("request_headers"));
        check_url("http://o.example.com?x", Err("leave out"));
        check_url("http://o.example.com/#x", Err("leave out"));
        check_url("http://o.example.com:0", Err("port"));
        check_url("http://o.example.com:+80", Err("port"));
        check_url("http://o.example.com:65536", Err("port"));
        check_url("http://o.example.com/a/../b", Err("dot segments"));
        check_url("http://o.example.com/a b", Err("%xx"));
        check_url("http://", Err("letters"));
    }

    #[test]
    fn addresses_have_a_port() {
        for (text, fix) in [
            ("8443", "such as"),
            (":8443", "0.0.0.0:8443"),
            ("localhost:8443", "127.0.0.1:8443"),
            ("::1:8443", "[::1]:8443"),
            ("127.0.0.1:99999", "0 to 65535"),
            ("127.0.0.1", "such as"),
        ] {
            let wrong = socket(text).unwrap_err();
            assert!(wrong.fix.contains(fix), "{text}: {wrong:?}");
        }
        assert!(socket("[::1]:0").is_ok());
    }

    #[test]
    fn cors_origins_are_as_browsers_send_them() {
        for (text, expect) in [
            ("*", Some("*")),
            ("https://a.example", Some("https://a.example")),
            ("https://A.example:443", Some("https://a.example")),
            ("http://a.example:8080", Some("http://a.example:8080")),
            ("https://a.example/", None),
            ("a.example", None),
            ("ftp://a.example", None),
        ] {
            assert_eq!(cors_origin(text).ok().as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        for (base, written, expect) in [
            ("edge-config", "../var", "var"),
            ("edge-config", "tls/a.pem", "edge-config/tls/a.pem"),
            ("edge-config/sites", "./x/../y", "edge-config/sites/y"),
            ("", "../var", "../var"),
            (".", "..", ".."),
            ("a", "..", "."),
            ("a", "/etc/x", "/etc/x"),
            ("../a", "../../b", "../../b"),
        ] {
            assert_eq!(
                below(Path::new(base), written),
                Path::new(expect),
                "{base} {written}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _first = (host_pattern(&text), server_url(&text), socket(&text));
            let _second = (cors_origin(&text), host_header(&text));
        }

        #[test]
        fn a_host_pattern_is_read_back(text in "[a-zA-Z0-9.-]{1,30}") {
            if let Ok(HostPattern::Exact(host)) = host_pattern(&text) {
                prop_assert_eq!(host_pattern(&host), Ok(HostPattern::Exact(host)));
            }
        }
    }
}
