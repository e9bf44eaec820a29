use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};

use super::arguments::SignArguments;
use crate::config::NodeConfig;
use crate::semantics::path;
use crate::site::Site;
use crate::variant;

/// Prints the URL as the site signs it.
pub(super) fn run(
    config: &NodeConfig,
    arguments: &SignArguments,
    now: SystemTime,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let site = config
        .sites
        .iter()
        .find(|site| *site.name == *arguments.site);
    let site = site.with_context(|| format!("no site is named {}", arguments.site))?;
    let url = signed(site, &arguments.url, arguments.expires, now)?;
    writeln!(output, "{url}")?;
    Ok(())
}

fn signed(
    site: &Site,
    url: &str,
    expires: Option<Duration>,
    now: SystemTime,
) -> anyhow::Result<String> {
    let url = url.split('#').next().unwrap_or_default();
    let (start, target) = split(url)?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = path::canonical(path).with_context(|| format!("{path} is no path of a URL"))?;
    let mut pairs: Vec<String> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_named(pair, "sig"))
        .filter(|pair| expires.is_none() || !is_named(pair, "expires"))
        .map(str::to_owned)
        .collect();
    if let Some(expires) = expires {
        let end = now
            .checked_add(expires)
            .and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok())
            .ok_or_else(|| anyhow!("that time cannot be counted"))?;
        pairs.push(format!("expires={}", end.as_secs()));
    }
    let query = pairs.join("&");
    // What would be refused is not worth a signature.
    let located = variant::located(&site.images, &path, Some(&query))?;
    if located.is_none() {
        variant::asked(&site.images, &path, Some(&query), None, None)?;
    }
    let Some(signature) = variant::signature_of(&site.images.sign, &path, Some(&query)) else {
        bail!("site {} has no images.sign.keys", site.name);
    };
    pairs.push(format!("sig={signature}"));
    Ok(format!("{start}{path}?{}", pairs.join("&")))
}

fn is_named(pair: &str, name: &str) -> bool {
    pair.split('=').next() == Some(name)
}

/// The scheme and host, if any, and what follows them.
fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let host_at = match url.find("://") {
        _ if url.starts_with('/') => return Ok(("", url)),
        Some(scheme) => scheme + "://".len(),
        None => bail!("{url} is neither a URL nor a path that begins with a slash"),
    };
    let path_at = url
        .bytes()
        .skip(host_at)
        .position(|byte| byte == b'/')
        .map(|at| host_at + at);
    path_at
        .and_then(|at| url.split_at_checked(at))
        .with_context(|| format!("{url} has no path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::variant::SigningKey;

    fn site() -> Site {
        let config = config::built_in().unwrap();
        let mut site = Site::clone(&config.sites[0]);
        site.images.sign.keys = vec![SigningKey::new("0123456789abcdef")];
        site
    }

    #[track_caller]
    fn check(url: &str, expires: Option<u64>, expect: &str) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let made = signed(&site(), url, expires.map(Duration::from_secs), now);
        let made = made.unwrap_or_else(|error| format!("{error:#}"));
        match expect.strip_suffix('…') {
            Some(start) => assert!(made.starts_with(start), "{made}"),
            None => assert_eq!(made, expect),
        }
    }

    #[test]
    fn urls_are_signed_as_they_are_checked() {
        // openssl dgst -sha256 -hmac 0123456789abcdef -binary | basenc --base64url
        let known = "sig=rW84ir-xlF_7jccXy1OpA_8CJGCzQ7zz_YtHgAbqyYU";
        let url = "https://a.test/a.jpg?width=80&dpr=2";
        check(url, None, &format!("{url}&{known}"));
        check(
            "/a.jpg?width=80&dpr=2&sig=old#x",
            None,
            &format!("/a.jpg?width=80&dpr=2&{known}"),
        );
        check(
            "/./%61.jpg?width=80&dpr=2",
            None,
            &format!("/a.jpg?width=80&dpr=2&{known}"),
        );
        check(
            "/a.jpg?expires=7&width=8",
            Some(60),
            "/a.jpg?width=8&expires=1060&sig=…",
        );
        check("/a.jpg", Some(60), "/a.jpg?expires=1060&sig=…");
    }

    #[test]
    fn what_cannot_be_signed_is_told() {
        check(
            "a.jpg",
            None,
            "a.jpg is neither a URL nor a path that begins with a slash",
        );
        check("https://a.test", None, "https://a.test has no path");
        check(
            "/a.jpg?width=0",
            None,
            "width must be a whole number of pixels from 1 to 4096",
        );
        check("/%zz", None, "/%zz is no path of a URL…");
    }
}
