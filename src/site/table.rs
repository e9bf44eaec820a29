use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::settings::{HostPattern, Site};

/// Finds what belongs to a host: a site, or whatever a room keeps for each site.
///
/// An exact host wins over a wildcard, and the longest wildcard wins.
#[derive(Debug)]
pub struct Table<T> {
    exact: HashMap<Box<str>, Arc<T>>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<str>, Arc<T>>,
    default: Option<Arc<T>>,
}

/// Sites that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// Two sites answer for one host.
    #[error("two sites answer for the host {0}")]
    SharedHost(String),
    /// The default site is not among the sites.
    #[error("no site is named {0}, the default site")]
    NoDefault(String),
}

impl<T> Table<T> {
    /// A table of values with their hosts; `default` is for all other hosts.
    ///
    /// # Errors
    /// [`SiteError::SharedHost`] when two values have one host.
    pub fn new(
        values: impl IntoIterator<Item = (Vec<HostPattern>, Arc<T>)>,
        default: Option<Arc<T>>,
    ) -> Result<Self, SiteError> {
        let mut table = Self {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            default,
        };
        for (hosts, value) in values {
            for host in hosts {
                table.add(host, Arc::clone(&value))?;
            }
        }
        Ok(table)
    }

    /// What belongs to this host (lower case, no port, no trailing dot), or else the default.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&Arc<T>> {
        let found = self.exact.get(host).or_else(|| self.find_wildcard(host));
        found.or(self.default.as_ref())
    }

    /// What belongs to requests without a host.
    #[must_use]
    pub fn default_value(&self) -> Option<&Arc<T>> {
        self.default.as_ref()
    }

    fn find_wildcard(&self, host: &str) -> Option<&Arc<T>> {
        if self.wildcards.is_empty() {
            return None;
        }
        // From the longest suffix to the shortest: the first one found is the longest wildcard.
        let mut rest = host;
        while let Some((label, suffix)) = rest.split_once('.') {
            if !label.is_empty()
                && let Some(value) = self.wildcards.get(suffix)
            {
                return Some(value);
            }
            rest = suffix;
        }
        None
    }

    fn add(&mut self, host: HostPattern, value: Arc<T>) -> Result<(), SiteError> {
        let (hosts, name) = match host {
            HostPattern::Exact(host) => (&mut self.exact, host),
            HostPattern::Wildcard(suffix) => (&mut self.wildcards, suffix),
        };
        match hosts.entry(name.into_boxed_str()) {
            Entry::Vacant(slot) => {
                slot.insert(value);
                Ok(())
            }
            Entry::Occupied(taken) => Err(SiteError::SharedHost(taken.key().to_string())),
        }
    }
}

impl Table<Site> {
    /// A table of the sites themselves; `default` names the one for all other hosts.
    ///
    /// # Errors
    /// As [`Table::new`], and [`SiteError::NoDefault`].
    pub fn of_sites(sites: Vec<Arc<Site>>, default: Option<&str>) -> Result<Self, SiteError> {
        let default = match default {
            None => None,
            Some(name) => {
                let site = sites.iter().find(|site| &*site.name == name);
                let site = site.ok_or_else(|| SiteError::NoDefault(name.to_owned()))?;
                Some(Arc::clone(site))
            }
        };
        let values = sites.into_iter().map(|site| (site.hosts.clone(), site));
        Self::new(values, default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(default: Option<&str>) -> Table<&'static str> {
        let exact = |host: &str| HostPattern::Exact(host.to_owned());
        let wildcard = |suffix: &str| HostPattern::Wildcard(suffix.to_owned());
        let values = [
            ("a", vec![exact("a.example.com"), exact("[::1]")]),
            ("cdn", vec![wildcard("example.com")]),
            (
                "deep",
                vec![wildcard("cdn.example.com"), exact("127.0.0.1")],
            ),
            ("other", vec![exact("example.org")]),
        ];
        let values: Vec<_> = values
            .into_iter()
            .map(|(name, hosts)| (hosts, Arc::new(name)))
            .collect();
        let default = default.map(|name| {
            let found = values.iter().find(|(_, value)| **value == name);
            Arc::clone(&found.unwrap().1)
        });
        Table::new(values, default).unwrap()
    }

    #[track_caller]
    fn check(host: &str, expect: Option<&str>) {
        let table = table(None);
        assert_eq!(table.find(host).map(|name| **name), expect, "{host}");
    }

    #[test]
    fn an_exact_host_wins_then_the_longest_wildcard() {
        check("a.example.com", Some("a"));
        check("b.example.com", Some("cdn"));
        check("x.y.example.com", Some("cdn"));
        check("x.cdn.example.com", Some("deep"));
        check("x.y.cdn.example.com", Some("deep"));
        check("cdn.example.com", Some("cdn"));
        check("[::1]", Some("a"));
        check("127.0.0.1", Some("deep"));
    }

    #[test]
    fn a_wildcard_needs_a_label() {
        check("example.com", None);
        check(".example.com", None);
        check("badexample.com", None);
        check("example.com.evil", None);
        check("", None);
        check(".", None);
    }

    #[test]
    fn the_default_takes_the_rest() {
        let table = table(Some("other"));
        assert_eq!(table.find("nobody.test").map(|name| **name), Some("other"));
        assert_eq!(table.find("b.example.com").map(|name| **name), Some("cdn"));
        assert_eq!(table.default_value().map(|name| **name), Some("other"));
    }

    #[test]
    fn two_sites_with_one_host_are_refused() {
        let host = || vec![HostPattern::Exact("a.test".to_owned())];
        let values = [(host(), Arc::new(1)), (host(), Arc::new(2))];
        let refused = Table::new(values, None).unwrap_err();
        assert_eq!(refused, SiteError::SharedHost("a.test".to_owned()));
    }
}
