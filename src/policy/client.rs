//! What clients get to see of the fields that were meant for the node.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::semantics::cache_control::CacheControl;

use super::config::{BrowserTtl, Config, Mode};
use super::freshness::Freshness;

/// These are for caches alone, and tell how a site is made, whether it purges by them or not.
const TAG_FIELDS: [HeaderName; 2] = [
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("cache-tag"),
];

/// Turns stored fields into those that a client gets: without targeted and tag fields unless they are
/// forwarded, and with the site's own `Cache-Control` when it names a lifetime for browsers.
///
/// That lifetime is for content: errors keep what the origin said, and so does what is `private` or `no-store` (unless
/// the site stores all): a longer stay in a shared or disk cache is not the site's to grant.
pub fn client_fields(config: &Config, status: StatusCode, headers: &mut HeaderMap) {
    if !config.forward_targeted {
        for name in config
            .targeted
            .iter()
            .chain(&config.tags)
            .chain(&TAG_FIELDS)
        {
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

/// Whether clients are to be told `Age: 0` and a `Date` of now, where the site wants that: when this node may keep the
/// response longer than both its `Cache-Control` and clients are told, by a targeted field (RFC 9213 §3) or a rule of
/// the site. With the true age, browsers would get a response that is stale when it arrives.
///
/// `stored` are the fields as the origin gave them, `sent` those that the client gets. An `Expires` alone is a point in
/// time, which no age brings nearer.
#[must_use]
pub fn restarts_age(
    config: &Config,
    freshness: &Freshness,
    stored: &HeaderMap,
    sent: &HeaderMap,
) -> bool {
    if !config.rewrite_age {
        return false;
    }
    let told = CacheControl::of(stored);
    let for_caches = told.s_maxage.or(told.max_age).unwrap_or_default();
    let for_clients = CacheControl::of(sent).max_age;
    freshness.lifetime > for_caches
        && for_clients.is_some_and(|lifetime| freshness.lifetime > lifetime)
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
    use std::time::Duration;

    use super::super::sample::{Fields, SOON, Sample, headers};
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
        let untagged = Config {
            tags: Vec::new(),
            ..Config::default()
        };
        check(&untagged, 200, given, &[("x-a", "1")]);
        let forwarding = Config {
            forward_targeted: true,
            ..Config::default()
        };
        check(&forwarding, 200, given, given);
    }

    #[test]
    fn an_age_starts_anew_when_the_node_keeps_longer_than_clients_may() {
        #[track_caller]
        fn check(adjust: impl FnOnce(&mut Config), response: Fields<'_>, expect: bool) {
            let mut sample = Sample {
                response,
                ..Sample::default()
            };
            adjust(&mut sample.config);
            let stored = headers(response);
            let mut sent = stored.clone();
            client_fields(&sample.config, StatusCode::OK, &mut sent);
            let found = restarts_age(&sample.config, &sample.stored(), &stored, &sent);
            assert_eq!(found, expect, "{response:?}");
        }
        let on = |config: &mut Config| config.rewrite_age = true;
        let targeted: Fields<'_> = &[
            ("cdn-cache-control", "max-age=600"),
            ("cache-control", "max-age=60"),
        ];
        check(|_| {}, targeted, false);
        check(on, targeted, true);
        check(
            on,
            &[
                ("cdn-cache-control", "max-age=6"),
                ("cache-control", "max-age=60"),
            ],
            false,
        );
        check(
            on,
            &[("cdn-cache-control", "max-age=600"), ("expires", SOON)],
            false,
        );
        // What the origin tells all shared caches is what it means.
        check(on, &[("cache-control", "max-age=60, s-maxage=600")], false);
        check(on, &[("cache-control", "max-age=60")], false);
        let ruled = |config: &mut Config| {
            config.rewrite_age = true;
            config.override_ttl = Some(Duration::from_secs(600));
        };
        check(ruled, &[("cache-control", "max-age=60")], true);
        check(ruled, &[("cache-control", "max-age=6000")], false);
        let browser = |config: &mut Config| {
            ruled(config);
            config.browser_ttl = BrowserTtl::Fixed(Duration::from_secs(5));
        };
        check(browser, &[], true);
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
