use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, RANGE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::cache::{Ask, Cache, Served, Story};
use crate::policy::{self, Precondition};
use crate::semantics::date;
use crate::semantics::dictionary::USE_AS_DICTIONARY;
use crate::semantics::digest::{CONTENT_DIGEST, CONTENT_MD5, REPR_DIGEST, UNENCODED_DIGEST};
use crate::semantics::range::{self, Ranges};
use crate::semantics::status_fields::{CACHE_STATUS, CacheStatus, Outcome};
use crate::site::{CacheStatusDetail, Site};
use crate::store::{Tier, Told};
use crate::variant::HINT_FIELDS;

use super::cors::{add_vary, decorate};
use super::form::Formed;
use super::multipart::Plan;
use super::ruling::Settings;
use super::{Body, Refusal};

/// How long a provisional form may be kept by clients, in seconds: they should come back for the better one.
const PROVISIONAL_SECONDS: i64 = 60;

const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
const CONTENT_DPR: HeaderName = HeaderName::from_static("content-dpr");
const NO_SCRIPTS: HeaderValue = HeaderValue::from_static("script-src 'none'");

/// Everything around one object that its answer needs.
pub(super) struct Delivery<'a> {
    pub(super) cache: &'a Cache,
    pub(super) node: &'a str,
    /// Of the site, under the rules that hold for the request and the response.
    pub(super) settings: &'a Settings,
    pub(super) site: &'a Site,
    pub(super) ask: &'a Ask,
    pub(super) method: &'a Method,
    pub(super) now: SystemTime,
}

impl Delivery<'_> {
    /// Conditionals, then the range, then the fields, then the body (RFC 9110 §13.2.2).
    pub(super) fn response(&self, formed: Formed) -> Result<Response<Body>, Refusal> {
        let headers = self.fields(&formed);
        let served = formed.served;
        let status = served.object.status;
        if served.handed_on {
            return Ok(self.whole(status, headers, served));
        }
        match self.precondition(&served) {
            Precondition::Proceed => {}
            Precondition::NotModified => return Ok(not_modified(headers)),
            Precondition::Failed => return Err(Refusal::Precondition),
        }
        let Some(length) = served.length else {
            return Ok(self.whole(status, headers, served));
        };
        match self.range(status, &served, length) {
            Ranges::Parts(parts) if parts.len() == 1 => {
                let part = parts.into_iter().next().unwrap_or(0..length);
                Ok(self.part(headers, served, part, length))
            }
            Ranges::Parts(parts) => {
                let plan = Plan::new(parts, length, headers.get(CONTENT_TYPE));
                // The whole is always a right answer (RFC 9110 §14.2).
                match plan {
                    Some(plan) => Ok(self.parts(headers, served, plan)),
                    None => Ok(self.whole(status, headers, served)),
                }
            }
            Ranges::Whole => Ok(self.whole(status, headers, served)),
            Ranges::Unsatisfiable => Ok(unsatisfiable(headers, length)),
        }
    }

    fn precondition(&self, served: &Served) -> Precondition {
        let object = &served.object;
        if !object.status.is_success() {
            return Precondition::Proceed;
        }
        let stored = object.headers();
        let modified = stored.get(LAST_MODIFIED).or_else(|| stored.get(DATE));
        // RFC 9111 §4.3.2: a Date stands in for a Last-Modified that is not there.
        policy::evaluate(self.method, &self.ask.headers, stored.get(ETAG), modified)
    }

    fn range(&self, status: StatusCode, served: &Served, length: u64) -> Ranges {
        let object = &served.object;
        if self.method != Method::GET
            || status != StatusCode::OK
            || !self.ask.headers.contains_key(RANGE)
        {
            return Ranges::Whole;
        }
        let stored = object.headers();
        // A made form may be made again under the date of its source: only its own tag tells which one it is.
        let is_made = !object.detail().is_empty();
        let applies = policy::range_applies(
            &self.ask.headers,
            stored.get(ETAG),
            stored.get(LAST_MODIFIED).filter(|_| !is_made),
            stored.get(DATE).filter(|_| !is_made),
        );
        if applies {
            range::resolve(self.ask.headers.get(RANGE), length)
        } else {
            Ranges::Whole
        }
    }

    fn whole(&self, status: StatusCode, headers: HeaderMap, served: Served) -> Response<Body> {
        let bodyless = self.method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || status == StatusCode::RESET_CONTENT;
        let body = if bodyless {
            Body::empty()
        } else if let Some(bytes) = served.whole(&self.ask.zone.store) {
            Body::whole(bytes)
        } else {
            Body::reader(served.into_reader(self.cache, &self.ask.zone.store, 0, None))
        };
        answer(status, headers, body)
    }

    fn part(
        &self,
        mut headers: HeaderMap,
        served: Served,
        part: std::ops::Range<u64>,
        length: u64,
    ) -> Response<Body> {
        headers.remove(USE_AS_DICTIONARY);
        let content_range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        if let Ok(value) = HeaderValue::try_from(content_range) {
            headers.insert(CONTENT_RANGE, value);
        }
        without_digest_of_the_whole(&mut headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
        let body = match served.whole(&self.ask.zone.store) {
            Some(bytes) => Body::whole(slice(&bytes, &part)),
            None => Body::reader(served.into_reader(
                self.cache,
                &self.ask.zone.store,
                part.start,
                Some(part.end),
            )),
        };
        answer(StatusCode::PARTIAL_CONTENT, headers, body)
    }

    /// Several parts in one answer (RFC 9110 §15.3.7.2): their places stand in the body.
    fn parts(&self, mut headers: HeaderMap, served: Served, plan: Plan) -> Response<Body> {
        without_digest_of_the_whole(&mut headers);
        headers.remove(USE_AS_DICTIONARY);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(plan.length()));
        if let Some(media_type) = plan.content_type() {
            headers.insert(CONTENT_TYPE, media_type);
        }
        let reader = served.into_reader(self.cache, &self.ask.zone.store, plan.start(), None);
        let body = Body::parts(plan.read(reader));
        answer(StatusCode::PARTIAL_CONTENT, headers, body)
    }

    /// The fields of the answer. Those that are the same for every request are made once for a stored object.
    fn fields(&self, formed: &Formed) -> HeaderMap {
        let object = &formed.served.object;
        let stamp = stamp(self.settings.number, &formed.varies);
        let keeps = !formed.provisional && !formed.served.is_growing();
        let stored = object.headers();
        let mut headers = match stored.dressed.get(stamp).filter(|_| keeps) {
            Some(headers) => headers,
            None => {
                let headers = self.dress(formed);
                if keeps {
                    stored.dressed.set(stamp, headers.clone());
                }
                headers
            }
        };
        let restarts =
            policy::restarts_age(&self.site.cache, &object.freshness(), &stored, &headers);
        if let Some(age) = headers.get_mut(AGE) {
            let seconds = match restarts {
                true => 0,
                false => object.freshness().age(self.now).as_secs(),
            };
            *age = HeaderValue::from(seconds);
        }
        if restarts {
            headers.insert(DATE, date::format(self.now));
        }
        if let Some(cors) = &self.site.cors {
            decorate(cors, &self.ask.headers, &mut headers);
        }
        if let Some(picture) = &formed.picture
            && self.settings.zone.images.client_hints
        {
            headers.insert(ACCEPT_CH, HeaderValue::from_static(HINT_FIELDS));
            if let Some(ratio) = picture.ratio.and_then(decimal) {
                headers.insert(CONTENT_DPR, ratio);
            }
        }
        self.tell(&mut headers, formed, keeps.then_some((stamp, &stored.told)));
        headers
    }

    /// The stored fields, with what this node adds, changes and removes. `Age` is there if it is to be told, and
    /// to be set for each request.
    fn dress(&self, formed: &Formed) -> HeaderMap {
        let served = &formed.served;
        let freshness = served.object.freshness();
        let mut headers = HeaderMap::clone(&served.object.headers());
        policy::client_fields(
            &self.settings.zone.policy,
            served.object.status,
            &mut headers,
        );
        if formed.provisional {
            if !is_kept_by_nobody(&headers) {
                headers.insert(CACHE_CONTROL, provisional(freshness.ttl(self.now)));
            }
            // Without a validator the client asks anew, instead of being told to keep the worse form.
            headers.remove(ETAG);
            headers.remove(LAST_MODIFIED);
        }
        for member in &formed.varies {
            add_vary(&mut headers, member);
        }
        for field in &self.settings.vary {
            add_vary(&mut headers, field.as_str());
        }
        // An answer fresh from the origin keeps the age that it came with, if any; what took long to come
        // has one of its own.
        let fresh_from_origin = served.is_growing() && !served.story.collapsed;
        let told = fresh_from_origin && headers.contains_key(AGE);
        if !fresh_from_origin || (!told && freshness.age(self.now).as_secs() > 0) {
            headers.insert(AGE, HeaderValue::from(0));
        }
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::format(self.now));
        }
        if self.settings.zone.images.svg_csp && is_svg(&headers) {
            // Beside a policy of the origin's, if there is one: both hold.
            headers.append(CONTENT_SECURITY_POLICY, NO_SCRIPTS);
        }
        if let Some(marking) = &formed.marking {
            // An origin that marks it itself knows better.
            headers
                .entry(USE_AS_DICTIONARY)
                .or_insert_with(|| marking.clone());
        }
        append_via(&mut headers, self.node);
        let length = served
            .length
            .filter(|_| served.object.status != StatusCode::NOT_MODIFIED);
        if let Some(length) = length {
            if served.object.status == StatusCode::OK && !served.handed_on {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        for rules in &self.settings.headers {
            rules.apply(&mut headers);
        }
        headers
    }

    /// `Cache-Status` (RFC 9211), as far as the site tells. What a hit of memory is told is `kept` for the hits of the same
    /// second, with what it was made by.
    fn tell(&self, headers: &mut HeaderMap, formed: &Formed, kept: Option<(u64, &Told)>) {
        let detail = self.site.diagnostics.cache_status;
        if detail == CacheStatusDetail::Off {
            return;
        }
        let served = &formed.served;
        let story = &served.story;
        let full = detail == CacheStatusDetail::Full;
        let is_plain_hit = story.forward.is_none()
            && story.tier == Some(Tier::Memory)
            && story.because.is_none()
            && story.reason.is_none()
            && formed.declined.is_none();
        let ttl = served.object.freshness().ttl(self.now);
        let kept = kept.filter(|_| is_plain_hit);
        if let Some((stamp, told)) = kept
            && let Some(value) = told.get(stamp, ttl)
        {
            headers.insert(CACHE_STATUS, value);
            return;
        }
        let forwarded = story.forward.is_some();
        let words = details(story, served.object.detail(), formed.declined);
        let field = CacheStatus {
            node: self.node,
            outcome: story.forward.map_or(Outcome::Hit, Outcome::Forward),
            forward_status: story.forward_status.filter(|_| full && forwarded),
            stored: full && forwarded && story.stored,
            collapsed: (full && forwarded && story.collapsed).then_some(true),
            ttl: full
                .then_some(ttl)
                .filter(|_| !forwarded || story.stored || story.tier.is_some()),
            detail: Some(&*words).filter(|words| full && !words.is_empty()),
        };
        field.append_to(headers);
        if let Some((stamp, told)) = kept
            && let Some(value) = headers.get(CACHE_STATUS)
        {
            told.set(stamp, ttl, value.clone());
        }
    }
}

/// What is stored speaks of all of the content, which a part of it is not (RFC 9530 §2). `Repr-Digest` is of the whole anyway.
fn without_digest_of_the_whole(headers: &mut HeaderMap) {
    headers.remove(CONTENT_DIGEST);
    headers.remove(CONTENT_MD5);
}

/// The words of `detail`: the tier, what was made, and why something was not.
fn details(story: &Story, made: &str, declined: Option<&str>) -> String {
    let tier = story.tier.map(Tier::as_str);
    let words = [
        tier,
        story.because,
        story.reason,
        Some(made).filter(|made| !made.is_empty()),
        declined,
    ];
    let mut text = String::with_capacity(64);
    for word in words.into_iter().flatten() {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(word);
    }
    text
}

/// What the fields of an answer are made by: the settings, and what they say that the answer varies by.
fn stamp(settings: u64, varies: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (settings, varies).hash(&mut hasher);
    hasher.finish()
}

/// Whether what the origin says keeps everybody from keeping the answer unasked.
fn is_kept_by_nobody(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CACHE_CONTROL).iter();
    let mut members = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    members.any(|member| {
        let member = member.trim_ascii();
        member.eq_ignore_ascii_case(b"no-store") || member.eq_ignore_ascii_case(b"no-cache")
    })
}

/// As long as the object itself is fresh, and no longer than a minute.
fn provisional(ttl_seconds: i64) -> HeaderValue {
    let seconds = ttl_seconds.clamp(0, PROVISIONAL_SECONDS);
    HeaderValue::try_from(format!("public, max-age={seconds}"))
        .unwrap_or_else(|_| HeaderValue::from_static("no-cache"))
}

fn is_svg(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = media_type.and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"image/svg+xml"))
}

/// Thousandths as a number with as few decimals as it has.
fn decimal(thousandths: u32) -> Option<HeaderValue> {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    HeaderValue::try_from(text.trim_end_matches('0').trim_end_matches('.')).ok()
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// RFC 9110 §15.4.5: the fields that a cache needs, and none that speak of a body that is not there.
fn not_modified(mut headers: HeaderMap) -> Response<Body> {
    for name in [
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_RANGE,
    ] {
        headers.remove(name);
    }
    answer(StatusCode::NOT_MODIFIED, headers, Body::empty())
}

fn unsatisfiable(mut headers: HeaderMap, length: u64) -> Response<Body> {
    for name in [
        CONTENT_TYPE,
        CONTENT_ENCODING,
        ETAG,
        LAST_MODIFIED,
        REPR_DIGEST,
        UNENCODED_DIGEST,
        USE_AS_DICTIONARY,
    ] {
        headers.remove(name);
    }
    without_digest_of_the_whole(&mut headers);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
        headers.insert(CONTENT_RANGE, value);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    answer(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty())
}

fn slice(bytes: &Bytes, part: &std::ops::Range<u64>) -> Bytes {
    let at = |offset: u64| {
        usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len())
    };
    bytes.slice(at(part.start)..at(part.end))
}

fn append_via(headers: &mut HeaderMap, node: &str) {
    let own = format!("1.1 {node}");
    let joined = match headers.get(VIA) {
        Some(value) => [value.as_bytes(), b", ", own.as_bytes()].concat(),
        None => own.into_bytes(),
    };
    if let Ok(value) = HeaderValue::try_from(joined) {
        headers.insert(VIA, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_back_for_a_better_form_within_a_minute() {
        for (ttl, expect) in [
            (-5, "public, max-age=0"),
            (20, "public, max-age=20"),
            (86_400, "public, max-age=60"),
        ] {
            assert_eq!(provisional(ttl), expect);
        }
    }

    #[test]
    fn what_nobody_keeps_is_not_made_keepable() {
        let says = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
            is_kept_by_nobody(&headers)
        };
        assert!(says("public, No-Cache"));
        assert!(says("no-store"));
        assert!(!says("max-age=9, no-cachet"));
        assert!(!is_kept_by_nobody(&HeaderMap::new()));
    }

    #[test]
    fn ratios_have_the_decimals_that_they_need() {
        for (thousandths, expect) in [(2000, "2"), (1500, "1.5"), (2625, "2.625")] {
            assert_eq!(decimal(thousandths).unwrap(), expect);
        }
    }

    #[test]
    fn answers_that_vary_by_other_fields_are_dressed_anew() {
        let of = |varies: &[&str]| stamp(7, varies);
        assert_ne!(of(&["Accept", "Save-Data"]), of(&["Accept-Encoding"]));
        assert_eq!(of(&["Accept"]), of(&["Accept"]));
    }
}
