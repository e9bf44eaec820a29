//! When a stored response may be used again (RFC 9111 §4, §5.2.1, RFC 5861).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use crate::semantics::{
    cache_control::{CacheControl, MaxStale, Qualified},
    list,
};

use super::config::Config;
use super::freshness::Freshness;

/// How a stored response may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// As it is. Also a stale one that the client says it takes (`max-stale`).
    Fresh,
    /// As it is, while one background request validates it (RFC 5861 §3).
    StaleWhileRevalidate,
    /// Only after the origin has confirmed it.
    Validate,
}

/// Decides on a stored response at `now`. `soft_purged` makes it stale from this moment on, whatever its age.
#[must_use]
pub fn reuse(
    config: &Config,
    request: &HeaderMap,
    freshness: &Freshness,
    soft_purged: bool,
    now: SystemTime,
) -> Reuse {
    if freshness.always_validate {
        return Reuse::Validate;
    }
    if config.respect_request_directives
        && let Some(asked) = request_directives(request)
    {
        return reuse_as_asked(&asked, freshness, soft_purged, now);
    }
    reuse_at(freshness, soft_purged, now)
}

fn reuse_at(freshness: &Freshness, soft_purged: bool, now: SystemTime) -> Reuse {
    if freshness.is_fresh(now) && !soft_purged {
        Reuse::Fresh
    } else if !freshness.must_revalidate
        && freshness.staleness(now) < freshness.stale_while_revalidate
    {
        Reuse::StaleWhileRevalidate
    } else {
        Reuse::Validate
    }
}

/// RFC 9111 §5.2.1.
fn reuse_as_asked(
    asked: &CacheControl,
    freshness: &Freshness,
    soft_purged: bool,
    now: SystemTime,
) -> Reuse {
    let age = freshness.age(now);
    let left = freshness.lifetime.saturating_sub(age);
    let is_refused = asked.no_cache != Qualified::Absent
        || asked.max_age.is_some_and(|limit| age > limit)
        || asked.min_fresh.is_some_and(|least| left < least);
    if is_refused {
        return Reuse::Validate;
    }
    let staleness = freshness.staleness(now);
    let takes_stale = !soft_purged
        && !freshness.must_revalidate
        && asked.max_stale.is_some_and(|limit| match limit {
            MaxStale::Any => true,
            MaxStale::Within(limit) => staleness <= limit,
        });
    if takes_stale {
        Reuse::Fresh
    } else {
        reuse_at(freshness, soft_purged, now)
    }
}

/// The request's directives. `Pragma: no-cache` stands for them when there are none (RFC 9111 §5.4).
fn request_directives(request: &HeaderMap) -> Option<CacheControl> {
    if request.contains_key(header::CACHE_CONTROL) {
        return Some(CacheControl::of(request));
    }
    list::members(request, &header::PRAGMA)
        .any(|member| member.eq_ignore_ascii_case(b"no-cache"))
        .then(|| CacheControl {
            no_cache: Qualified::Whole,
            ..CacheControl::default()
        })
}

/// Why a stored response is not used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The response says `no-cache`.
    NoCache,
    /// The request says `no-cache`, or `Pragma: no-cache`.
    RequestNoCache,
    /// It is older than the request's `max-age`.
    RequestMaxAge,
    /// It stays fresh for less than the request's `min-fresh`.
    RequestMinFresh,
    /// It was purged softly.
    SoftPurged,
    /// It is stale.
    Stale,
}

impl Unusable {
    /// A closed word, for `Cache-Status` and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCache => "no-cache",
            Self::RequestNoCache => "request-no-cache",
            Self::RequestMaxAge => "request-max-age",
            Self::RequestMinFresh => "request-min-fresh",
            Self::SoftPurged => "soft-purged",
            Self::Stale => "stale",
        }
    }

    /// Whether it is the request alone that stands in the way of a fresh response.
    #[must_use]
    pub fn is_by_request(self) -> bool {
        match self {
            Self::RequestNoCache | Self::RequestMaxAge | Self::RequestMinFresh => true,
            Self::NoCache | Self::SoftPurged | Self::Stale => false,
        }
    }
}

/// Whether a fresh response answers this reload all the same: it says that it never changes while it is fresh
/// (RFC 8246 §2). `min-fresh` is no reload.
#[must_use]
pub fn answers_reload(why: Unusable, response: &HeaderMap) -> bool {
    matches!(why, Unusable::RequestNoCache | Unusable::RequestMaxAge)
        && CacheControl::of(response).immutable
}

/// Why [`reuse`] says [`Reuse::Validate`] of a stored response: the first reason that holds, what the response
/// says before what the request says.
#[must_use]
pub fn why_unusable(
    config: &Config,
    request: &HeaderMap,
    freshness: &Freshness,
    soft_purged: bool,
    now: SystemTime,
) -> Unusable {
    if freshness.always_validate {
        return Unusable::NoCache;
    }
    if soft_purged {
        return Unusable::SoftPurged;
    }
    if !freshness.is_fresh(now) {
        return Unusable::Stale;
    }
    let asked = match config.respect_request_directives {
        true => request_directives(request).unwrap_or_default(),
        false => CacheControl::default(),
    };
    let age = freshness.age(now);
    if asked.no_cache != Qualified::Absent {
        Unusable::RequestNoCache
    } else if asked.max_age.is_some_and(|limit| age > limit) {
        Unusable::RequestMaxAge
    } else {
        Unusable::RequestMinFresh
    }
}

/// Whether the request forbids to store its answer (RFC 9111 §5.2.1.5).
#[must_use]
pub fn forbids_storing(config: &Config, request: &HeaderMap) -> bool {
    config.respect_request_directives
        && request.contains_key(header::CACHE_CONTROL)
        && CacheControl::of(request).no_store
}

/// Whether the request is to be answered from the store or with 504 (RFC 9111 §5.2.1.7).
#[must_use]
pub fn is_only_if_cached(config: &Config, request: &HeaderMap) -> bool {
    config.respect_request_directives
        && request.contains_key(header::CACHE_CONTROL)
        && CacheControl::of(request).only_if_cached
}

/// Whether a stored response may stand in for an origin that fails (RFC 5861 §4, RFC 9111 §4.2.4).
#[must_use]
pub fn may_serve_on_error(freshness: &Freshness, soft_purged: bool, now: SystemTime) -> bool {
    if freshness.always_validate {
        return false;
    }
    if freshness.is_fresh(now) && !soft_purged {
        return true;
    }
    !freshness.must_revalidate
        && freshness.stale_if_error > Duration::ZERO
        && freshness.staleness(now) < freshness.stale_if_error
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{Fields, Sample, at, headers, seconds, transparent};
    use super::*;

    #[track_caller]
    fn check(directives: &str, request: Fields<'_>, after: u64, expect: Reuse) {
        let freshness = Sample {
            response: &[("cache-control", directives)],
            ..Sample::default()
        }
        .stored();
        let found = reuse(
            &transparent(),
            &headers(request),
            &freshness,
            false,
            at(after),
        );
        assert_eq!(found, expect, "{directives} after {after} for {request:?}");
    }

    #[test]
    fn fresh_then_stale() {
        check("max-age=60", &[], 0, Reuse::Fresh);
        check("max-age=60", &[], 59, Reuse::Fresh);
        check("max-age=60", &[], 60, Reuse::Validate);
        check("max-age=60, must-revalidate", &[], 59, Reuse::Fresh);
        check("s-maxage=60", &[], 59, Reuse::Fresh);
        check("max-age=60, no-cache", &[], 0, Reuse::Validate);
        check("max-age=60, no-cache=\"a\"", &[], 0, Reuse::Fresh);
    }

    #[test]
    fn stale_while_revalidate_ends_with_its_window() {
        let directives = "max-age=60, stale-while-revalidate=30";
        check(directives, &[], 59, Reuse::Fresh);
        check(directives, &[], 60, Reuse::StaleWhileRevalidate);
        check(directives, &[], 89, Reuse::StaleWhileRevalidate);
        check(directives, &[], 90, Reuse::Validate);
        let strict = "max-age=60, stale-while-revalidate=30, must-revalidate";
        check(strict, &[], 60, Reuse::Validate);
    }

    #[test]
    fn requests_may_ask_for_more() {
        let ask = |text: &'static str, after, expect| {
            check("max-age=60", &[("cache-control", text)], after, expect);
        };
        ask("no-cache", 0, Reuse::Validate);
        ask("max-age=0", 1, Reuse::Validate);
        ask("max-age=10", 10, Reuse::Fresh);
        ask("max-age=10", 11, Reuse::Validate);
        ask("min-fresh=10", 50, Reuse::Fresh);
        ask("min-fresh=10", 51, Reuse::Validate);
        ask("max-stale", 5000, Reuse::Fresh);
        ask("max-stale=10", 70, Reuse::Fresh);
        ask("max-stale=10", 71, Reuse::Validate);
        ask("foo", 0, Reuse::Fresh);
        check("max-age=60", &[("pragma", "no-cache")], 0, Reuse::Validate);
        check(
            "max-age=60",
            &[("pragma", "no-cache"), ("cache-control", "foo")],
            0,
            Reuse::Fresh,
        );
        let takes_stale: Fields<'_> = &[("cache-control", "max-stale")];
        check(
            "max-age=60, must-revalidate",
            takes_stale,
            60,
            Reuse::Validate,
        );
        check("max-age=60, no-cache", takes_stale, 0, Reuse::Validate);
    }

    #[test]
    fn requests_are_not_obeyed_by_default() {
        let freshness = Sample {
            response: &[("cache-control", "max-age=60")],
            ..Sample::default()
        }
        .stored();
        for fields in [
            [("cache-control", "no-cache")],
            [("cache-control", "max-age=0")],
            [("pragma", "no-cache")],
        ] {
            let found = reuse(
                &Config::default(),
                &headers(&fields),
                &freshness,
                false,
                at(1),
            );
            assert_eq!(found, Reuse::Fresh);
        }
        let asked = headers(&[("cache-control", "only-if-cached")]);
        assert!(!is_only_if_cached(&Config::default(), &asked));
        assert!(is_only_if_cached(&transparent(), &asked));
    }

    #[test]
    fn a_soft_purge_makes_stale_at_once() {
        let purged = |directives: &str| {
            let freshness = Sample {
                response: &[("cache-control", directives)],
                ..Sample::default()
            }
            .stored();
            (
                reuse(&transparent(), &HeaderMap::new(), &freshness, true, at(1)),
                may_serve_on_error(&freshness, true, at(1)),
            )
        };
        assert_eq!(purged("max-age=60"), (Reuse::Validate, false));
        assert_eq!(
            purged("max-age=60, stale-while-revalidate=5, stale-if-error=5"),
            (Reuse::StaleWhileRevalidate, true)
        );
        assert_eq!(
            purged("max-age=60, stale-if-error=5, must-revalidate"),
            (Reuse::Validate, false)
        );
    }

    #[test]
    fn errors_are_bridged_inside_the_window_only() {
        let bridged = |directives: &str, after| {
            let freshness = Sample {
                response: &[("cache-control", directives)],
                ..Sample::default()
            }
            .stored();
            may_serve_on_error(&freshness, false, at(after))
        };
        let window = "max-age=60, stale-if-error=30";
        assert!(bridged(window, 60) && bridged(window, 89) && !bridged(window, 90));
        assert!(!bridged("max-age=60", 60));
        assert!(bridged("max-age=60", 59));
        assert!(bridged("max-age=60, must-revalidate", 59));
        for strict in [
            "must-revalidate",
            "proxy-revalidate",
            "no-cache",
            "s-maxage=60",
        ] {
            assert!(!bridged(&format!("{window}, {strict}"), 60), "{strict}");
        }
    }

    proptest! {
        #[test]
        fn time_never_makes_a_response_more_usable(
            max_age in 0u64..100, window in 0u64..100, first in 0u64..300, later in 0u64..300, soft_purged: bool,
        ) {
            let directives = format!("max-age={max_age}, stale-while-revalidate={window}, stale-if-error={window}");
            let freshness = Sample { response: &[("cache-control", &directives)], ..Sample::default() }.stored();
            let rank = |after| match reuse(&transparent(), &HeaderMap::new(), &freshness, soft_purged, at(after)) {
                Reuse::Fresh => 0,
                Reuse::StaleWhileRevalidate => 1,
                Reuse::Validate => 2,
            };
            prop_assert!(rank(first) <= rank(first + later));
            prop_assert!(may_serve_on_error(&freshness, soft_purged, at(first))
                || !may_serve_on_error(&freshness, soft_purged, at(first + later)));
            prop_assert_eq!(reuse(&transparent(), &HeaderMap::new(), &freshness, soft_purged, at(0) - seconds(1000)),
                reuse(&transparent(), &HeaderMap::new(), &freshness, soft_purged, at(0)));
        }
    }
}
