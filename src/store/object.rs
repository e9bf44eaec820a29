use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwapOption, ArcSwapWeak};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::packed::{fields, put_bytes, put_fields, put_number, take_bytes, take_number};
use crate::policy::Freshness;

/// A stored response: its fields, and its body or where the body is. It never changes; a change is another
/// one, made by way of a [`Draft`].
///
/// A node holds millions of them, so what is not compared on every hit is packed: see [`Object::headers`].
pub struct Object {
    /// The keyed hash that exact purges name.
    pub url: u128,
    /// Random, and never given to other bytes: the chunks are kept under it.
    pub version: u128,
    /// The body.
    pub body: Body,
    /// The purge sequence when the fetch of its bytes started.
    pub body_seq: u64,
    /// The purge sequence when its last successful validation started.
    pub checked_seq: u64,
    /// The purge epoch of its site at which it was last found to be valid; 0 is never. Not kept on disk.
    pub cleared_epoch: AtomicU64,
    /// Names this very object among all of the process.
    serial: u64,
    /// Whether a disk takes it once it has been asked for more often. Not kept on disk.
    pub awaits_uses: AtomicBool,
    /// How often it was asked for, as far as that is counted. Not kept on disk.
    pub uses: AtomicU8,
    /// A note of those who make other forms of it, 0 at first. Not kept on disk.
    pub forms: AtomicU8,
    /// The form of it that is asked for most often, as long as it is in use. Not kept on disk.
    usual_form: ArcSwapWeak<Self>,
    /// How much more often than others, as far as that is counted.
    usual_lead: AtomicU8,
    /// How often it was.
    usual_hits: AtomicU8,
    fetch_started_nanos: u64,
    freshness: PackedFreshness,
    /// Key, site, path, detail, tags and fields, one after the other.
    text: Box<[u8]>,
    /// The status of the response.
    pub status: StatusCode,
    flags: u8,
}

/// The usual form of an object is looked up each so many times, so that the tiers learn that it is in use, and what has
/// taken its place is found.
const LOOKED_UP_EACH: u8 = 8;
/// The first times it is looked up like any other: what is asked for twice is to stay in memory.
const LOOKED_UP_FIRST: u8 = 4;
/// The count goes on from here when it is full.
const HITS_AGAIN: u8 = 128;

impl Object {
    /// The form of that name, if it is the usual one and in use; sometimes `None` nevertheless, and then it should be looked
    /// up.
    #[must_use]
    pub fn usual_form(&self, name: &str) -> Option<Arc<Self>> {
        let made = self.usual_form.load().upgrade()?;
        if !made.is_form(name) {
            return None;
        }
        let lead = self.usual_lead.load(Ordering::Relaxed);
        self.usual_lead
            .store(lead.saturating_add(1), Ordering::Relaxed);
        let hits = self.usual_hits.load(Ordering::Relaxed);
        let next = hits.checked_add(1).unwrap_or(HITS_AGAIN);
        self.usual_hits.store(next, Ordering::Relaxed);
        (hits >= LOOKED_UP_FIRST && !hits.is_multiple_of(LOOKED_UP_EACH)).then_some(made)
    }

    /// Notes a form that was looked up. It becomes the usual one if that is out of use, or is asked for less often. It is not
    /// kept alive.
    pub fn note_form(&self, name: &str, made: &Arc<Self>) {
        let takes_over = match self.usual_form.load().upgrade() {
            Some(usual) if Arc::ptr_eq(&usual, made) => false,
            Some(usual) if !usual.is_form(name) => {
                let lead = self.usual_lead.load(Ordering::Relaxed).saturating_sub(1);
                self.usual_lead.store(lead, Ordering::Relaxed);
                lead == 0
            }
            Some(_) | None => true,
        };
        if takes_over {
            self.usual_form.store(Arc::downgrade(made));
            self.usual_lead.store(1, Ordering::Relaxed);
            self.usual_hits.store(1, Ordering::Relaxed);
        }
    }

    /// There is none until one is noted.
    pub fn forget_form(&self) {
        self.usual_form.store(Weak::new());
    }
}

/// What an [`Object`] is made from.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The whole key as text, compared on every hit.
    pub key: Box<str>,
    /// The site that it belongs to.
    pub site: Box<str>,
    /// The keyed hash that exact purges name.
    pub url: u128,
    /// The path without the query, for prefix purges.
    pub path: Box<str>,
    /// Random, and never given to other bytes: the chunks are kept under it.
    pub version: u128,
    /// The status of the response.
    pub status: StatusCode,
    /// The fields of the response.
    pub headers: HeaderMap,
    /// How long it may be used.
    pub freshness: Freshness,
    /// The body.
    pub body: Body,
    /// Keyed hashes of its tags.
    pub tags: Vec<u128>,
    /// The purge sequence when the fetch of its bytes started.
    pub body_seq: u64,
    /// The purge sequence when its last successful validation started.
    pub checked_seq: u64,
    /// Uptime at which its fetch, or its last validation, began: a later one of the same process is newer. Not kept
    /// on disk, where it is zero.
    pub fetch_started: Duration,
    /// Short free text, such as how a variant was made.
    pub detail: Box<str>,
}

/// The body of an [`Object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Kept with the head.
    Inline(Bytes),
    /// Kept as chunks of [`CHUNK_BYTES`](super::CHUNK_BYTES) under the object's version.
    Chunked {
        /// Bytes of all chunks together.
        length: u64,
    },
}

impl Body {
    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunked { length } => *length,
        }
    }
}

impl Draft {
    /// The object, packed.
    #[must_use]
    pub fn seal(self) -> Object {
        static SERIALS: AtomicU64 = AtomicU64::new(1);
        let freshness = &self.freshness;
        let flags = (u8::from(freshness.always_validate) * ALWAYS_VALIDATE)
            | (u8::from(freshness.must_revalidate) * MUST_REVALIDATE);
        Object {
            url: self.url,
            version: self.version,
            body_seq: self.body_seq,
            checked_seq: self.checked_seq,
            cleared_epoch: AtomicU64::new(0),
            awaits_uses: AtomicBool::new(false),
            uses: AtomicU8::new(0),
            forms: AtomicU8::new(0),
            usual_form: ArcSwapWeak::default(),
            usual_lead: AtomicU8::new(0),
            usual_hits: AtomicU8::new(0),
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            fetch_started_nanos: nanos(self.fetch_started),
            freshness: PackedFreshness::new(freshness),
            text: self.text(),
            status: self.status,
            flags,
            body: self.body,
        }
    }

    fn text(&self) -> Box<[u8]> {
        let mut text = Vec::with_capacity(512);
        put_bytes(&mut text, self.key.as_bytes());
        put_bytes(&mut text, self.site.as_bytes());
        // Most often the path stands in the key.
        match self.key.find(&*self.path) {
            Some(start) => {
                put_number(&mut text, start as u64 + 1);
                put_number(&mut text, self.path.len() as u64);
            }
            None => {
                put_number(&mut text, PATH_APART);
                put_bytes(&mut text, self.path.as_bytes());
            }
        }
        put_bytes(&mut text, self.detail.as_bytes());
        put_number(&mut text, self.tags.len() as u64);
        for tag in &self.tags {
            text.extend_from_slice(&tag.to_le_bytes());
        }
        put_fields(&mut text, &self.headers);
        text.into()
    }
}

/// What stands before the name of a form in its key.
const FORM_MARK: u8 = 0x1f;

/// In place of where the path begins in the key.
const PATH_APART: u64 = 0;

/// The parts of an object's text.
struct Parts<'a> {
    key: &'a str,
    site: &'a str,
    path: &'a str,
    detail: &'a str,
    /// 16 bytes each.
    tags: &'a [u8],
    fields: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let rest = &mut { text };
        let key = take_text(rest)?;
        let site = take_text(rest)?;
        let path = match take_number(rest)? {
            PATH_APART => take_text(rest)?,
            start => {
                let start = usize::try_from(start - 1).ok()?;
                let length = usize::try_from(take_number(rest)?).ok()?;
                key.get(start..start + length)?
            }
        };
        let detail = take_text(rest)?;
        let tags = usize::try_from(take_number(rest)?).ok()?;
        let (tags, fields) = rest.split_at_checked(tags * size_of::<u128>())?;
        Some(Self {
            key,
            site,
            path,
            detail,
            tags,
            fields,
        })
    }

    /// Nothing of anything: what stands in the place of a text that was not made here, which cannot be.
    const NONE: Self = Self {
        key: "",
        site: "",
        path: "",
        detail: "",
        tags: &[],
        fields: &[],
    };
}

fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(from)?).ok()
}

impl Object {
    fn parts(&self) -> Parts<'_> {
        Parts::of(&self.text).unwrap_or(Parts::NONE)
    }

    /// The whole key as text, compared on every hit.
    #[must_use]
    pub fn key(&self) -> &str {
        self.parts().key
    }

    /// Whether this is the object of the key; cheaper than a comparison with [`Object::key`].
    #[must_use]
    pub fn is_of(&self, key: &str) -> bool {
        self.key_bytes() == Some(key.as_bytes())
    }

    /// Whether this is the form with that name of some object.
    fn is_form(&self, form: &str) -> bool {
        let rest = self
            .key_bytes()
            .and_then(|key| key.strip_suffix(form.as_bytes()));
        rest.and_then(<[u8]>::last) == Some(&FORM_MARK)
    }

    /// The bytes of [`Object::key`], without a look at the rest.
    #[must_use]
    pub fn key_bytes(&self) -> Option<&[u8]> {
        take_bytes(&mut &*self.text)
    }

    /// The site that it belongs to.
    #[must_use]
    pub fn site(&self) -> &str {
        self.parts().site
    }

    /// The path without the query, for prefix purges.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().path
    }

    /// Short free text, such as how a variant was made.
    #[must_use]
    pub fn detail(&self) -> &str {
        // On the way of each hit: what comes before it is stepped over.
        let rest = &mut &*self.text;
        let detail = take_bytes(rest)
            .and_then(|_key| take_bytes(rest))
            .and_then(|_site| match take_number(rest)? {
                PATH_APART => take_bytes(rest).map(drop),
                _start => take_number(rest).map(drop),
            })
            .and_then(|()| take_text(rest));
        detail.unwrap_or_default()
    }

    /// Keyed hashes of its tags.
    #[must_use]
    pub fn tags(&self) -> SmallVec<[u128; 4]> {
        let (tags, _) = self.parts().tags.as_chunks();
        tags.iter().map(|tag| u128::from_le_bytes(*tag)).collect()
    }

    /// Whether both may be used for equally long; cheaper than a comparison of [`Object::freshness`].
    #[must_use]
    pub fn is_as_fresh_as(&self, other: &Self) -> bool {
        self.freshness == other.freshness && self.flags == other.flags
    }

    /// How long it may be used.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness.open(self.flags)
    }

    /// Uptime at which its fetch, or its last validation, began: a later one of the same process is newer. Not
    /// kept on disk, where it is zero.
    #[must_use]
    pub fn fetch_started(&self) -> Duration {
        Duration::from_nanos(self.fetch_started_nanos)
    }

    /// The fields of the response. Each thread remembers those that it unpacked last.
    #[must_use]
    pub fn headers(&self) -> Arc<Headers> {
        UNPACKED
            .try_with(|unpacked| unpacked.try_borrow_mut().ok()?.find(self))
            .ok()
            .flatten()
            .unwrap_or_else(|| self.unpack())
    }

    fn unpack(&self) -> Arc<Headers> {
        Arc::new(Headers {
            fields: fields(self.parts().fields).unwrap_or_default(),
            dressed: Dressed::default(),
            told: Told::default(),
        })
    }

    /// The same, open to changes.
    #[must_use]
    pub fn draft(&self) -> Draft {
        let parts = self.parts();
        Draft {
            key: parts.key.into(),
            site: parts.site.into(),
            url: self.url,
            path: parts.path.into(),
            version: self.version,
            status: self.status,
            headers: self.headers().fields.clone(),
            freshness: self.freshness(),
            body: self.body.clone(),
            tags: self.tags().into_vec(),
            body_seq: self.body_seq,
            checked_seq: self.checked_seq,
            fetch_started: self.fetch_started(),
            detail: parts.detail.into(),
        }
    }

    /// Bytes that it takes in memory, its body and what the allocator rounds up included.
    pub(super) fn memory_bytes(&self) -> usize {
        let body = match &self.body {
            // The count of those who share it is an allocation of its own.
            Body::Inline(bytes) if !bytes.is_empty() => allocated(bytes.len()) + allocated(24),
            Body::Inline(_) | Body::Chunked { .. } => 0,
        };
        let counts = 2 * size_of::<usize>();
        allocated(size_of::<Self>() + counts) + allocated(self.text.len()) + body
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draft().fmt(f)
    }
}

/// What an allocation of so many bytes takes: allocators have four sizes for each power of two.
pub(super) fn allocated(bytes: usize) -> usize {
    let step = bytes.next_power_of_two() / 8;
    bytes.next_multiple_of(step.max(16))
}

const ALWAYS_VALIDATE: u8 = 1;
const MUST_REVALIDATE: u8 = 2;

/// [`Freshness`] in 40 bytes: nanoseconds, good for 292 years before and after 1970 and durations of 584 years.
/// What is longer is for ever.
#[derive(PartialEq, Eq)]
struct PackedFreshness {
    received_at: i64,
    initial_age: u64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
}

impl PackedFreshness {
    fn new(freshness: &Freshness) -> Self {
        let signed = |distance: Duration| i64::try_from(nanos(distance)).unwrap_or(i64::MAX);
        Self {
            received_at: match freshness.received_at.duration_since(SystemTime::UNIX_EPOCH) {
                Ok(since) => signed(since),
                Err(before) => -signed(before.duration()),
            },
            initial_age: nanos(freshness.initial_age),
            lifetime: nanos(freshness.lifetime),
            stale_while_revalidate: nanos(freshness.stale_while_revalidate),
            stale_if_error: nanos(freshness.stale_if_error),
        }
    }

    fn open(&self, flags: u8) -> Freshness {
        let distance = Duration::from_nanos(self.received_at.unsigned_abs());
        let received_at = if self.received_at < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        Freshness {
            received_at: received_at.unwrap_or(SystemTime::UNIX_EPOCH),
            initial_age: duration(self.initial_age),
            lifetime: duration(self.lifetime),
            stale_while_revalidate: duration(self.stale_while_revalidate),
            stale_if_error: duration(self.stale_if_error),
            always_validate: flags & ALWAYS_VALIDATE != 0,
            must_revalidate: flags & MUST_REVALIDATE != 0,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn duration(nanos: u64) -> Duration {
    match nanos {
        u64::MAX => Duration::MAX,
        nanos => Duration::from_nanos(nanos),
    }
}

/// The fields of an object, unpacked.
#[derive(Debug, Default)]
pub struct Headers {
    fields: HeaderMap,
    /// The same as they last went out.
    pub dressed: Dressed,
    /// What was told of the last hit.
    pub told: Told,
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.fields
    }
}

/// The fields of an object as whoever serves it last made them, with a stamp of what they were made by.
/// Making them once and copying them is cheaper than making them for every request.
#[derive(Debug, Default)]
pub struct Dressed(ArcSwapOption<(u64, HeaderMap)>);

impl Dressed {
    /// A copy of the fields, if they were made by what `stamp` stands for.
    #[must_use]
    pub fn get(&self, stamp: u64) -> Option<HeaderMap> {
        let kept = self.0.load();
        let (made_by, headers) = &**kept.as_ref()?;
        (*made_by == stamp).then(|| headers.clone())
    }

    /// Keeps the fields.
    pub fn set(&self, stamp: u64, headers: HeaderMap) {
        self.0.store(Some(Arc::new((stamp, headers))));
    }
}

/// The `Cache-Status` of the last hit, which is the same for a second.
#[derive(Debug, Default)]
pub struct Told(ArcSwapOption<((u64, i64), HeaderValue)>);

impl Told {
    /// The field, if it was made by what `stamp` stands for and told the same time.
    #[must_use]
    pub fn get(&self, stamp: u64, ttl: i64) -> Option<HeaderValue> {
        let kept = self.0.load();
        let (made_by, value) = &**kept.as_ref()?;
        (*made_by == (stamp, ttl)).then(|| value.clone())
    }

    /// Keeps the field.
    pub fn set(&self, stamp: u64, ttl: i64, value: HeaderValue) {
        self.0.store(Some(Arc::new(((stamp, ttl), value))));
    }
}

thread_local! {
    static UNPACKED: RefCell<Unpacked> = RefCell::default();
}

/// Fields that a thread remembers: the last of each place.
const PLACES: usize = 1024;
/// A longer text is not remembered: 1024 of these, twice unpacked, are some 16 MiB at the very most, and 3 MiB
/// as a rule.
const REMEMBERED_BYTES_MAX: usize = 2048;

#[derive(Default)]
struct Unpacked {
    places: Vec<Option<(u64, Arc<Headers>)>>,
}

impl Unpacked {
    fn find(&mut self, object: &Object) -> Option<Arc<Headers>> {
        if object.text.len() > REMEMBERED_BYTES_MAX {
            return None;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let number = usize::try_from(object.serial).unwrap_or_default() % PLACES;
        let place = self.places.get_mut(number)?;
        if let Some((serial, headers)) = place
            && *serial == object.serial
        {
            return Some(Arc::clone(headers));
        }
        let headers = object.unpack();
        *place = Some((object.serial, Arc::clone(&headers)));
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::plain_draft;
    use super::*;

    #[test]
    fn an_object_opens_as_it_was_sealed() {
        let mut draft = plain_draft("demo / /x?a", Body::Inline(Bytes::from_static(b"body")));
        for path in ["/x", "/elsewhere", ""] {
            draft.path = path.into();
            let object = draft.clone().seal();
            assert_eq!(format!("{:?}", object.draft()), format!("{draft:?}"));
            assert_eq!((object.path(), object.site()), (path, "demo"));
            assert!(
                object.is_of("demo / /x?a") && !object.is_of("demo / /x?") && !object.is_of("")
            );
        }
    }

    fn form(name: &str) -> Arc<Object> {
        let key = format!("k\u{1f}0123\u{1f}{name}");
        Arc::new(plain_draft(&key, Body::Inline(Bytes::new())).seal())
    }

    #[test]
    fn the_usual_form_is_found_most_times_while_it_is_in_use() {
        let source = plain_draft("k", Body::Inline(Bytes::new())).seal();
        let hit = |made: &Arc<Object>, name: &str| {
            let found = source.usual_form(name);
            match &found {
                Some(found) => assert!(Arc::ptr_eq(found, made)),
                None => source.note_form(name, made),
            }
            found.is_some()
        };
        let br = form("coding=br");
        let found: Vec<_> = (0..20).map(|_| hit(&br, "coding=br")).collect();
        let looked_up: Vec<_> = (0..20).filter(|n| !found[*n]).collect();
        assert_eq!(looked_up, [0, 1, 2, 3, 8, 16]);
        assert!(
            source.usual_form("br").is_none(),
            "a name is the whole name"
        );
        // One that is asked for again in its place.
        let better = form("coding=br");
        source.note_form("coding=br", &better);
        assert!((0..20).any(|_| hit(&better, "coding=br")));
        drop(better);
        assert!(
            source.usual_form("coding=br").is_none(),
            "it keeps nothing alive"
        );
        assert_eq!((0..1000).filter(|_| hit(&br, "coding=br")).count(), 872);
        source.forget_form();
        assert!(!hit(&br, "coding=br"));
    }

    #[test]
    fn the_form_that_is_asked_for_more_often_takes_over() {
        let source = plain_draft("k", Body::Inline(Bytes::new())).seal();
        let (br, gzip) = (form("coding=br"), form("coding=gzip"));
        let hit = |made: &Arc<Object>, name: &str| {
            let found = source.usual_form(name);
            if found.is_none() {
                source.note_form(name, made);
            }
            found.is_some()
        };
        // A crawler comes first, then everybody.
        hit(&gzip, "coding=gzip");
        let found = (0..100).filter(|_| hit(&br, "coding=br")).count();
        assert!(found > 80, "{found}");
        let kept = (0..10).filter(|_| hit(&gzip, "coding=gzip") || !hit(&br, "coding=br"));
        assert!(kept.count() < 5, "now and then another does not");
    }

    #[test]
    fn times_of_all_sizes_stay() {
        let mut draft = plain_draft("k", Body::Chunked { length: 1 });
        for lifetime in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(365 * 86_400 * 68),
            Duration::MAX,
        ] {
            draft.freshness.lifetime = lifetime;
            for received_at in [
                SystemTime::UNIX_EPOCH,
                SystemTime::UNIX_EPOCH - Duration::from_millis(1),
                SystemTime::UNIX_EPOCH + Duration::new(4_000_000_000, 1),
            ] {
                draft.freshness.received_at = received_at;
                assert_eq!(draft.clone().seal().freshness(), draft.freshness);
            }
        }
    }

    #[test]
    fn each_object_has_its_own_fields() {
        let with = |value: &'static str| {
            let mut draft = plain_draft("k", Body::Chunked { length: 1 });
            draft
                .headers
                .insert("x-which", HeaderValue::from_static(value));
            draft.seal()
        };
        // More than a thread remembers.
        let objects: Vec<_> = (0..PLACES)
            .flat_map(|_| [with("one"), with("two")])
            .collect();
        for _ in 0..2 {
            for pair in objects.chunks(2) {
                let [one, two] = pair else { unreachable!() };
                assert_eq!(one.headers().get("x-which").unwrap(), "one");
                assert_eq!(two.headers().get("x-which").unwrap(), "two");
            }
        }
        let again = objects.last().unwrap();
        assert!(Arc::ptr_eq(&again.headers(), &again.headers()));
    }

    #[test]
    fn an_object_is_small() {
        assert!(size_of::<Object>() <= 176, "{}", size_of::<Object>());
        let mut draft = plain_draft(
            "assets https static.example.com /img/hero/large-0123456789.jpg",
            Body::Inline(vec![0; 1024].into()),
        );
        draft.tags.clear();
        let bytes = draft.seal().memory_bytes();
        assert!(bytes <= 1400, "{bytes}");
    }
}
