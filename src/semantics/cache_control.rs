//! `Cache-Control` (RFC 9111 §5.2, RFC 5861, RFC 8246) and its targeted forms (RFC 9213).

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::{delta_seconds, list};

/// The directives of a request or a response, over all lines of the field.
///
/// A number that is none counts as zero for `max-age` and `s-maxage` (RFC 9111 §4.2.1: invalid
/// freshness is best taken as stale), and is ignored elsewhere. Of one directive said twice the stricter
/// value counts: the smaller one, the larger one of `min-fresh`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive that is there or not"
)]
pub struct CacheControl {
    /// `max-age`.
    pub max_age: Option<Duration>,
    /// `s-maxage`.
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861).
    pub stale_if_error: Option<Duration>,
    /// `min-fresh`, in requests.
    pub min_fresh: Option<Duration>,
    /// `max-stale`, in requests.
    pub max_stale: Option<MaxStale>,
    /// `no-cache`, whole or for named fields.
    pub no_cache: Qualified,
    /// `private`, whole or for named fields.
    pub private: Qualified,
    /// `no-store`.
    pub no_store: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `only-if-cached`, in requests.
    pub only_if_cached: bool,
}

/// How stale a response the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    /// However stale.
    Any,
    /// By no more than this.
    Within(Duration),
}

/// A directive that may be limited to named fields, as in `private="Set-Cookie"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Qualified {
    /// The directive is not there.
    #[default]
    Absent,
    /// It concerns these fields only.
    Fields(Vec<HeaderName>),
    /// It concerns the whole response.
    Whole,
}

impl Qualified {
    /// Whether the whole response is concerned.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// The fields that are concerned when it is not the whole response.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Absent | Self::Whole => &[],
        }
    }

    /// Adds the names of a list. One that cannot be a field name, or none at all, makes it the whole
    /// response: what cannot be understood must not loosen anything.
    fn add(&mut self, names: &[u8]) {
        let mut found = match std::mem::take(self) {
            Self::Whole => {
                *self = Self::Whole;
                return;
            }
            Self::Fields(found) => found,
            Self::Absent => Vec::new(),
        };
        if list::split(names, b',').next().is_none() {
            *self = Self::Whole;
            return;
        }
        for name in list::split(names, b',') {
            let Ok(name) = HeaderName::from_bytes(name) else {
                *self = Self::Whole;
                return;
            };
            if !found.contains(&name) {
                found.push(name);
            }
        }
        *self = Self::Fields(found);
    }
}

impl CacheControl {
    /// Reads all `Cache-Control` lines. Unknown directives do not matter.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for member in list::members(headers, &header::CACHE_CONTROL) {
            directives.apply(member);
        }
        directives
    }

    /// Reads a targeted field (RFC 9213) such as `CDN-Cache-Control`.
    ///
    /// `None` when the field is absent, empty, no dictionary, or when a lifetime in it is not an
    /// integer: then it counts as if it were not there. Directives of a wrong type are skipped.
    #[must_use]
    pub fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).iter();
        let first = lines.next()?.as_bytes();
        let dictionary: sfv::Dictionary = if lines.next().is_none() {
            sfv::Parser::new(first).parse().ok()?
        } else {
            let lines: Vec<&[u8]> = headers
                .get_all(name)
                .iter()
                .map(|line| line.as_bytes())
                .collect();
            sfv::Parser::new(&lines.join(&b", "[..])).parse().ok()?
        };
        if dictionary.is_empty() {
            return None;
        }
        let mut directives = Self::default();
        for (key, entry) in &dictionary {
            directives.apply_typed(key.as_str(), entry)?;
        }
        Some(directives)
    }

    fn apply(&mut self, member: &[u8]) {
        let (name, argument) = match memchr::memchr(b'=', member) {
            Some(at) => {
                let (name, argument) = member.split_at(at);
                (name, Some(argument.get(1..).unwrap_or_default()))
            }
            None => (member, None),
        };
        // `max-age =3600` is no directive by the grammar. Its name is still honoured, as the sender
        // meant something by it, but its value is not, which for a lifetime means stale.
        let is_spaced = name.trim_ascii_end().len() != name.len();
        let number = || {
            argument
                .filter(|_| !is_spaced)
                .and_then(|argument| delta_seconds::parse(unquoted(argument)))
        };
        let Some(directive) = Directive::named(name.trim_ascii_end()) else {
            return;
        };
        match directive {
            Directive::MaxAge => shorten(&mut self.max_age, number().unwrap_or_default()),
            Directive::SMaxage => shorten(&mut self.s_maxage, number().unwrap_or_default()),
            Directive::StaleWhileRevalidate => {
                if let Some(window) = number() {
                    shorten(&mut self.stale_while_revalidate, window);
                }
            }
            Directive::StaleIfError => {
                if let Some(window) = number() {
                    shorten(&mut self.stale_if_error, window);
                }
            }
            Directive::MinFresh => self.min_fresh = number().max(self.min_fresh),
            Directive::MaxStale => {
                let found = match argument {
                    None => Some(MaxStale::Any),
                    Some(_) => number().map(MaxStale::Within),
                };
                self.max_stale = match (self.max_stale, found) {
                    (Some(MaxStale::Within(one)), Some(MaxStale::Within(other))) => {
                        Some(MaxStale::Within(one.min(other)))
                    }
                    (Some(MaxStale::Any) | None, Some(found)) => Some(found),
                    (known, Some(MaxStale::Any) | None) => known,
                };
            }
            Directive::NoCache => self.no_cache.add(unquoted(argument.unwrap_or_default())),
            Directive::Private => self.private.add(unquoted(argument.unwrap_or_default())),
            Directive::NoStore => self.no_store = true,
            Directive::NoTransform => self.no_transform = true,
            Directive::Public => self.public = true,
            Directive::MustRevalidate => self.must_revalidate = true,
            Directive::ProxyRevalidate => self.proxy_revalidate = true,
            Directive::MustUnderstand => self.must_understand = true,
            Directive::Immutable => self.immutable = true,
            Directive::OnlyIfCached => self.only_if_cached = true,
        }
    }

    /// `None` when the member makes the whole field void.
    fn apply_typed(&mut self, name: &str, entry: &sfv::ListEntry) -> Option<()> {
        let Some(directive) = Directive::named(name.as_bytes()) else {
            return Some(());
        };
        let value = match entry {
            sfv::ListEntry::Item(item) => Some(&item.bare_item),
            sfv::ListEntry::InnerList(_) => None,
        };
        let seconds = value
            .and_then(sfv::BareItem::as_integer)
            .map(|number| u64::try_from(i64::from(number)).unwrap_or(0))
            .map(|seconds| Duration::from_secs(seconds).min(delta_seconds::LONGEST));
        let is_set = value.and_then(sfv::BareItem::as_boolean) == Some(true);
        let names = value.and_then(sfv::BareItem::as_string);
        match directive {
            // A lifetime below zero is a valid integer and means stale.
            Directive::MaxAge => self.max_age = Some(seconds?),
            Directive::SMaxage => self.s_maxage = Some(seconds?),
            Directive::StaleWhileRevalidate => self.stale_while_revalidate = seconds,
            Directive::StaleIfError => self.stale_if_error = seconds,
            Directive::NoCache | Directive::Private => {
                let slot = if directive == Directive::NoCache {
                    &mut self.no_cache
                } else {
                    &mut self.private
                };
                match names {
                    Some(names) => slot.add(names.as_str().as_bytes()),
                    None if is_set => *slot = Qualified::Whole,
                    None => {}
                }
            }
            Directive::NoStore => self.no_store = is_set,
            Directive::NoTransform => self.no_transform = is_set,
            Directive::Public => self.public = is_set,
            Directive::MustRevalidate => self.must_revalidate = is_set,
            Directive::ProxyRevalidate => self.proxy_revalidate = is_set,
            Directive::MustUnderstand => self.must_understand = is_set,
            Directive::Immutable => self.immutable = is_set,
            // Request directives mean nothing in a response.
            Directive::MinFresh | Directive::MaxStale | Directive::OnlyIfCached => {}
        }
        Some(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    MaxAge,
    SMaxage,
    StaleWhileRevalidate,
    StaleIfError,
    MinFresh,
    MaxStale,
    NoCache,
    Private,
    NoStore,
    NoTransform,
    Public,
    MustRevalidate,
    ProxyRevalidate,
    MustUnderstand,
    Immutable,
    OnlyIfCached,
}

impl Directive {
    const NAMES: [(&'static str, Self); 16] = [
        ("max-age", Self::MaxAge),
        ("public", Self::Public),
        ("no-cache", Self::NoCache),
        ("no-store", Self::NoStore),
        ("private", Self::Private),
        ("s-maxage", Self::SMaxage),
        ("immutable", Self::Immutable),
        ("must-revalidate", Self::MustRevalidate),
        ("stale-while-revalidate", Self::StaleWhileRevalidate),
        ("stale-if-error", Self::StaleIfError),
        ("no-transform", Self::NoTransform),
        ("proxy-revalidate", Self::ProxyRevalidate),
        ("must-understand", Self::MustUnderstand),
        ("min-fresh", Self::MinFresh),
        ("max-stale", Self::MaxStale),
        ("only-if-cached", Self::OnlyIfCached),
    ];

    fn named(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|&(_, directive)| directive)
    }
}

fn shorten(slot: &mut Option<Duration>, found: Duration) {
    *slot = Some(slot.map_or(found, |old| old.min(found)));
}

/// The inside of a quoted string, or the text itself. Escapes are kept: neither a number nor a field
/// name has any.
fn unquoted(argument: &[u8]) -> &[u8] {
    argument
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(argument)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn seconds(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[track_caller]
    fn check(lines: &[&str], expect: impl FnOnce(&mut CacheControl)) {
        let mut wanted = CacheControl::default();
        expect(&mut wanted);
        let found = CacheControl::of(&headers("cache-control", lines));
        assert_eq!(found, wanted, "{lines:?}");
    }

    #[test]
    fn names_in_any_case_on_any_line() {
        check(&["MaX-aGe=3600"], |c| c.max_age = seconds(3600));
        check(&["foo, max-age=1", "bar=2, s-maxage=3"], |c| {
            c.max_age = seconds(1);
            c.s_maxage = seconds(3);
        });
        check(&["No-StOrE,max-age=5, x"], |c| {
            c.no_store = true;
            c.max_age = seconds(5);
        });
        check(
            &[
                "public, immutable, must-revalidate, proxy-revalidate, must-understand, no-transform",
            ],
            |c| {
                c.public = true;
                c.immutable = true;
                c.must_revalidate = true;
                c.proxy_revalidate = true;
                c.must_understand = true;
                c.no_transform = true;
            },
        );
        check(&[], |_| {});
    }

    #[test]
    fn lifetimes_that_are_no_numbers_mean_stale() {
        for text in [
            "max-age=-1",
            "max-age='3600'",
            "max-age=3600.0",
            "max-age=100a",
            "max-age=a100",
            "max-age= 3600",
            "max-age =3600",
            "max-age",
            "max-age=",
            "max-age=\"3600",
        ] {
            check(&[text], |c| c.max_age = seconds(0));
        }
        check(&["max-age=\"3600\""], |c| c.max_age = seconds(3600));
        check(&["max-age=003600"], |c| c.max_age = seconds(3600));
        check(&["max-age=99999999999"], |c| c.max_age = seconds(1 << 31));
        check(&["stale-if-error=x, stale-while-revalidate=-5"], |_| {});
    }

    #[test]
    fn the_smaller_of_two_counts() {
        check(&["max-age=10, max-age=5"], |c| c.max_age = seconds(5));
        check(&["max-age=5", "max-age=10"], |c| c.max_age = seconds(5));
    }

    #[test]
    fn what_is_quoted_inside_another_directive_does_not_count() {
        check(&[r#"foo="max-age=3600", max-age=1"#], |c| {
            c.max_age = seconds(1);
        });
        check(&[r#"max-age=1, foo="bar, max-age=3600, baz""#], |c| {
            c.max_age = seconds(1);
        });
        check(&[r#"foo="bar, no-store, max-age=3600""#], |_| {});
    }

    #[test]
    fn named_fields_are_kept_apart_from_the_whole() {
        let named = |names: &[&str]| {
            Qualified::Fields(names.iter().map(|name| name.parse().unwrap()).collect())
        };
        check(&[r#"private="Foo, bar""#], |c| {
            c.private = named(&["foo", "bar"]);
        });
        check(&[r#"no-cache="foo""#, "no-cache=bar"], |c| {
            c.no_cache = named(&["foo", "bar"]);
        });
        check(&[r#"private="foo", private"#], |c| {
            c.private = Qualified::Whole;
        });
        check(&[r#"private, private="foo""#], |c| {
            c.private = Qualified::Whole;
        });
        check(&[r#"no-cache="", private="a b""#], |c| {
            c.no_cache = Qualified::Whole;
            c.private = Qualified::Whole;
        });
    }

    #[test]
    fn request_directives() {
        check(&["max-stale"], |c| c.max_stale = Some(MaxStale::Any));
        check(
            &["max-stale=20, min-fresh=5, only-if-cached, no-cache"],
            |c| {
                c.max_stale = Some(MaxStale::Within(Duration::from_secs(20)));
                c.min_fresh = seconds(5);
                c.only_if_cached = true;
                c.no_cache = Qualified::Whole;
            },
        );
        check(&["max-stale=x, min-fresh=x"], |_| {});
        let stricter = |c: &mut CacheControl| {
            c.max_stale = Some(MaxStale::Within(Duration::from_secs(5)));
        };
        check(&["max-stale, max-stale=9, max-stale=5"], stricter);
        check(&["max-stale=5, max-stale=9, max-stale"], stricter);
        check(&["min-fresh=5, min-fresh=9"], |c| c.min_fresh = seconds(9));
        check(&["min-fresh=9, min-fresh=5"], |c| c.min_fresh = seconds(9));
    }

    #[track_caller]
    fn check_targeted(lines: &[&str], expect: Option<&dyn Fn(&mut CacheControl)>) {
        let wanted = expect.map(|expect| {
            let mut wanted = CacheControl::default();
            expect(&mut wanted);
            wanted
        });
        let name = HeaderName::from_static("cdn-cache-control");
        let found = CacheControl::targeted(&headers("cdn-cache-control", lines), &name);
        assert_eq!(found, wanted, "{lines:?}");
    }

    #[test]
    fn a_targeted_field_is_a_dictionary() {
        check_targeted(&["max-age=60"], Some(&|c| c.max_age = seconds(60)));
        check_targeted(
            &["max-age=60, no-store;a=b", "private, ext=(1 2), foo=?0"],
            Some(&|c| {
                c.max_age = seconds(60);
                c.no_store = true;
                c.private = Qualified::Whole;
            }),
        );
        check_targeted(
            &[r#"no-cache="foo", public=?0"#],
            Some(&|c| {
                c.no_cache = Qualified::Fields(vec![HeaderName::from_static("foo")]);
            }),
        );
        check_targeted(&["no-store=1, private=2"], Some(&|_| {}));
        check_targeted(&["max-age=-5"], Some(&|c| c.max_age = seconds(0)));
        check_targeted(
            &["max-age=999999999999999"],
            Some(&|c| c.max_age = seconds(1 << 31)),
        );
    }

    #[test]
    fn a_broken_targeted_field_is_as_if_absent() {
        check_targeted(&[], None);
        check_targeted(&[""], None);
        check_targeted(&["max-age=60,"], None);
        check_targeted(&["Max-Age=60"], None);
        check_targeted(&["max-age=\"60\""], None);
        check_targeted(&["max-age=60.0"], None);
        check_targeted(&["max-age=a"], None);
        check_targeted(&["max-age"], None);
        check_targeted(&["no-store, max-age=(60)"], None);
        check_targeted(&["max-age=60, ="], None);
    }

    proptest! {
        #[test]
        fn any_field_value_is_survived(value in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert("cache-control", value);
                let found = CacheControl::of(&headers);
                prop_assert!(found.max_age <= Some(delta_seconds::LONGEST));
                let typed = CacheControl::targeted(&headers, &header::CACHE_CONTROL);
                prop_assert!(typed.is_none_or(|typed| typed.max_age <= Some(delta_seconds::LONGEST)));
            }
        }

        #[test]
        fn more_directives_never_lengthen_a_lifetime(first in "[a-z0-9=\",-]{0,20}", age in 0u64..1000) {
            let alone = CacheControl::of(&headers("cache-control", &[&format!("max-age={age}")]));
            let both = CacheControl::of(&headers("cache-control", &[&first, &format!("max-age={age}")]));
            prop_assert!(both.max_age <= alone.max_age);
        }
    }
}
