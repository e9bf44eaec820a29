//! Exchanges for the tests of this room.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::config::{Config, StatusTtl};
use super::freshness::Freshness;
use super::storable::{Exchange, NotStored, Storability, assess};

/// Fields as a test writes them.
pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

pub(super) fn headers(fields: Fields<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

pub(super) fn names(names: &[&str]) -> Vec<HeaderName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, and seconds after it.
pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
}

/// The moment at which responses are received here, as a field value.
pub(super) const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// Ten seconds later.
pub(super) const SOON: &str = "Sun, 06 Nov 1994 08:49:47 GMT";
/// A hundred seconds earlier.
pub(super) const BEFORE: &str = "Sun, 06 Nov 1994 08:47:57 GMT";

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A site that is a plain transparent cache, so that each test sees the RFC's rules alone.
pub(super) fn transparent() -> Config {
    Config {
        status_ttl: StatusTtl {
            exact: Vec::new(),
            class: Vec::new(),
        },
        targeted: names(&["cdn-cache-control"]),
        stale_if_error: Duration::ZERO,
        respect_request_directives: true,
        set_cookie: super::SetCookie::Store,
        authorization: super::Authorization::Rfc,
        ..Config::default()
    }
}

/// A GET that was answered at once, at [`NOW`].
pub(super) struct Sample<'a> {
    pub(super) config: Config,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) request: Fields<'a>,
    pub(super) status: u16,
    pub(super) response: Fields<'a>,
    pub(super) delay: Duration,
}

impl Default for Sample<'_> {
    fn default() -> Self {
        Self {
            config: transparent(),
            method: Method::GET,
            path: "/",
            request: &[],
            status: 200,
            response: &[],
            delay: Duration::ZERO,
        }
    }
}

impl Sample<'_> {
    pub(super) fn assess(&self) -> Storability {
        assess(
            &self.config,
            &Exchange {
                method: &self.method,
                path: self.path,
                request: &headers(self.request),
                status: StatusCode::from_u16(self.status).unwrap(),
                response: &headers(self.response),
                requested_at: at(0) - self.delay,
                received_at: at(0),
            },
        )
    }

    #[track_caller]
    pub(super) fn stored(&self) -> Freshness {
        match self.assess() {
            Storability::Store(freshness) => freshness,
            Storability::Refuse(why) => panic!("refused: {}", why.as_str()),
        }
    }

    pub(super) fn refused(&self) -> Option<NotStored> {
        match self.assess() {
            Storability::Store(_) => None,
            Storability::Refuse(why) => Some(why),
        }
    }
}
