use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use http::header::CONTENT_TYPE;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::store::{Entry, EntryKey, Object, Tier};
use crate::variant::{Order, Recipe, Urgency};

use super::form::{Form, better_object};
use super::served::Served;
use super::{Ask, Cache, Pressure, Story};

/// A picture that is asked for again so often is worth the effort: two in three of a site's pictures never are, and
/// the third request pays for more than the second, whose client will mostly have it in its own cache.
const WORTH_IT_AFTER: u8 = 3;

/// Pictures that wait to be made better; who finds no place comes again.
const WAITING_MAX: usize = 64;

/// In percent of the bytes: a result that saves less is not worth that browsers fetch it once more.
const WORTH_PERCENT: u64 = 98;

/// Ends the detail of a picture that cannot be made better.
pub(super) const BEST: &str = ";best";

/// A picture that may be made better.
pub(super) struct Candidate {
    ask: Arc<Ask>,
    source: Arc<Object>,
    recipe: Recipe,
    id: u128,
    made: Arc<Object>,
}

/// Where candidates are handed in.
pub(super) struct Upgrades {
    waiting: mpsc::Sender<Candidate>,
}

/// The other end of [`Upgrades`].
pub(super) struct Inbox(mpsc::Receiver<Candidate>);

impl Upgrades {
    pub(super) fn new() -> (Self, Inbox) {
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        (Self { waiting }, Inbox(inbox))
    }
}

impl Inbox {
    /// Makes one picture after the other better. Ends with the cache.
    pub(super) fn serve(mut self, runtime: &Handle, cache: Weak<Cache>) {
        runtime.spawn(async move {
            while let Some(candidate) = self.0.recv().await {
                let Some(cache) = cache.upgrade() else { return };
                let site = Arc::clone(&candidate.ask.zone.name);
                let outcome = cache.improve(candidate).await;
                cache.images.upgraded(&site, outcome.as_str());
            }
        });
    }
}

/// What came of trying to make a picture better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// There is a better one now.
    Better,
    /// The first one stays, for good.
    NoBetter,
    /// It may be tried again.
    NotNow,
    /// What it was about is gone.
    Gone,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoBetter => "no-better",
            Self::NotNow => "not-now",
            Self::Gone => "gone",
        }
    }
}

impl Cache {
    /// Notes that a made picture is asked for. On the way of each hit: one relaxed load, once the count is full.
    pub(super) fn note_picture(
        &self,
        ask: &Ask,
        source: &Arc<Object>,
        form: &Form,
        (id, made): (u128, &Arc<Object>),
    ) {
        let Form::Picture(recipe) = form else { return };
        if made.uses.load(Ordering::Relaxed) >= WORTH_IT_AFTER
            || made.uses.fetch_add(1, Ordering::Relaxed) + 1 != WORTH_IT_AFTER
            || !ask.zone.images.background
            || !may_be_better(made)
        {
            return;
        }
        let candidate = Candidate {
            ask: Arc::new(Ask {
                interim: None,
                ..ask.clone()
            }),
            source: Arc::clone(source),
            recipe: recipe.clone(),
            id,
            made: Arc::clone(made),
        };
        if self.upgrades.waiting.try_send(candidate).is_err() {
            made.uses.store(0, Ordering::Relaxed);
        }
    }

    async fn improve(self: &Arc<Self>, candidate: Candidate) -> Outcome {
        let Candidate {
            ask,
            source,
            recipe,
            id,
            made,
        } = candidate;
        let again = || {
            made.uses.store(0, Ordering::Relaxed);
            Outcome::NotNow
        };
        if self.pressure() != Pressure::Ample {
            return again();
        }
        if self.present(&ask, id, &made).await.is_none() {
            return Outcome::Gone;
        }
        // From the tiers alone: nothing is pulled for it.
        let reader = Served::made(Arc::clone(&source), Story::hit(Tier::Memory), id)
            .without_head()
            .into_reader(self, &ask.zone.store, 0, None);
        let Ok(Some(file)) = reader.collect(self.images_max_source).await else {
            return Outcome::Gone;
        };
        let seeks_quality = recipe.seeks_quality();
        let announced = self.images.announce(Order {
            site: Arc::clone(&ask.zone.name),
            source: source.version,
            recipe,
            urgency: Urgency::Upgrade,
        });
        let better = announced.render(file, |_| false).await;
        drop(announced);
        let Some(present) = self.present(&ask, id, &made).await else {
            return Outcome::Gone;
        };
        match better {
            Ok(picture) if is_worth_it(&made, picture.bytes.len() as u64, seeks_quality) => {
                let draft = better_object(&present, picture.media.name());
                self.kept_picture(&ask, draft, id, &picture, BEST).await;
                Outcome::Better
            }
            Err(refused) if !refused.error.is_permanent() => again(),
            Ok(_) | Err(_) => {
                // Remembered with the picture, so that a restart does not try it again.
                let mut draft = present.draft();
                draft.detail = format!("{}{BEST}", present.detail()).into();
                self.install(&ask, id, Arc::new(draft.seal()), None).await;
                Outcome::NoBetter
            }
        }
    }

    /// What is stored under `id`, if it is still the version of `made`: its fields may be newer.
    pub(super) async fn present(&self, ask: &Ask, id: u128, made: &Object) -> Option<Arc<Object>> {
        let head = EntryKey::head(id);
        let store = &ask.zone.store;
        let entry = match store.memory(&head) {
            Some(entry) => Some(entry),
            None => store.load(&head).await.map(|(entry, _)| entry),
        };
        match entry? {
            Entry::Object(present) if present.version == made.version => Some(present),
            Entry::Object(_) | Entry::Vary(_) | Entry::Chunk(_) => None,
        }
    }
}

/// Whether it is a picture of the first effort.
fn may_be_better(made: &Object) -> bool {
    let headers = made.headers();
    let media_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    !made.detail().ends_with(BEST)
        && media_type.is_some_and(|media_type| media_type.starts_with(b"image/"))
}

/// Whether the better one takes the place of the first. Where the right quality was looked for, that of the first was
/// a guess.
fn is_worth_it(made: &Object, better_bytes: u64, seeks_quality: bool) -> bool {
    let first_bytes = made.body.length();
    let saves = better_bytes.saturating_mul(100) <= first_bytes.saturating_mul(WORTH_PERCENT);
    saves || (seeks_quality && better_bytes != first_bytes)
}
