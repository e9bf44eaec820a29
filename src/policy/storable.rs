//! What may be stored, and for how long (RFC 9111 §3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};

use crate::semantics::cache_control::CacheControl;
use crate::semantics::reference::{self, Base, Resolved};

use super::config::{Authorization, Config, Mode, SetCookie};
use super::freshness::Freshness;
use super::kind::{is_deceptive, is_static};
use super::lifetime::{
    Directives, heuristic_lifetime, initial_age, is_heuristically_cacheable, status_lifetime,
};
use super::vary::{NeverMatches, named_fields};

/// A response together with what it answers and when.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The client's method.
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The client's request fields.
    pub request: &'a HeaderMap,
    /// The origin's status.
    pub status: StatusCode,
    /// The origin's fields, without hop-by-hop ones.
    pub response: &'a HeaderMap,
    /// When the request went out.
    pub requested_at: SystemTime,
    /// When the response's head was received.
    pub received_at: SystemTime,
}

/// Whether a response may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storability {
    /// It may, with this freshness (which may be zero: then it serves validation).
    Store(Freshness),
    /// It may not.
    Refuse(NotStored),
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// `no-store` in the response.
    NoStore,
    /// `no-store` in a request that is obeyed.
    RequestNoStore,
    /// `private`.
    Private,
    /// A `Set-Cookie` that the site does not store.
    SetCookie,
    /// The request carried `Authorization` and the response does not allow sharing.
    Authorization,
    /// `Vary: *`, or a `Vary` that cannot be read.
    VaryStar,
    /// `Vary` names a field by which the site does not store.
    VaryBypass,
    /// Neither freshness nor a validator.
    NoFreshness,
    /// The status is not stored without explicit freshness, or is not final.
    Status,
    /// The method's responses are not stored.
    Method,
    /// A part of a representation.
    Partial,
    /// The site stores nothing.
    Off,
    /// The body is larger than the site or the tiers take.
    TooLarge,
    /// No disk takes it this time, and it is too large for memory.
    NotAdmitted,
    /// The body is not what its digest says (RFC 9530).
    DigestMismatch,
    /// The site stores static types only, and this is none.
    NotStatic,
    /// A page or data under the name of an asset: what an attacker makes of a private page to have it stored.
    Deception,
}

impl NotStored {
    /// A short token for logs, labels and `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::SetCookie => "set-cookie",
            Self::Authorization => "authorization",
            Self::VaryStar => "vary-star",
            Self::VaryBypass => "vary-bypass",
            Self::NoFreshness => "no-freshness",
            Self::Status => "status",
            Self::Method => "method",
            Self::Partial => "partial",
            Self::Off => "off",
            Self::TooLarge => "too-large",
            Self::NotAdmitted => "not-admitted",
            Self::DigestMismatch => "digest-mismatch",
            Self::NotStatic => "not-static",
            Self::Deception => "deception",
        }
    }

    /// Whether what was stored before for the same request must not be used any more either: the origin has said that
    /// its answers are not for a shared store. Other reasons concern this one answer.
    #[must_use]
    pub fn outdates_stored(self) -> bool {
        match self {
            Self::NoStore | Self::Private => true,
            Self::RequestNoStore
            | Self::SetCookie
            | Self::Authorization
            | Self::VaryStar
            | Self::VaryBypass
            | Self::NoFreshness
            | Self::Status
            | Self::Method
            | Self::Partial
            | Self::Off
            | Self::TooLarge
            | Self::NotAdmitted
            | Self::DigestMismatch
            | Self::NotStatic
            | Self::Deception => false,
        }
    }
}

/// Decides whether the response of an exchange may be stored, and how long it is fresh.
///
/// After a 304, give the updated fields and the stored status (RFC 9111 §4.3.4).
#[must_use]
pub fn assess(config: &Config, exchange: &Exchange<'_>) -> Storability {
    let directives = Directives::of(config, exchange.response);
    match refusal(config, exchange, &directives) {
        Some(why) => Storability::Refuse(why),
        None => match freshness(config, exchange, &directives) {
            Ok(freshness) => Storability::Store(freshness),
            Err(why) => Storability::Refuse(why),
        },
    }
}

/// Decides whether the response to a POST may be stored to answer later GETs of the same URL (RFC 9110 §9.3.3): only
/// if it succeeded, names an explicit lifetime, and says by a `Content-Location` equal to that URL that it is its
/// representation. It is then stored as the answer to a GET would be, under all the rules of [`assess`].
///
/// `target` is the URL that was posted to.
#[must_use]
pub fn assess_post(config: &Config, exchange: &Exchange<'_>, target: &Base<'_>) -> Storability {
    let is_its_own = exchange
        .response
        .get(header::CONTENT_LOCATION)
        .and_then(|location| reference::on_same_origin(target, location.as_bytes()))
        .is_some_and(|Resolved { path, query }| {
            path == target.path && query.as_deref() == target.query
        });
    let is_explicit = Directives::of(config, exchange.response)
        .explicit_lifetime(exchange)
        .is_some();
    if exchange.method != Method::POST
        || !exchange.status.is_success()
        || !is_its_own
        || !is_explicit
    {
        return Storability::Refuse(NotStored::Method);
    }
    let as_get = Exchange {
        method: &Method::GET,
        ..*exchange
    };
    assess(config, &as_get)
}

/// Removes what the response itself or the site forbids to store: fields named by `private="…"` and
/// `no-cache="…"` (RFC 9111 §5.2.2.4, §5.2.2.7), and `Set-Cookie` when the site strips it. To be applied to what is
/// stored; the client whose request fetched the response may get the named fields.
pub fn stored_fields(config: &Config, response: &mut HeaderMap) {
    let CacheControl {
        private, no_cache, ..
    } = Directives::of(config, response).cache_control;
    for name in private.fields().iter().chain(no_cache.fields()) {
        response.remove(name);
    }
    if config.set_cookie == SetCookie::Strip {
        response.remove(header::SET_COOKIE);
    }
}

fn refusal(config: &Config, exchange: &Exchange<'_>, directives: &Directives) -> Option<NotStored> {
    if config.mode == Mode::Off {
        return Some(NotStored::Off);
    }
    // A HEAD response has no body to store; for POST see `assess_post`.
    if exchange.method != Method::GET {
        return Some(NotStored::Method);
    }
    match exchange.status.as_u16() {
        206 => return Some(NotStored::Partial),
        ..=199 | 304 => return Some(NotStored::Status),
        _ => {}
    }
    if config.deception_guard && is_deceptive(exchange) {
        return Some(NotStored::Deception);
    }
    if config.mode == Mode::Static && !is_static(exchange) {
        return Some(NotStored::NotStatic);
    }
    if config.respect_request_directives && CacheControl::of(exchange.request).no_store {
        return Some(NotStored::RequestNoStore);
    }
    if !is_forced(config, exchange.status)
        && let Some(why) = directive_refusal(exchange.status, &directives.cache_control)
    {
        return Some(why);
    }
    if exchange.request.contains_key(header::AUTHORIZATION)
        && !allows_authorization(config, &directives.cache_control)
    {
        return Some(NotStored::Authorization);
    }
    if config.set_cookie == SetCookie::Bypass && exchange.response.contains_key(header::SET_COOKIE)
    {
        return Some(NotStored::SetCookie);
    }
    match named_fields(exchange.response, &config.vary) {
        Err(NeverMatches::Star) => Some(NotStored::VaryStar),
        Err(NeverMatches::Bypass) => Some(NotStored::VaryBypass),
        Ok(_) => None,
    }
}

/// `mode = "all"`: successful answers are stored whatever the origin's directives say.
fn is_forced(config: &Config, status: StatusCode) -> bool {
    config.mode == Mode::All && status.is_success()
}

fn directive_refusal(status: StatusCode, cache_control: &CacheControl) -> Option<NotStored> {
    let understood = cache_control.must_understand && is_understood(status);
    if cache_control.must_understand && !understood {
        // RFC 9111 §5.2.2.3: such a response is for caches that know its status.
        return Some(NotStored::Status);
    }
    if cache_control.no_store && !understood {
        return Some(NotStored::NoStore);
    }
    cache_control
        .private
        .is_whole()
        .then_some(NotStored::Private)
}

/// RFC 9111 §3.5.
fn allows_authorization(config: &Config, cache_control: &CacheControl) -> bool {
    match config.authorization {
        Authorization::Bypass => false,
        // The origin has not seen it, so its answer is for everybody.
        Authorization::Strip => true,
        Authorization::Rfc => {
            cache_control.public
                || cache_control.must_revalidate
                || cache_control.s_maxage.is_some()
        }
    }
}

/// Final statuses of RFC 9110 whose caching rules this node follows.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn freshness(
    config: &Config,
    exchange: &Exchange<'_>,
    directives: &Directives,
) -> Result<Freshness, NotStored> {
    let cache_control = &directives.cache_control;
    let initial_age = initial_age(exchange);
    let (lifetime, source) = lifetime(config, exchange, directives)?;
    // What the site says is a time from receipt on; what the origin says is an age to reach.
    let lifetime = match source {
        Source::Origin => lifetime,
        Source::Override | Source::Site | Source::Status => lifetime.saturating_add(initial_age),
    };
    let is_overridden = source == Source::Override || is_forced(config, exchange.status);
    let always_validate = cache_control.no_cache.is_whole() && !is_overridden;
    let must_revalidate = always_validate
        || cache_control.must_revalidate
        || cache_control.proxy_revalidate
        // RFC 9111 §5.2.2.10: s-maxage means proxy-revalidate too.
        || (cache_control.s_maxage.is_some() && !config.s_maxage_allows_stale);
    // An error that is kept for a moment to spare the origin is not worth serving beyond it.
    let has_site_windows = !exchange.status.is_server_error();
    let window = |named: Option<Duration>, site: Duration| match named {
        _ if must_revalidate => Duration::ZERO,
        Some(named) => named,
        None if has_site_windows => site,
        None => Duration::ZERO,
    };
    Ok(Freshness {
        received_at: exchange.received_at,
        initial_age,
        lifetime,
        stale_while_revalidate: window(
            cache_control.stale_while_revalidate,
            config.stale_while_revalidate,
        ),
        stale_if_error: window(cache_control.stale_if_error, config.stale_if_error),
        always_validate,
        must_revalidate,
    })
}

/// Who a lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Origin,
    /// The site's `override_ttl`, which stands in for all that the origin says about freshness.
    Override,
    /// The site's `default_ttl`.
    Site,
    /// The site's `status_ttl`, which `min_ttl` does not lengthen: it keeps errors short.
    Status,
}

/// The lifetime within the site's bounds, in the order of who has the say.
fn lifetime(
    config: &Config,
    exchange: &Exchange<'_>,
    directives: &Directives,
) -> Result<(Duration, Source), NotStored> {
    let status = exchange.status;
    let explicit = explicit_lifetime(config, exchange, directives);
    let may_guess = is_heuristically_cacheable(status)
        || directives.cache_control.public
        || is_forced(config, status);
    let (lifetime, source) = if let Some(lifetime) = config.override_ttl
        && is_content(status)
        && (explicit.is_some() || may_guess)
    {
        (lifetime, Source::Override)
    } else if let Some(lifetime) = explicit {
        (lifetime, Source::Origin)
    } else if let Some(lifetime) = status_lifetime(&config.status_ttl, status) {
        (lifetime, Source::Status)
    } else if may_guess {
        implicit_lifetime(config, exchange)?
    } else {
        return Err(NotStored::Status);
    };
    let lifetime = match source {
        Source::Origin | Source::Override | Source::Site => lifetime.max(config.min_ttl),
        Source::Status => lifetime,
    };
    Ok((lifetime.min(config.max_ttl), source))
}

/// `override_ttl` and `default_ttl` are about content: a year for assets must not be a year for a
/// passing 404. How long errors are kept is for the origin and `status_ttl` to say.
fn is_content(status: StatusCode) -> bool {
    status.as_u16() < 400
}

fn explicit_lifetime(
    config: &Config,
    exchange: &Exchange<'_>,
    directives: &Directives,
) -> Option<Duration> {
    let is_forced = is_forced(config, exchange.status);
    directives
        .explicit_lifetime(exchange)
        // Storing all that the origin would not have stored needs another lifetime than its zero.
        .filter(|lifetime| !is_forced || !lifetime.is_zero())
}

/// The lifetime when neither the origin nor the site names one for this response.
fn implicit_lifetime(
    config: &Config,
    exchange: &Exchange<'_>,
) -> Result<(Duration, Source), NotStored> {
    if config.heuristic
        && let Some(lifetime) = heuristic_lifetime(exchange)
    {
        return Ok((lifetime, Source::Origin));
    }
    if !config.default_ttl.is_zero() && is_content(exchange.status) {
        return Ok((config.default_ttl, Source::Site));
    }
    let has_validator = exchange.response.contains_key(header::ETAG)
        || exchange.response.contains_key(header::LAST_MODIFIED);
    if has_validator {
        Ok((Duration::ZERO, Source::Origin))
    } else {
        Err(NotStored::NoFreshness)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{StatusTtl, VaryAction};
    use super::super::sample::{BEFORE, Fields, Sample, at, headers, names, seconds};
    use super::*;

    #[track_caller]
    fn check(sample: &Sample<'_>, expect: Option<NotStored>) {
        assert_eq!(sample.refused(), expect, "{:?}", sample.response);
    }

    #[track_caller]
    fn check_response(response: Fields<'_>, expect: Option<NotStored>) {
        check(
            &Sample {
                response,
                ..Sample::default()
            },
            expect,
        );
    }

    #[test]
    fn directives_forbid() {
        check_response(&[("cache-control", "max-age=60")], None);
        for text in [
            "no-store",
            "No-StOrE",
            "max-age=60, no-store",
            "no-store, max-age=60, foo",
            "no-store=x",
        ] {
            check_response(&[("cache-control", text)], Some(NotStored::NoStore));
        }
        check_response(
            &[
                ("cache-control", "max-age=60"),
                ("cache-control", "PRIVATE"),
            ],
            Some(NotStored::Private),
        );
        check_response(&[("cache-control", "max-age=60, private=\"foo\"")], None);
        check_response(
            &[("cache-control", "max-age=60"), ("pragma", "no-cache")],
            None,
        );
    }

    #[test]
    fn must_understand_overrides_no_store_for_known_statuses() {
        let sample = |status| Sample {
            status,
            response: &[("cache-control", "max-age=60, no-store, must-understand")],
            ..Sample::default()
        };
        check(&sample(200), None);
        check(&sample(404), None);
        check(&sample(499), Some(NotStored::Status));
        check(&sample(299), Some(NotStored::Status));
    }

    #[test]
    fn only_whole_final_answers_to_get_are_stored() {
        let response: Fields<'_> = &[("cache-control", "max-age=60")];
        for (method, status, expect) in [
            (Method::POST, 200, NotStored::Method),
            (Method::HEAD, 200, NotStored::Method),
            (Method::GET, 206, NotStored::Partial),
            (Method::GET, 304, NotStored::Status),
            (Method::GET, 103, NotStored::Status),
        ] {
            let sample = Sample {
                method,
                status,
                response,
                ..Sample::default()
            };
            check(&sample, Some(expect));
        }
    }

    #[test]
    fn freshness_or_a_validator_is_needed() {
        check_response(&[], Some(NotStored::NoFreshness));
        check_response(&[("etag", "\"a\"")], None);
        check_response(&[("cache-control", "no-cache"), ("etag", "\"a\"")], None);
        let moved = Sample {
            status: 302,
            response: &[("etag", "\"a\"")],
            ..Sample::default()
        };
        check(&moved, Some(NotStored::Status));
        let validated = Sample {
            response: &[("etag", "\"a\"")],
            ..Sample::default()
        };
        assert_eq!(validated.stored().lifetime, Duration::ZERO);
    }

    #[test]
    fn authorization_needs_leave() {
        fn with(authorization: Authorization, response: Fields<'_>) -> Sample<'_> {
            Sample {
                config: Config {
                    authorization,
                    ..Sample::default().config
                },
                request: &[("authorization", "Basic x")],
                response,
                ..Sample::default()
            }
        }
        let plain: Fields<'_> = &[("cache-control", "max-age=60")];
        check(
            &with(Authorization::Rfc, plain),
            Some(NotStored::Authorization),
        );
        for text in [
            "max-age=60, public",
            "max-age=60, must-revalidate",
            "s-maxage=60",
        ] {
            let response = [("cache-control", text)];
            check(&with(Authorization::Rfc, &response), None);
            check(
                &with(Authorization::Bypass, &response),
                Some(NotStored::Authorization),
            );
        }
        check(&with(Authorization::Strip, plain), None);
    }

    #[test]
    fn cookies_are_the_sites_choice() {
        let with = |set_cookie| Sample {
            config: Config {
                set_cookie,
                ..Sample::default().config
            },
            request: &[("cookie", "a=b")],
            response: &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
            ..Sample::default()
        };
        check(&with(SetCookie::Bypass), Some(NotStored::SetCookie));
        check(&with(SetCookie::Strip), None);
        check(&with(SetCookie::Store), None);
    }

    #[test]
    fn what_is_named_is_not_stored() {
        let given: Fields<'_> = &[
            (
                "cache-control",
                "max-age=60, private=\"X-A\", no-cache=\"x-b\"",
            ),
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("set-cookie", "a=b"),
        ];
        let left = |set_cookie| {
            let mut fields = headers(given);
            let config = Config {
                set_cookie,
                ..Config::default()
            };
            stored_fields(&config, &mut fields);
            let mut left: Vec<_> = fields.keys().map(|name| name.as_str().to_owned()).collect();
            left.sort_unstable();
            left
        };
        assert_eq!(left(SetCookie::Strip), ["cache-control", "x-c"]);
        assert_eq!(
            left(SetCookie::Store),
            ["cache-control", "set-cookie", "x-c"]
        );
    }

    #[test]
    fn vary_may_forbid() {
        fn with(vary: &str, adjust: impl FnOnce(&mut Config)) -> Option<NotStored> {
            let mut config = Sample::default().config;
            adjust(&mut config);
            let response = [("cache-control", "max-age=60"), ("vary", vary)];
            Sample {
                config,
                response: &response,
                ..Sample::default()
            }
            .refused()
        }
        assert_eq!(with("foo, *", |_| {}), Some(NotStored::VaryStar));
        assert_eq!(with("User-Agent", |_| {}), Some(NotStored::VaryBypass));
        assert_eq!(with("User-Agent, *", |_| {}), Some(NotStored::VaryStar));
        assert_eq!(with("foo", |_| {}), None);
        let ignore = |config: &mut Config| {
            config.vary.fields.clear();
            config.vary.default = VaryAction::Ignore;
        };
        assert_eq!(with("User-Agent", ignore), None);
        assert_eq!(with("*", ignore), Some(NotStored::VaryStar));
    }

    #[test]
    fn requests_may_forbid_where_they_are_obeyed() {
        let with = |respect_request_directives| Sample {
            config: Config {
                respect_request_directives,
                ..Sample::default().config
            },
            request: &[("cache-control", "no-store")],
            response: &[("cache-control", "max-age=60")],
            ..Sample::default()
        };
        check(&with(true), Some(NotStored::RequestNoStore));
        check(&with(false), None);
    }

    #[test]
    fn a_post_that_shows_its_own_url_may_answer_a_get() {
        #[track_caller]
        fn check(method: &Method, status: u16, response: Fields<'_>, expect: Option<NotStored>) {
            let target = Base {
                scheme: "https",
                host: Some("a.example"),
                path: "/b/c",
                query: Some("q"),
            };
            let exchange = Exchange {
                path: "/a",
                method,
                request: &HeaderMap::new(),
                status: StatusCode::from_u16(status).unwrap(),
                response: &headers(response),
                requested_at: at(0),
                received_at: at(0),
            };
            let found = match assess_post(&Sample::default().config, &exchange, &target) {
                Storability::Store(_) => None,
                Storability::Refuse(why) => Some(why),
            };
            assert_eq!(found, expect, "{method} {status} {response:?}");
        }
        let fresh = ("cache-control", "max-age=60");
        let method = Some(NotStored::Method);
        for own in ["/b/c?q", "c?q", "", "https://A.example:443/b/./c?q#x"] {
            check(
                &Method::POST,
                200,
                &[fresh, ("content-location", own)],
                None,
            );
        }
        check(
            &Method::POST,
            200,
            &[
                ("expires", "Sun, 06 Nov 1994 08:49:47 GMT"),
                ("content-location", "?q"),
            ],
            None,
        );
        for other in [
            "/b/c",
            "/b/c?Q",
            "/b",
            "https://b.example/b/c?q",
            "http://a.example/b/c?q",
            "/%",
        ] {
            check(
                &Method::POST,
                200,
                &[fresh, ("content-location", other)],
                method,
            );
        }
        check(&Method::POST, 200, &[fresh], method);
        check(
            &Method::POST,
            200,
            &[("last-modified", BEFORE), ("content-location", "?q")],
            method,
        );
        check(
            &Method::POST,
            404,
            &[fresh, ("content-location", "?q")],
            method,
        );
        check(
            &Method::PUT,
            200,
            &[fresh, ("content-location", "?q")],
            method,
        );
        let private = [
            ("cache-control", "max-age=60, private"),
            ("content-location", "?q"),
        ];
        check(&Method::POST, 200, &private, Some(NotStored::Private));
    }

    #[test]
    fn an_origin_that_forbids_storing_takes_back_what_was_stored() {
        for (text, expect) in [
            ("no-store", true),
            ("private, max-age=5", true),
            ("max-age=5", false),
        ] {
            let response = [("cache-control", text), ("set-cookie", "a=b")];
            let sample = Sample {
                config: Config {
                    set_cookie: SetCookie::Bypass,
                    ..Sample::default().config
                },
                response: &response,
                ..Sample::default()
            };
            assert_eq!(
                sample.refused().is_some_and(NotStored::outdates_stored),
                expect,
                "{text}"
            );
        }
        assert!(!NotStored::RequestNoStore.outdates_stored());
    }

    #[test]
    fn a_transparent_site_stores_every_end_to_end_field() {
        let given: Fields<'_> = &[
            ("cache-control", "max-age=60"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("clear-site-data", "\"cookies\""),
            ("content-md5", "x"),
            ("content-foo", "1"),
            ("public-key-pins", "x"),
            ("x-unknown", "1"),
            ("pragma", "no-cache"),
            ("warning", "110 - x"),
        ];
        let config = Config {
            forward_targeted: true,
            ..Sample::default().config
        };
        let mut fields = headers(given);
        stored_fields(&config, &mut fields);
        super::super::client_fields(&config, StatusCode::OK, &mut fields);
        assert_eq!(fields, headers(given));
    }

    #[test]
    fn stale_is_forbidden_or_bounded() {
        let with = |text: &str| {
            let response = [("cache-control", text)];
            let mut sample = Sample {
                response: &response,
                ..Sample::default()
            };
            sample.config.stale_if_error = seconds(100);
            let found = sample.stored();
            (
                found.must_revalidate,
                found.always_validate,
                found.stale_while_revalidate.as_secs(),
                found.stale_if_error.as_secs(),
            )
        };
        assert_eq!(with("max-age=1"), (false, false, 0, 100));
        assert_eq!(
            with("max-age=1, stale-while-revalidate=5, stale-if-error=7"),
            (false, false, 5, 7)
        );
        for text in ["must-revalidate", "proxy-revalidate", "s-maxage=5"] {
            let text = format!("max-age=1, stale-while-revalidate=5, stale-if-error=7, {text}");
            assert_eq!(with(&text), (true, false, 0, 0));
        }
        assert_eq!(
            with("max-age=1, no-cache, stale-if-error=7"),
            (true, true, 0, 0)
        );
        assert_eq!(with("max-age=1, no-cache=\"foo\""), (false, false, 0, 100));
        let mut lenient = Sample {
            response: &[("cache-control", "s-maxage=5, stale-if-error=7")],
            ..Sample::default()
        };
        lenient.config.s_maxage_allows_stale = true;
        assert_eq!(lenient.stored().stale_if_error, seconds(7));
    }

    #[track_caller]
    fn check_site(
        adjust: impl FnOnce(&mut Config),
        status: u16,
        response: Fields<'_>,
        expect: Result<u64, NotStored>,
    ) {
        let mut config = Config::default();
        adjust(&mut config);
        let sample = Sample {
            config,
            status,
            response,
            ..Sample::default()
        };
        let found = match sample.assess() {
            Storability::Store(freshness) => Ok(u64::try_from(freshness.ttl(at(0))).unwrap()),
            Storability::Refuse(why) => Err(why),
        };
        assert_eq!(found, expect, "{status} {response:?}");
    }

    #[test]
    fn the_site_bounds_and_replaces_lifetimes() {
        let minute: Fields<'_> = &[("cache-control", "max-age=60")];
        check_site(|c| c.min_ttl = seconds(100), 200, minute, Ok(100));
        check_site(|c| c.max_ttl = seconds(10), 200, minute, Ok(10));
        check_site(|c| c.override_ttl = Some(seconds(5)), 200, minute, Ok(5));
        check_site(
            |c| c.override_ttl = Some(seconds(5)),
            200,
            &[("cache-control", "no-cache"), ("age", "50")],
            Ok(5),
        );
        check_site(|c| c.override_ttl = Some(seconds(5)), 200, &[], Ok(5));
        check_site(
            |c| c.override_ttl = Some(seconds(5)),
            200,
            &[("cache-control", "no-store")],
            Err(NotStored::NoStore),
        );
        check_site(
            |c| c.override_ttl = Some(seconds(5)),
            200,
            &[("cache-control", "private")],
            Err(NotStored::Private),
        );
        check_site(|c| c.override_ttl = Some(seconds(500)), 404, &[], Ok(10));
        check_site(
            |c| c.override_ttl = Some(seconds(5)),
            302,
            &[],
            Err(NotStored::Status),
        );
        check_site(|c| c.default_ttl = seconds(5), 200, &[], Ok(5));
        check_site(|c| c.default_ttl = seconds(5), 200, minute, Ok(60));
        check_site(
            |c| c.default_ttl = seconds(5),
            200,
            &[("last-modified", BEFORE)],
            Ok(10),
        );
        check_site(
            |c| {
                c.default_ttl = seconds(5);
                c.heuristic = false;
            },
            200,
            &[("last-modified", BEFORE)],
            Ok(5),
        );
        check_site(|c| c.mode = Mode::Off, 200, minute, Err(NotStored::Off));
    }

    #[test]
    fn an_override_lifts_no_cache_and_starts_at_receipt() {
        let mut sample = Sample {
            response: &[("cache-control", "no-cache"), ("age", "50")],
            ..Sample::default()
        };
        sample.config.override_ttl = Some(seconds(5));
        let found = sample.stored();
        assert!(!found.always_validate && !found.must_revalidate);
        assert_eq!(found.age(at(0)), seconds(50));
        assert_eq!(found.ttl(at(0)), 5);
    }

    #[test]
    fn statuses_have_lifetimes_of_their_own() {
        check_site(|_| {}, 404, &[], Ok(10));
        check_site(|_| {}, 404, &[("cache-control", "max-age=60")], Ok(60));
        check_site(|_| {}, 404, &[("last-modified", BEFORE)], Ok(10));
        check_site(|_| {}, 410, &[("age", "50")], Ok(10));
        check_site(|_| {}, 500, &[], Ok(1));
        check_site(|c| c.min_ttl = seconds(60), 503, &[], Ok(1));
        check_site(|_| {}, 403, &[], Err(NotStored::Status));
        check_site(
            |c| {
                c.status_ttl = StatusTtl {
                    exact: vec![(StatusCode::NOT_FOUND, seconds(3))],
                    class: vec![(4, seconds(7))],
                };
            },
            404,
            &[],
            Ok(3),
        );
        check_site(
            |c| c.status_ttl.class = vec![(4, seconds(7))],
            403,
            &[],
            Ok(7),
        );
        check_site(
            |_| {},
            404,
            &[("cache-control", "no-store")],
            Err(NotStored::NoStore),
        );
    }

    #[test]
    fn mode_all_stores_every_success() {
        let all = |c: &mut Config| {
            c.mode = Mode::All;
            c.default_ttl = seconds(30);
        };
        check_site(
            all,
            200,
            &[("cache-control", "no-store, max-age=0")],
            Ok(30),
        );
        check_site(all, 200, &[("cache-control", "private, no-cache")], Ok(30));
        check_site(all, 201, &[], Ok(30));
        check_site(all, 200, &[("cache-control", "max-age=60")], Ok(60));
        check_site(all, 206, &[], Err(NotStored::Partial));
        check_site(
            all,
            500,
            &[("cache-control", "no-store")],
            Err(NotStored::NoStore),
        );
        check_site(
            all,
            200,
            &[("cache-control", "no-store"), ("vary", "*")],
            Err(NotStored::VaryStar),
        );
        check_site(
            |c| {
                all(c);
                c.override_ttl = Some(seconds(5));
            },
            200,
            &[("cache-control", "no-store")],
            Ok(5),
        );
    }

    #[test]
    fn errors_kept_for_a_moment_are_never_served_stale() {
        let sample = Sample {
            config: Config::default(),
            status: 503,
            ..Sample::default()
        };
        assert_eq!(sample.stored().stale_if_error, Duration::ZERO);
    }

    #[test]
    fn the_first_valid_targeted_field_counts() {
        let mut sample = Sample {
            response: &[
                ("brim-cache-control", "max-age=x"),
                ("cdn-cache-control", "max-age=7"),
                ("cache-control", "max-age=60"),
            ],
            ..Sample::default()
        };
        sample.config.targeted = names(&["brim-cache-control", "cdn-cache-control"]);
        assert_eq!(sample.stored().lifetime, seconds(7));
        sample.config.targeted.clear();
        assert_eq!(sample.stored().lifetime, seconds(60));
    }
}
