use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue,
};
use http::{HeaderMap, HeaderName};
use tokio::sync::Semaphore;

use crate::semantics::etag;
use crate::store::{Body, Draft, Entry, EntryKey, Newcomer, Object, Tier};
use crate::variant::{Coding, Encoder, Recipe};

use super::flight::{Boarding, Head, HeadBody, Landing, Pilot, Seat};
use super::install::{Keeping, new_version};
use super::lookup::note_use;
use super::marks::Mark;
use super::served::From;
use super::{Ask, Cache, FillError, Served, Stored, Story};

/// Larger pieces are encoded away from the runtime's threads.
const INLINE_ENCODING_BYTES: usize = 16 << 10;

/// How long a form that could not be made is not tried again.
const DECLINED_FOR: Duration = Duration::from_secs(3600);

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

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
    /// A content coding at this level.
    Coded(Coding, u32),
    /// A picture.
    Picture(Recipe),
}

impl Form {
    /// Canonical text: equal forms of one version are one variant.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Coded(coding, level) => format!("coding={};level={level}", coding.token()),
            Self::Picture(recipe) => format!("picture;{}", recipe.key()),
        }
    }
}

/// What became of asking for another form.
pub enum Derived {
    /// Here it is.
    Ready(Served),
    /// It is being made and not ready in time: the source serves, for a short while.
    Later(Served),
    /// It is not to be had: the source serves. The reason is a closed word.
    Declined(Served, &'static str),
}

impl Cache {
    /// `form` of `source`, if memory has it.
    #[must_use]
    pub fn made(&self, ask: &Ask, source: &Served, form: &Form) -> Option<Served> {
        let key = form.key();
        let id = self.form_id(&source.object, &key);
        let stored = self.just_made(ask, id, &source.object, &key)?;
        note_use(ask, &stored.object, id, None);
        let story = Story {
            tier: Some(stored.tier),
            ..source.story
        };
        Some(Served::made(stored.object, story, id))
    }

    /// Where the form `key` of `source` is kept.
    pub(super) fn form_id(&self, source: &Object, key: &str) -> u128 {
        self.store
            .hash(&[&source.version.to_le_bytes(), key.as_bytes()])
    }

    /// Gives `form` of `source`: stored, being made, or made now. `patience` bounds the wait for its head.
    pub async fn derive(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        source: Served,
        form: Form,
        patience: Option<Duration>,
    ) -> Derived {
        let key = form.key();
        let id = self.form_id(&source.object, &key);
        if let Some((mut object, tier)) = self.derived(ask, id, &source, &key).await {
            if !is_current(&object, &source.object) {
                object = Arc::new(renewed(&object, &source.object));
                self.install(ask, id, Arc::clone(&object), None).await;
            }
            let story = Story {
                tier: Some(tier),
                ..source.story
            };
            return Derived::Ready(Served::made(object, story, id));
        }
        if let Some(Mark::Declined(reason)) = self.marks.of(id, self.clock.uptime()) {
            return Derived::Declined(source, reason);
        }
        if !self.flights.has(id) && self.pressure.refuses_form() {
            return Derived::Declined(source, "memory-short");
        }
        let most = ask.zone.images.max_variants;
        if matches!(form, Form::Picture(_)) && !self.made.note(source.object.version, id, most) {
            return Derived::Declined(source, "too-many-variants");
        }
        let seat = match self.board_encoding(ask, &source, id, key, form) {
            Some(Aboard::Seated(seat)) => seat,
            Some(Aboard::Landed(stored)) => {
                return Derived::Ready(Served::made(stored.object, source.story, id));
            }
            None => return Derived::Declined(source, "busy"),
        };
        let head = match patience {
            Some(patience) => match tokio::time::timeout(patience, seat.head()).await {
                Ok(head) => head,
                Err(_) => return Derived::Later(source),
            },
            None => seat.head().await,
        };
        match head {
            Ok(head) => {
                let story = source.story;
                Derived::Ready(Served::in_flight(seat, &head, story, None))
            }
            Err(_) => {
                let reason = match self.marks.of(id, self.clock.uptime()) {
                    Some(Mark::Declined(reason)) => reason,
                    _ => "encoding-failed",
                };
                Derived::Declined(source, reason)
            }
        }
    }

    async fn derived(
        &self,
        ask: &Ask,
        id: u128,
        source: &Served,
        key: &str,
    ) -> Option<(Arc<Object>, Tier)> {
        let store = &ask.zone.store;
        let (entry, tier) = match store.memory(&EntryKey::head(id)) {
            Some(entry) => (entry, Tier::Memory),
            None => store.load(&EntryKey::head(id)).await?,
        };
        match entry {
            Entry::Object(object)
                if object.is_of(&variant_key(&source.object, key))
                    && self.has_body(ask, &object).await =>
            {
                Some((object, tier))
            }
            _ => None,
        }
    }

    /// The form `key` of `source`, if memory has it.
    fn just_made(&self, ask: &Ask, id: u128, source: &Object, key: &str) -> Option<Stored> {
        match ask.zone.store.memory(&EntryKey::head(id))? {
            Entry::Object(object)
                if object.is_of(&variant_key(source, key))
                    && is_current(&object, source)
                    && self.body_is_at_hand(ask, &object) =>
            {
                Some(Stored {
                    object,
                    tier: Tier::Memory,
                    id,
                    fields: Vec::new(),
                })
            }
            _ => None,
        }
    }

    fn board_encoding(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        source: &Served,
        id: u128,
        key: String,
        form: Form,
    ) -> Option<Aboard> {
        let landed = || self.just_made(ask, id, &source.object, &key);
        let sequence = source.object.body_seq;
        match self
            .flights
            .board(id, self.config.max_waiters, sequence, |_| true, landed)
        {
            Boarding::Full => None,
            Boarding::Landed(stored) => Some(Aboard::Landed(stored)),
            Boarding::Follows(seat) => Some(Aboard::Seated(seat)),
            Boarding::Leads(seat, landing) => {
                let place = match &form {
                    Form::Coded(..) => Some(Arc::clone(&self.encodings).try_acquire_owned().ok()?),
                    // The pool of pictures has a queue of its own.
                    Form::Picture(_) => None,
                };
                let again = source.again()?;
                let work = Work {
                    cache: Arc::clone(self),
                    ask: Arc::clone(ask),
                    source: again,
                    id,
                    key,
                };
                self.fills.spawn(async move {
                    let pilot = landing.pilot();
                    work.run(form, pilot, landing).await;
                    drop(place);
                });
                Some(Aboard::Seated(seat))
            }
        }
    }
}

/// How a request comes by a form that is being made.
enum Aboard {
    /// By following.
    Seated(Seat),
    /// It has just been finished.
    Landed(Stored),
}

pub(super) fn variant_key(source: &Object, form: &str) -> String {
    format!("{}\u{1f}{:032x}\u{1f}{form}", source.key(), source.version)
}

impl Served {
    /// A second way to read the same bytes, for whoever makes another form of them.
    fn again(&self) -> Option<Self> {
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

/// One form being made.
struct Work {
    cache: Arc<Cache>,
    ask: Arc<Ask>,
    source: Served,
    id: u128,
    key: String,
}

impl Work {
    async fn run(self, form: Form, pilot: Pilot, landing: Landing) {
        match form {
            Form::Coded(coding, level) => self.compress(coding, level, pilot, landing).await,
            Form::Picture(recipe) => self.render(recipe, pilot, landing).await,
        }
    }

    /// Streams: the first bytes go out coded while the source still grows, and whenever it pauses.
    async fn compress(self, coding: Coding, level: u32, pilot: Pilot, mut landing: Landing) {
        let turns = Arc::clone(&self.cache.encoding);
        let story = &self.source.story;
        let storable = story.stored || story.forward.is_none() || story.tier.is_some();
        let object = Arc::new(self.coded_head(coding).seal());
        pilot.publish_head(Head {
            object: Arc::clone(&object),
            length: None,
            stored: Ok(()),
            body: HeadBody::Growing,
            personal: false,
            vary: None,
        });
        let max_bytes = self.ask.zone.policy.max_object_bytes;
        let mut keeping = storable.then(|| self.keeping(&object, None, max_bytes));
        let (cache, id, ask) = (Arc::clone(&self.cache), self.id, Arc::clone(&self.ask));
        let mut reader = self
            .source
            .into_reader(&cache, &self.ask.zone.store, 0, None);
        let mut encoder = Some(Encoder::new(coding, level));
        let mut owing = false;
        let outcome = loop {
            let step = match next_step(&mut reader, &mut owing).await {
                Ok(step) => step,
                Err(error) => break Err(error),
            };
            let last = matches!(step, Step::End);
            let coded = match encode(&mut encoder, step, &turns).await {
                Ok(coded) => coded,
                Err(error) => break Err(FillError::Encoding(Arc::new(error))),
            };
            if let Some(kept) = &mut keeping {
                match kept.add(&coded).await {
                    Some(kept_to) => pilot.kept_to(kept_to),
                    None => keeping = None,
                }
            }
            pilot.publish(coded).await;
            if last {
                break Ok(());
            }
        };
        match outcome {
            Ok(()) => {
                if let Some(keeping) = keeping
                    && let Some(finished) = keeping.finish().await
                {
                    cache.install(&ask, id, finished, None).await;
                }
                landing.close();
                pilot.finish();
            }
            Err(error) => {
                landing.close();
                pilot.fail(&error);
            }
        }
    }

    async fn render(self, recipe: Recipe, pilot: Pilot, mut landing: Landing) {
        let limit = self.cache.images_max_source;
        let (cache, ask, id) = (Arc::clone(&self.cache), Arc::clone(&self.ask), self.id);
        let source = Arc::clone(&self.source.object);
        let key = self.key.clone();
        let bytes = match self
            .source
            .into_reader(&cache, &self.ask.zone.store, 0, None)
            .collect(limit)
            .await
        {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                cache.decline(id, "too-large", true);
                landing.close();
                return pilot.fail(&FillError::Abandoned);
            }
            Err(error) => {
                landing.close();
                return pilot.fail(&error);
            }
        };
        let made = match ask.zone.images.background {
            true => cache.images.render_behind(recipe, bytes).await,
            false => cache.images.render(recipe, bytes).await,
        };
        let picture = match made {
            Ok(picture) => picture,
            Err(error) => {
                tracing::debug!(site = %ask.zone.name, %error, path = %ask.path, "picture passes through");
                cache.decline(id, error.as_str(), error.is_permanent());
                landing.close();
                return pilot.fail(&FillError::Abandoned);
            }
        };
        let mut object = made_object(&source, &key, picture.media.name());
        if let Ok(media_type) = HeaderValue::try_from(picture.media.media_type()) {
            object.headers.insert(CONTENT_TYPE, media_type);
        }
        object.detail = picture.detail.as_str().into();
        let length = picture.bytes.len() as u64;
        object.body = Body::Inline(Bytes::new());
        let object = Arc::new(object.seal());
        let max_bytes = ask.zone.policy.max_object_bytes;
        let mut keeping = keeping_of(&cache, &ask, id, &object, Some(length), max_bytes);
        if keeping.add(&picture.bytes).await.is_some()
            && let Some(finished) = keeping.finish().await
        {
            cache.install(&ask, id, finished, None).await;
        }
        pilot.publish_head(Head {
            object,
            length: Some(length),
            stored: Ok(()),
            body: HeadBody::Growing,
            personal: false,
            vary: None,
        });
        pilot.kept_to(length);
        pilot.publish(picture.bytes).await;
        landing.close();
        pilot.finish();
    }

    fn keeping(&self, object: &Arc<Object>, length: Option<u64>, max_bytes: u64) -> Keeping {
        keeping_of(&self.cache, &self.ask, self.id, object, length, max_bytes)
    }

    fn coded_head(&self, coding: Coding) -> Draft {
        let mut object = made_object(&self.source.object, &self.key, coding.token());
        if let Ok(token) = HeaderValue::try_from(coding.token()) {
            object.headers.insert(CONTENT_ENCODING, token);
        }
        object.detail = coding.token().into();
        object
    }
}

/// Takes a made form in, whose head is kept under `id`.
fn keeping_of(
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

impl Cache {
    fn decline(&self, id: u128, reason: &'static str, permanent: bool) {
        // A passing reason (a full queue) is tried again with the next request but for a second.
        let memory = if permanent {
            DECLINED_FOR
        } else {
            Duration::from_secs(1)
        };
        self.marks
            .set(id, Mark::Declined(reason), self.clock.uptime() + memory);
    }
}

/// Whether a made form has the fields and the age of its source as they are now: a source that is validated, or fetched
/// again with the same bytes, keeps its version.
fn is_current(made: &Object, source: &Object) -> bool {
    made.freshness() == source.freshness() && made.checked_seq == source.checked_seq
}

/// A made form with the fields and the age that its source has now. Its bytes, and what is said of them, stay.
fn renewed(made: &Object, source: &Object) -> Object {
    let mut draft = source.draft();
    let headers = &mut draft.headers;
    for name in OF_THE_BYTES {
        headers.remove(name);
    }
    let made_headers = made.headers();
    let own = made_headers.get(CONTENT_ENCODING);
    let label = match (own, made_headers.get(CONTENT_TYPE)) {
        (Some(coding), _) => coding.to_str().unwrap_or_default(),
        (None, media_type) => media_type
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("image/"))
            .unwrap_or_default(),
    };
    for name in [CONTENT_ENCODING, CONTENT_TYPE] {
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

/// The head of a made representation: the source's fields without what spoke of its very bytes.
fn made_object(source: &Object, key: &str, label: &str) -> Draft {
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

/// `"abc"` becomes `"abc;br.0123456789ab"`: made bytes are not stable, so the tag ends in their own version.
fn retag(headers: &mut HeaderMap, label: &str, version: u128) {
    let Some(tag) = headers.get(ETAG) else { return };
    match etag::made(tag, label, version) {
        Some(made) => headers.insert(ETAG, made),
        None => headers.remove(ETAG),
    };
}

enum Step {
    Bytes(Bytes),
    /// The source has paused: what is inside goes out.
    Pause,
    End,
}

/// The next piece; a pause when none is ready and bytes went in since the last one.
async fn next_step(reader: &mut super::Reader, owing: &mut bool) -> Result<Step, FillError> {
    let step = std::future::poll_fn(|context| match reader.poll_next(context) {
        Poll::Pending if *owing => Poll::Ready(Ok(Step::Pause)),
        Poll::Pending => Poll::Pending,
        Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Ok(Step::Bytes(bytes))),
        Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
        Poll::Ready(None) => Poll::Ready(Ok(Step::End)),
    })
    .await?;
    *owing = matches!(step, Step::Bytes(_));
    Ok(step)
}

/// One step of work; a large one waits for its turn and runs away from the runtime's own threads.
async fn encode(encoder: &mut Option<Encoder>, step: Step, turns: &Semaphore) -> io::Result<Bytes> {
    let Some(mut own) = encoder.take() else {
        return Err(io::Error::other("the encoder has ended"));
    };
    let large = matches!(&step, Step::Bytes(bytes) if bytes.len() > INLINE_ENCODING_BYTES);
    let work = move || match step {
        Step::Bytes(bytes) => own.push(&bytes).map(|coded| (coded, Some(own))),
        Step::Pause => own.flush().map(|coded| (coded, Some(own))),
        Step::End => own.finish().map(|coded| (coded, None)),
    };
    let (coded, back) = if large {
        let _turn = turns.acquire().await;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)??
    } else {
        work()?
    };
    *encoder = back;
    Ok(coded)
}
