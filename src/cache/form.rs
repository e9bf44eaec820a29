use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::semantics::digest::{
    CONTENT_DIGEST, CONTENT_MD5, Digester, REPR_DIGEST, UNENCODED_DIGEST, is_digested,
};
use crate::semantics::etag;
use crate::store::{Body, Draft, Newcomer, Object, Store};
use crate::variant::{Coding, Recipe};

use super::dictionary::DeltaForm;
use super::install::{Keeping, new_version};
use super::served::From;
use super::{Ask, Cache, Served};

/// What the tag of decoded content ends in.
pub(super) const IDENTITY: &str = "identity";

/// Fields that speak of the very bytes of a representation.
const OF_THE_BYTES: [HeaderName; 5] = [
    CONTENT_LENGTH,
    ACCEPT_RANGES,
    CONTENT_DIGEST,
    REPR_DIGEST,
    CONTENT_MD5,
];

/// Another form of a stored object.
#[derive(Clone)]
pub enum Form {
    /// A content coding, at this level if it is not there yet: levels are no part of the key, a better one takes the place
    /// of the first.
    Coded(Coding, u32),
    /// The content of an object that the origin has coded so.
    Plain(Coding),
    /// A coding against a dictionary that the client has.
    Delta(DeltaForm),
    /// A picture.
    Picture(Recipe),
}

/// How the key of a picture begins.
const PICTURE: &str = "picture;";

impl Form {
    /// Canonical text: equal forms of one version are one variant.
    pub(super) fn key(&self) -> Cow<'static, str> {
        match self {
            Self::Coded(Coding::Zstd, _) => "coding=zstd".into(),
            Self::Coded(Coding::Brotli, _) => "coding=br".into(),
            Self::Coded(Coding::Gzip, _) => "coding=gzip".into(),
            Self::Plain(coding) => format!("plain;from={}", coding.token()).into(),
            Self::Delta(delta) => delta.key().into(),
            Self::Picture(recipe) => format!("{PICTURE}{}", recipe.key()).into(),
        }
    }
}

/// What is added to the version of a source for each of its forms. Those of codings are there, for each hit needs one.
pub(super) struct FormIds {
    codings: [(&'static str, u128); 3],
}

impl FormIds {
    pub(super) fn new(store: &Store) -> Self {
        let of = |key| (key, hashed(store, key));
        Self {
            codings: [of("coding=zstd"), of("coding=br"), of("coding=gzip")],
        }
    }

    pub(super) fn of(&self, store: &Store, key: &str) -> u128 {
        let known = self.codings.iter().find(|(known, _)| *known == key);
        known.map_or_else(|| hashed(store, key), |(_, id)| *id)
    }
}

fn hashed(store: &Store, key: &str) -> u128 {
    store.hash(&[b"form", key.as_bytes()])
}

pub(super) fn variant_key(source: &Object, form: &str) -> String {
    format!("{}\u{1f}{:032x}\u{1f}{form}", source.key(), source.version)
}

/// Whether what lies at the place of a form has the [`variant_key`], which is not written for it: this is on the way of
/// each hit. The digits of the version are not compared: the same form of another version lies at another place (see
/// `Cache::form_id`).
pub(super) fn is_variant(made: &Object, source: &Object, form: &str) -> bool {
    let (Some(own), Some(key)) = (made.key_bytes(), source.key_bytes()) else {
        return false;
    };
    let rest = own
        .strip_prefix(key)
        .and_then(|own| own.strip_prefix(b"\x1f"))
        .and_then(|own| own.get(VERSION_DIGITS..));
    rest.and_then(|rest| rest.strip_prefix(b"\x1f")) == Some(form.as_bytes())
}

const VERSION_DIGITS: usize = 32;

impl Served {
    /// The same, but whoever finds a hole in its body leaves its head alone.
    pub(super) fn without_head(self) -> Self {
        Self { head: None, ..self }
    }

    /// A second way to read the same bytes, for whoever makes another form of them.
    pub(super) fn again(&self) -> Option<Self> {
        let from = match &self.from {
            From::Tiers => From::Tiers,
            From::Flight(seat) => From::Flight(seat.flight().board(usize::MAX)?),
        };
        Some(Self {
            object: Arc::clone(&self.object),
            length: self.length,
            story: self.story,
            handed_on: false,
            from,
            source: self.source.clone(),
            head: self.head,
            missing: None,
            first: None,
        })
    }
}

/// Takes a made form in, whose head is kept under `id`.
pub(super) fn keeping_of(
    cache: &Arc<Cache>,
    ask: &Ask,
    id: u128,
    object: &Arc<Object>,
    bytes: Option<u64>,
    max_bytes: u64,
) -> Keeping {
    let store = &ask.zone.store;
    store.count_use(id);
    let admission = store.admit(&Newcomer {
        id,
        version: object.version,
        bytes,
        whole: true,
    });
    Keeping::of_derived(
        Arc::clone(cache),
        store,
        Arc::clone(object),
        max_bytes,
        admission,
    )
}

/// Whether a made form has the fields and the age of its source as they are now: a source that is validated, or fetched
/// again with the same bytes, keeps its version.
pub(super) fn is_current(made: &Object, source: &Object) -> bool {
    made.checked_seq == source.checked_seq && made.is_as_fresh_as(source)
}

/// A made form with the fields and the age that its source has now. Its bytes, and what is said of them, stay.
pub(super) fn renewed(made: &Object, source: &Object) -> Object {
    let mut draft = source.draft();
    let headers = &mut draft.headers;
    for name in OF_THE_BYTES {
        headers.remove(name);
    }
    let made_headers = made.headers();
    let own = made_headers.get(CONTENT_ENCODING);
    let label = match (own, made_headers.get(CONTENT_TYPE)) {
        (Some(coding), _) => coding.to_str().unwrap_or_default(),
        (None, _) if headers.contains_key(CONTENT_ENCODING) => IDENTITY,
        (None, media_type) => media_type
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("image/"))
            .unwrap_or_default(),
    };
    headers.remove(CONTENT_ENCODING);
    if is_picture(made) {
        headers.remove(UNENCODED_DIGEST);
    }
    for name in [CONTENT_ENCODING, CONTENT_TYPE, REPR_DIGEST] {
        if let Some(value) = made_headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    retag(headers, label, made.version);
    draft.key = made.key().into();
    draft.version = made.version;
    draft.detail = made.detail().into();
    draft.body = made.body.clone();
    draft.seal()
}

/// Whether a made form has other content than its source.
fn is_picture(made: &Object) -> bool {
    let form = made.key().rsplit('\u{1f}').next();
    form.is_some_and(|form| form.starts_with(PICTURE))
}

/// The head of a made representation: the source's fields without what spoke of its very bytes.
pub(super) fn made_object(source: &Object, key: &str, label: &str) -> Draft {
    let version = new_version();
    let mut draft = source.draft();
    for name in OF_THE_BYTES {
        draft.headers.remove(name);
    }
    retag(&mut draft.headers, label, version);
    draft.key = variant_key(source, key).into();
    draft.version = version;
    draft.body = Body::Chunked { length: 0 };
    draft
}

/// The head of a better one that takes the place of `present`, with the fields and the age that this one has now.
pub(super) fn better_object(present: &Object, label: &str) -> Draft {
    let version = new_version();
    let mut draft = present.draft();
    if let Some(source) = draft.headers.get(ETAG).and_then(etag::source) {
        draft.headers.insert(ETAG, source);
    }
    draft.headers.remove(REPR_DIGEST);
    retag(&mut draft.headers, label, version);
    draft.version = version;
    draft.body = Body::Chunked { length: 0 };
    draft
}

/// Whether what is coded of `source` tells the digest of its own bytes: where the source tells its own.
pub(super) fn tells_digest(source: &Object) -> bool {
    is_digested(&source.headers(), &REPR_DIGEST)
}

/// Has the head of a coded form of `source` tell the digest of these bytes, if it tells one at all. It is computed away from
/// the runtime's threads.
pub(super) async fn tell_digest(draft: &mut Draft, source: &Object, bytes: &Bytes) {
    if !tells_digest(source) {
        return;
    }
    let bytes = bytes.clone();
    let digest = tokio::task::spawn_blocking(move || Digester::of(&bytes));
    if let Ok(Some(digest)) = digest.await {
        draft.headers.insert(REPR_DIGEST, digest);
    }
}

/// The head of a coded form; `token` is the name of its coding.
pub(super) fn coded_object(source: &Object, key: &str, token: &'static str) -> Draft {
    let mut draft = made_object(source, key, token);
    if let Ok(token) = HeaderValue::try_from(token) {
        draft.headers.insert(CONTENT_ENCODING, token);
    }
    draft
}

/// `"abc"` becomes `"abc;br.0123456789ab"`: made bytes are not stable, so the tag ends in their own version.
fn retag(headers: &mut HeaderMap, label: &str, version: u128) {
    let Some(tag) = headers.get(ETAG) else { return };
    match etag::made(tag, label, version) {
        Some(made) => headers.insert(ETAG, made),
        None => headers.remove(ETAG),
    };
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::StatusCode;

    use crate::policy::Freshness;

    use super::*;

    fn object(key: String, version: u128) -> Object {
        let freshness = Freshness {
            received_at: SystemTime::UNIX_EPOCH,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            always_validate: false,
            must_revalidate: false,
        };
        let draft = Draft {
            key: key.into(),
            site: "site".into(),
            url: 1,
            path: "/a".into(),
            version,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            freshness,
            body: Body::Inline(Bytes::new()),
            tags: Vec::new(),
            body_seq: 0,
            checked_seq: 0,
            fetch_started: Duration::ZERO,
            detail: "".into(),
        };
        draft.seal()
    }

    #[test]
    fn a_variant_is_what_has_the_written_key_and_nothing_else() {
        let source = object("site\u{1f}/a.js".to_owned(), 0x7f00_1234 << 80);
        let of = |source: &Object, form: &str| object(variant_key(source, form), 5);
        assert!(is_variant(&of(&source, "coding=br"), &source, "coding=br"));
        assert!(is_variant(&of(&source, ""), &source, ""));
        for made in [
            of(&source, "coding=gzip"),
            of(&source, "coding=brx"),
            of(&source, "coding=b"),
            of(
                &object("site\u{1f}/a.j".to_owned(), source.version),
                "coding=br",
            ),
            of(
                &object("site\u{1f}/a.jsx".to_owned(), source.version),
                "coding=br",
            ),
            object(source.key().to_owned(), 5),
            object(String::new(), 5),
            object(format!("{}\u{1f}00", source.key()), 5),
        ] {
            assert!(!is_variant(&made, &source, "coding=br"), "{}", made.key());
        }
    }

    #[test]
    fn codings_are_named_by_their_tokens() {
        for coding in [Coding::Zstd, Coding::Brotli, Coding::Gzip] {
            let key = Form::Coded(coding, 1).key();
            assert_eq!(key, format!("coding={}", coding.token()));
        }
    }
}
