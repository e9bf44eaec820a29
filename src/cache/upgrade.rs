//! Forms that are asked for again are made once more behind the answers, with all effort, and take the place of the
//! first ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use crate::store::{Body, Draft, Entry, EntryKey, Object, Tier};
use crate::variant::{BestCoder, Coding, Order, Picture, Recipe, Urgency};

use super::behind::{Errand, Queue};
use super::codings::{Effort, Upgrade};
use super::form::{Form, better_object, keeping_of, tell_digest};
use super::served::Served;
use super::smallest::forget_smallest;
use super::{Ask, Cache, Pressure, Story};

/// A picture that is asked for again so often is worth the effort: two in three of a site's pictures never are, and
/// the third request pays for more than the second, whose client will mostly have it in its own cache.
const PICTURE_AFTER: u8 = 3;

/// Pictures that wait to be made better; who finds no place comes again.
pub(super) const PICTURES_WAITING: usize = 64;

/// In percent of the bytes: a picture that saves less is not worth that browsers fetch it once more.
const PICTURE_WORTH_PERCENT: u64 = 98;

/// The same of codings.
const CODING_WORTH_PERCENT: u64 = 99;

/// Ends the detail of a form that cannot be made better.
pub(super) const BEST: &str = ";best";

/// Where what may be made better is handed in, and who makes it.
pub(super) struct Upgrades {
    pub(super) pictures: Queue<Candidate>,
    pub(super) codings: Queue<Candidate>,
    pub(super) coder: BestCoder,
}

/// A made form that may be made better.
pub(super) struct Candidate {
    ask: Arc<Ask>,
    source: Arc<Object>,
    craft: Craft,
    id: u128,
    made: Arc<Object>,
}

enum Craft {
    Coding(Coding),
    Picture(Recipe),
}

/// What came of the effort.
enum Tried {
    Coding(Coding, u32, Bytes),
    Picture(Picture),
    NoBetter,
    NotNow,
}

impl Errand for Candidate {
    async fn run(self, cache: Arc<Cache>) {
        let outcome = cache.improve(&self).await;
        if outcome == Upgrade::NotNow {
            self.made.uses.store(0, Ordering::Relaxed);
        }
        let site = &self.ask.zone.name;
        match self.craft {
            Craft::Coding(_) => cache.codings.upgraded(site, outcome),
            Craft::Picture(_) => cache.images.upgraded(site, outcome.as_str()),
        }
    }
}

impl Cache {
    /// Notes that a made form is asked for. On the way of each hit: one relaxed load, once the count is full.
    pub(super) fn note_form_use(
        &self,
        ask: &Ask,
        source: &Arc<Object>,
        form: &Form,
        (id, made): (u128, &Arc<Object>),
    ) {
        let after = match form {
            Form::Coded(..) => ask.zone.compression.upgrade_after_hits,
            Form::Picture(_) => PICTURE_AFTER,
            Form::Plain(_) | Form::Delta(_) => return,
        };
        if made.uses.load(Ordering::Relaxed) >= after
            || made.uses.fetch_add(1, Ordering::Relaxed) + 1 != after
            || made.detail().ends_with(BEST)
        {
            return;
        }
        let (queue, craft) = match form {
            Form::Coded(coding, _) => (&self.upgrades.codings, Craft::Coding(*coding)),
            Form::Picture(recipe) if ask.zone.images.background && is_picture(made) => {
                (&self.upgrades.pictures, Craft::Picture(recipe.clone()))
            }
            Form::Picture(_) | Form::Plain(_) | Form::Delta(_) => return,
        };
        let candidate = Candidate {
            ask: Arc::new(ask.behind()),
            source: Arc::clone(source),
            craft,
            id,
            made: Arc::clone(made),
        };
        if !queue.hand_in(candidate) {
            made.uses.store(0, Ordering::Relaxed);
        }
    }

    async fn improve(self: &Arc<Self>, candidate: &Candidate) -> Upgrade {
        let Candidate {
            ask,
            source,
            craft,
            id,
            made,
        } = candidate;
        if self.pressure() != Pressure::Ample {
            return Upgrade::NotNow;
        }
        if self.present(ask, *id, made).await.is_none() {
            return Upgrade::Gone;
        }
        let max_bytes = match craft {
            Craft::Coding(_) => ask.zone.compression.max_size_bytes,
            Craft::Picture(_) => self.images_max_source,
        };
        let Some(content) = self.stored_bytes(ask, source, max_bytes).await else {
            return Upgrade::Gone;
        };
        let tried = match craft {
            Craft::Coding(coding) => self.try_coding(ask, *coding, content, made).await,
            Craft::Picture(recipe) => self.try_picture(ask, source, recipe, content, made).await,
        };
        let Some(present) = self.present(ask, *id, made).await else {
            return Upgrade::Gone;
        };
        match tried {
            Tried::Coding(coding, level, bytes) => {
                let mut draft = better_object(&present, coding.token());
                tell_digest(&mut draft, source, &bytes).await;
                draft.detail = format!("{};level={level}{BEST}", coding.token()).into();
                self.keep_form(ask, draft, *id, &bytes).await;
                forget_smallest(source);
                source.forget_form();
                Upgrade::Better
            }
            Tried::Picture(picture) => {
                let draft = better_object(&present, picture.media.name());
                self.kept_picture(ask, draft, *id, &picture, BEST).await;
                source.forget_form();
                Upgrade::Better
            }
            Tried::NoBetter => {
                // Remembered with the form, so that a restart does not try it again.
                let mut draft = present.draft();
                draft.detail = format!("{}{BEST}", present.detail()).into();
                self.install(ask, *id, Arc::new(draft.seal()), None).await;
                Upgrade::NoBetter
            }
            Tried::NotNow => Upgrade::NotNow,
        }
    }

    async fn try_coding(&self, ask: &Ask, coding: Coding, content: Bytes, made: &Object) -> Tried {
        let content_bytes = content.len() as u64;
        let level = ask.zone.compression.best_level.of(coding);
        let best = match self.upgrades.coder.encode(coding, level, content).await {
            Some(Ok(best)) => best,
            Some(Err(error)) => {
                tracing::warn!(%error, coding = coding.token(), "a body could not be coded");
                return Tried::NotNow;
            }
            None => return Tried::NotNow,
        };
        let coded_bytes = best.bytes.len() as u64;
        self.codings.made(
            &ask.zone.name,
            (coding, Effort::Best),
            (content_bytes, coded_bytes),
            best.cpu,
        );
        match saves(made, coded_bytes, CODING_WORTH_PERCENT) {
            true => Tried::Coding(coding, level, best.bytes),
            false => Tried::NoBetter,
        }
    }

    async fn try_picture(
        &self,
        ask: &Ask,
        source: &Object,
        recipe: &Recipe,
        file: Bytes,
        made: &Object,
    ) -> Tried {
        let announced = self.images.announce(Order {
            site: Arc::clone(&ask.zone.name),
            source: source.version,
            recipe: recipe.clone(),
            urgency: Urgency::Upgrade,
        });
        match announced.render(file, |_| false).await {
            Ok(picture) => {
                let bytes = picture.bytes.len() as u64;
                // Where the right quality was looked for, that of the first was a guess.
                let is_right = recipe.seeks_quality() && bytes != made.body.length();
                match is_right || saves(made, bytes, PICTURE_WORTH_PERCENT) {
                    true => Tried::Picture(picture),
                    false => Tried::NoBetter,
                }
            }
            Err(refused) if !refused.error.is_permanent() => Tried::NotNow,
            Err(_) => Tried::NoBetter,
        }
    }

    /// The body of a stored object, from the tiers alone: nothing is pulled for it. `None` when it is not all there, or
    /// larger than this.
    pub(super) async fn stored_bytes(
        &self,
        ask: &Ask,
        object: &Arc<Object>,
        max_bytes: u64,
    ) -> Option<Bytes> {
        let served = Served::made(Arc::clone(object), Story::hit(Tier::Memory), 0).without_head();
        let reader = served.into_reader(self, &ask.zone.store, 0, None);
        reader.collect(max_bytes).await.ok().flatten()
    }

    /// Puts a made form that is whole into the tiers. Gives whether they took it.
    pub(super) async fn keep_form(
        self: &Arc<Self>,
        ask: &Ask,
        mut draft: Draft,
        id: u128,
        bytes: &Bytes,
    ) -> bool {
        draft.body = Body::Inline(Bytes::new());
        let object = Arc::new(draft.seal());
        let max_bytes = ask.zone.policy.max_object_bytes;
        let mut keeping = keeping_of(self, ask, id, &object, Some(bytes.len() as u64), max_bytes);
        if keeping.add(bytes).await.is_none() {
            return false;
        }
        let Some(finished) = keeping.finish().await else {
            return false;
        };
        self.install(ask, id, finished, None).await;
        true
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

fn is_picture(made: &Object) -> bool {
    let headers = made.headers();
    let media_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    media_type.is_some_and(|media_type| media_type.starts_with(b"image/"))
}

/// Whether so many bytes are no more than this percentage of what `made` has.
fn saves(made: &Object, bytes: u64, percent: u64) -> bool {
    bytes.saturating_mul(100) <= made.body.length().saturating_mul(percent)
}
