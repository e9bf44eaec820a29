//! What clients get to see of the fields that were meant for the node.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::semantics::cache_control::CacheControl;

use super::config::{BrowserTtl, Config, Mode};

/// Turns stored fields into those that a client gets: without targeted and tag fields unless they are
/// forwarded, and with the site's own `Cache-Control` when it names a lifetime for browsers.
///
/// That lifetime is for content: errors keep what the origin said, and so does what is `private` or `no-store` (unless
/// the site stores all): a longer stay in a shared or disk cache is not the site's to grant.
pub fn client_fields(config: &Config, status: StatusCode, headers: &mut HeaderMap) {
    if !config.forward_targeted {
        for name in config.targeted.iter().chain(&config.tags) {
            headers.remove(name);
        }
    }
    if status.as_u16() >= 400 {
        return;
    }
    match config.browser_ttl {
        BrowserTtl::Fixed(lifetime) => tell_lifetime(config, lifetime, headers),
        BrowserTtl::Respect if config.immutable => tell_immutable(headers),
        BrowserTtl::Respect => {}
    }
}

fn tell_lifetime(config: &Config, lifetime: Duration, headers: &mut HeaderMap) {
    let said = CacheControl::of(headers);
    if config.mode != Mode::All && (said.no_store || said.private.is_whole()) {
        return;
    }
    let mut text = format!("max-age={}", lifetime.as_secs());
    for (is_said, directive) in [
        (said.immutable || config.immutable, ", immutable"),
        (said.no_transform, ", no-transform"),
    ] {
        if is_said {
            text.push_str(directive);
        }
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(header::CACHE_CONTROL, value);
        headers.remove(header::EXPIRES);
        headers.remove(header::PRAGMA);
    }
}

/// RFC 8246 §2: it speaks of the time in which the response is fresh, so it joins a lifetime that is told.
fn tell_immutable(headers: &mut HeaderMap) {
    let said = CacheControl::of(headers);
    if said.immutable || said.no_store || said.max_age.is_none() {
        return;
    }
    if let Some(value) = headers.get_mut(header::CACHE_CONTROL)
        && let Ok(joined) = HeaderValue::from_bytes(&[value.as_bytes(), b", immutable"].concat())
    {
        *value = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Fields, SOON, headers};
    use super::*;

    #[track_caller]
    fn check(config: &Config, status: u16, given: Fields<'_>, expect: Fields<'_>) {
        let mut found = headers(given);
        client_fields(config, StatusCode::from_u16(status).unwrap(), &mut found);
        assert_eq!(found, headers(expect), "{status} {given:?}");
    }

    #[test]
    fn fields_for_the_node_stay_with_it() {
        let given: Fields<'_> = &[
            ("cdn-cache-control", "max-age=5"),
            ("surrogate-key", "a"),
            ("cache-tag", "a"),
            ("x-a", "1"),
        ];
        check(&Config::default(), 200, given, &[("x-a", "1")]);
        let forwarding = Config {
            forward_targeted: true,
            ..Config::default()
        };
        check(&forwarding, 200, given, given);
    }

    #[test]
    fn browsers_are_told_the_sites_lifetime() {
        let config = Config {
            browser_ttl: BrowserTtl::Fixed(Duration::from_secs(60)),
            ..Config::default()
        };
        let told: Fields<'_> = &[("cache-control", "max-age=60")];
        check(&config, 200, &[], told);
        check(
            &config,
            304,
            &[("cache-control", "no-cache"), ("expires", SOON)],
            told,
        );
        check(
            &config,
            200,
            &[("cache-control", "max-age=1, immutable, no-transform")],
            &[("cache-control", "max-age=60, immutable, no-transform")],
        );
        for kept in ["no-store", "private, max-age=5"] {
            check(
                &config,
                200,
                &[("cache-control", kept)],
                &[("cache-control", kept)],
            );
        }
        check(&config, 404, &[], &[]);
        let all = Config {
            mode: Mode::All,
            ..config
        };
        check(&all, 200, &[("cache-control", "no-store")], told);
    }

    #[test]
    fn immutable_joins_a_lifetime() {
        let respect = Config {
            immutable: true,
            ..Config::default()
        };
        check(
            &respect,
            200,
            &[("cache-control", "public, max-age=60")],
            &[("cache-control", "public, max-age=60, immutable")],
        );
        for kept in ["max-age=60, immutable", "no-cache", "no-store, max-age=60"] {
            let kept: Fields<'_> = &[("cache-control", kept)];
            check(&respect, 200, kept, kept);
        }
        check(&respect, 200, &[], &[]);
        let missing: Fields<'_> = &[("cache-control", "max-age=60")];
        check(&respect, 404, missing, missing);
        let fixed = Config {
            browser_ttl: BrowserTtl::Fixed(Duration::from_secs(60)),
            ..respect
        };
        let told: Fields<'_> = &[("cache-control", "max-age=60, immutable")];
        check(&fixed, 200, &[("cache-control", "no-cache")], told);
    }
}
