use std::time::Duration;

use super::config::{Authorization, BrowserTtl, Config, Mode, SetCookie, StatusTtl};

/// Settings that stand in for a site's own, each on its own; `None` leaves what is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// As in [`Config`], like all that follow.
    pub mode: Option<Mode>,
    /// Lifetime when the origin says nothing.
    pub default_ttl: Option<Duration>,
    /// The shortest lifetime.
    pub min_ttl: Option<Duration>,
    /// The longest lifetime.
    pub max_ttl: Option<Duration>,
    /// `Some(None)` takes the site's away.
    pub override_ttl: Option<Option<Duration>>,
    /// What clients are told.
    pub browser_ttl: Option<BrowserTtl>,
    /// Whether clients are told `immutable`.
    pub immutable: Option<bool>,
    /// Lifetimes by status; all of them are replaced.
    pub status_ttl: Option<StatusTtl>,
    /// RFC 5861 window.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 window.
    pub stale_if_error: Option<Duration>,
    /// What a `Set-Cookie` does.
    pub set_cookie: Option<SetCookie>,
    /// What an `Authorization` does.
    pub authorization: Option<Authorization>,
    /// Freshness from `Last-Modified`.
    pub heuristic: Option<bool>,
    /// The largest body that is stored.
    pub max_object_bytes: Option<u64>,
    /// How long an answer that could not be stored is remembered.
    pub uncacheable_memory: Option<Duration>,
    /// Whether pages under the names of assets are left out.
    pub deception_guard: Option<bool>,
}

impl Overrides {
    /// Puts what is set in the place of what `config` has.
    pub fn apply(&self, config: &mut Config) {
        set(&mut config.mode, self.mode);
        set(&mut config.default_ttl, self.default_ttl);
        set(&mut config.min_ttl, self.min_ttl);
        set(&mut config.max_ttl, self.max_ttl);
        set(&mut config.override_ttl, self.override_ttl);
        set(&mut config.browser_ttl, self.browser_ttl);
        set(&mut config.immutable, self.immutable);
        set(&mut config.status_ttl, self.status_ttl.clone());
        set(
            &mut config.stale_while_revalidate,
            self.stale_while_revalidate,
        );
        set(&mut config.stale_if_error, self.stale_if_error);
        set(&mut config.set_cookie, self.set_cookie);
        set(&mut config.authorization, self.authorization);
        set(&mut config.heuristic, self.heuristic);
        set(&mut config.max_object_bytes, self.max_object_bytes);
        set(&mut config.uncacheable_memory, self.uncacheable_memory);
        set(&mut config.deception_guard, self.deception_guard);
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_replaces_and_the_rest_stays() {
        let before = Config {
            override_ttl: Some(Duration::from_secs(1)),
            ..Config::default()
        };
        let mut config = before.clone();
        Overrides::default().apply(&mut config);
        assert_eq!(config, before);
        let first = Overrides {
            mode: Some(Mode::All),
            min_ttl: Some(Duration::from_secs(5)),
            override_ttl: Some(None),
            ..Overrides::default()
        };
        let second = Overrides {
            min_ttl: Some(Duration::from_secs(6)),
            ..Overrides::default()
        };
        first.apply(&mut config);
        second.apply(&mut config);
        let expect = Config {
            mode: Mode::All,
            min_ttl: Duration::from_secs(6),
            override_ttl: None,
            ..Config::default()
        };
        assert_eq!(config, expect);
    }
}
