use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::store::{Body, Entry, EntryKey, Object, Tier};
use crate::variant::{Announced, Coding, Order, Urgency};

use super::flight::{Boarding, Landing, Pilot, Seat};
use super::form::{Form, is_current, is_variant, renewed};
use super::lookup::note_use;
use super::marks::Mark;
use super::{Ask, Cache, Served, Stored, Story};

/// How long a form that could not be made is not tried again.
const DECLINED_FOR: Duration = Duration::from_secs(3600);

/// The same where the reason passes, such as a full queue.
const DEFERRED_FOR: Duration = Duration::from_secs(1);

/// The same where it took too long: that it will again is likely, and is dear to find out.
const TIMED_OUT_FOR: Duration = Duration::from_secs(300);

/// The reason that is given for a form that is being made.
const MAKING: &str = "making";

/// What became of asking for another form.
pub enum Derived {
    /// Here it is.
    Ready(Served),
    /// It is not there in time, for this reason: the source, or a form that was quicker to make, serves for a short
    /// while.
    Later(Served, &'static str),
    /// It is not to be had: the source serves. The reason is a closed word.
    Declined(Served, &'static str),
}

/// A form of one version of an object, and where it is kept.
pub(super) struct Wanted {
    pub(super) id: u128,
    pub(super) key: String,
    form: Form,
}

impl Wanted {
    pub(super) fn new(cache: &Cache, source: &Object, form: Form) -> Self {
        let key = form.key().into_owned();
        let id = cache.form_id(source, &key);
        Self { id, key, form }
    }
}

impl Cache {
    /// `form` of `source`, if memory has it.
    #[must_use]
    pub fn made(&self, ask: &Ask, source: &Served, form: &Form) -> Option<Served> {
        let key = form.key();
        let id = self.form_id(&source.object, &key);
        let object = match source.object.usual_form(&key) {
            Some(object) => object,
            None => {
                let stored = self.just_made(ask, id, &source.object, &key)?;
                // A form against a dictionary is only for some.
                let is_for_many = !matches!(form, Form::Delta(_));
                if is_for_many && matches!(stored.object.body, Body::Inline(_)) {
                    source.object.note_form(&key, &stored.object);
                }
                stored.object
            }
        };
        note_use(ask, &object, id, None);
        self.note_form(ask, &source.object, form, (id, &object));
        // What the source lacks has nothing to do with it.
        let story = match source.is_at_hand() {
            true => Story {
                tier: Some(Tier::Memory),
                ..source.story
            },
            false => Story::hit(Tier::Memory),
        };
        Some(Served::made(object, story, id))
    }

    /// Notes that a made form is asked for, which may be worth making better.
    fn note_form(&self, ask: &Ask, source: &Arc<Object>, form: &Form, made: (u128, &Arc<Object>)) {
        if let Form::Coded(coding, _) = form {
            self.note_coding(ask, source, *coding);
        }
        self.note_form_use(ask, source, form, made);
    }

    /// Where the form `key` of `source` is kept. Versions are random and known to nobody outside, so what is added to one
    /// need not be mixed any more.
    pub(super) fn form_id(&self, source: &Object, key: &str) -> u128 {
        source.version ^ self.form_ids.of(&self.store, key)
    }

    /// Where it is remembered that no picture can be made of `source`.
    fn picture_id(&self, source: &Object) -> u128 {
        self.store
            .hash(&[&source.version.to_le_bytes(), b"no picture"])
    }

    /// Gives `form` of `source`: stored, being made, or made now. `patience` bounds the wait for its head.
    pub async fn derive(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        source: Served,
        form: Form,
        patience: Option<Duration>,
    ) -> Derived {
        let is_picture = matches!(form, Form::Picture(_));
        let handed_on = source.handed_on;
        match self.formed(ask, source, form, patience).await {
            // What the origin has judged by the client's conditions is not judged again.
            Derived::Ready(mut served) => {
                served.handed_on = handed_on;
                Derived::Ready(served)
            }
            // Text as it is is as good as coded text: nobody needs to come back for that.
            Derived::Later(source, reason) if !is_picture => Derived::Declined(source, reason),
            derived => {
                if let Derived::Later(_, reason) | Derived::Declined(_, reason) = &derived
                    && is_picture
                {
                    self.images.fell_back(&ask.zone.name, reason);
                }
                derived
            }
        }
    }

    async fn formed(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        source: Served,
        form: Form,
        patience: Option<Duration>,
    ) -> Derived {
        let wanted = Wanted::new(self, &source.object, form);
        if let Some(served) = self.stored_form(ask, &source, &wanted).await {
            return Derived::Ready(served);
        }
        match self.form_mark(&source.object, wanted.id, &wanted.form) {
            Some(Mark::Declined(reason)) => return Derived::Declined(source, reason),
            Some(Mark::Deferred(reason)) => return Derived::Later(source, reason),
            _ => {}
        }
        if !self.flights.has(wanted.id) && self.pressure.refuses_form() {
            return Derived::Later(source, "memory-short");
        }
        let most = ask.zone.images.max_variants;
        if matches!(wanted.form, Form::Picture(_))
            && !self.made.note(source.object.version, wanted.id, most)
        {
            return Derived::Declined(source, "too-many-variants");
        }
        if let Some(patience) = patience
            && let Some(quick) = self.quick_form(&wanted.form)
        {
            return self.quickly(ask, source, wanted, quick, patience).await;
        }
        match self.board(ask, &source, wanted, Urgency::Answer) {
            Some(Aboard::Seated(seat, id)) => self.seated(seat, id, source, patience).await,
            Some(Aboard::Landed(stored)) => {
                Derived::Ready(Served::made(stored.object, source.story, stored.id))
            }
            None => Derived::Later(source, "busy"),
        }
    }

    /// Waits for the head of a form that is being made.
    async fn seated(
        &self,
        seat: Seat,
        id: u128,
        source: Served,
        patience: Option<Duration>,
    ) -> Derived {
        let head = match patience {
            Some(patience) => tokio::time::timeout(patience, seat.prompt_head())
                .await
                .unwrap_or(Err(MAKING)),
            None => Ok(seat.head().await),
        };
        match head {
            Err(reason) => {
                seat.leave_behind();
                Derived::Later(source, reason)
            }
            Ok(Ok(head)) => {
                let story = source.story;
                let mut served = Served::in_flight(seat, &head, story, None);
                // The flight may have begun before the source was fetched again, or purged: its bytes are the same.
                if !is_current(&served.object, &source.object) {
                    served.object = Arc::new(renewed(&served.object, &source.object));
                }
                Derived::Ready(served)
            }
            Ok(Err(_)) => match self.marks.of(id, self.clock.uptime()) {
                Some(Mark::Declined(reason)) => Derived::Declined(source, reason),
                Some(Mark::Deferred(reason)) => Derived::Later(source, reason),
                _ => Derived::Later(source, "encoding-failed"),
            },
        }
    }

    /// What is made first where the best takes longer than a first visitor should wait: the same picture in a format
    /// that is quick to write.
    fn quick_form(&self, form: &Form) -> Option<Form> {
        match form {
            Form::Picture(recipe) => recipe.quick(self.images.is_busy()).map(Form::Picture),
            Form::Coded(..) | Form::Plain(_) | Form::Delta(_) => None,
        }
    }

    /// Has the wanted form made behind the answer, and answers with a quicker one.
    async fn quickly(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        source: Served,
        wanted: Wanted,
        quick: Form,
        patience: Duration,
    ) -> Derived {
        match self.board(ask, &source, wanted, Urgency::Behind) {
            Some(Aboard::Seated(seat, _)) => seat.leave_behind(),
            Some(Aboard::Landed(stored)) => {
                return Derived::Ready(Served::made(stored.object, source.story, stored.id));
            }
            None => {}
        }
        // The quick one has no quicker one, so this ends.
        let quick = Box::pin(self.formed(ask, source, quick, Some(patience))).await;
        match quick {
            Derived::Ready(served) => Derived::Later(served, MAKING),
            Derived::Later(served, reason) | Derived::Declined(served, reason) => {
                Derived::Later(served, reason)
            }
        }
    }

    pub(super) async fn stored_form(
        &self,
        ask: &Ask,
        source: &Served,
        wanted: &Wanted,
    ) -> Option<Served> {
        let Wanted { id, key, form } = wanted;
        let (mut object, tier) = self.derived(ask, *id, source, key).await?;
        self.note_form(ask, &source.object, form, (*id, &object));
        if !is_current(&object, &source.object) {
            object = Arc::new(renewed(&object, &source.object));
            self.install(ask, *id, Arc::clone(&object), None).await;
        }
        let story = Story {
            tier: Some(tier),
            ..source.story
        };
        Some(Served::made(object, story, *id))
    }

    /// What is remembered of `form`, which is kept under `id`, and of pictures of its source at all.
    pub(super) fn form_mark(&self, source: &Object, id: u128, form: &Form) -> Option<Mark> {
        let uptime = self.clock.uptime();
        let of_source = match form {
            Form::Picture(_) => self.marks.of(self.picture_id(source), uptime),
            Form::Coded(..) | Form::Plain(_) | Form::Delta(_) => None,
        };
        of_source.or_else(|| self.marks.of(id, uptime))
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
                if is_variant(&object, &source.object, key)
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
                if is_variant(&object, source, key)
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

    /// Joins the making of a form, or begins it with this urgency.
    fn board(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        source: &Served,
        wanted: Wanted,
        urgency: Urgency,
    ) -> Option<Aboard> {
        let Wanted { id, key, form } = wanted;
        let landed = || self.just_made(ask, id, &source.object, &key);
        let sequence = source.object.body_seq;
        match self
            .flights
            .board(id, self.config.max_waiters, sequence, |_| true, landed)
        {
            Boarding::Full => None,
            Boarding::Landed(stored) => Some(Aboard::Landed(stored)),
            Boarding::Follows(seat) => Some(Aboard::Seated(seat, id)),
            Boarding::Leads(seat, landing) => {
                let place = || Arc::clone(&self.encodings).try_acquire_owned().ok();
                let craft = match form {
                    Form::Coded(coding, level) => Craft::Coding(coding, level, place()?),
                    Form::Plain(coding) => Craft::Decoding(coding, place()?),
                    // Nobody waits for one: see `Cache::delta`.
                    Form::Delta(_) => return None,
                    // Announced before the source's bytes are there: what is decoded meanwhile is decoded for it, too.
                    Form::Picture(recipe) => Craft::Picture(self.images.announce(Order {
                        site: Arc::clone(&ask.zone.name),
                        source: source.object.version,
                        recipe,
                        urgency,
                    })),
                };
                let work = Work {
                    cache: Arc::clone(self),
                    ask: Arc::clone(ask),
                    source: source.again()?,
                    id,
                    key,
                };
                self.fills.spawn(async move {
                    let pilot = landing.pilot();
                    work.run(craft, pilot, landing).await;
                });
                Some(Aboard::Seated(seat, id))
            }
        }
    }
}

/// How a request comes by a form that is being made.
enum Aboard {
    /// By following what is kept under this id.
    Seated(Seat, u128),
    /// It has just been finished.
    Landed(Stored),
}

/// How a form is made, and the place that was taken for it.
enum Craft {
    Coding(Coding, u32, OwnedSemaphorePermit),
    Decoding(Coding, OwnedSemaphorePermit),
    Picture(Announced),
}

/// One form being made.
pub(super) struct Work {
    pub(super) cache: Arc<Cache>,
    pub(super) ask: Arc<Ask>,
    pub(super) source: Served,
    pub(super) id: u128,
    pub(super) key: String,
}

impl Work {
    async fn run(self, craft: Craft, pilot: Pilot, landing: Landing) {
        match craft {
            Craft::Coding(coding, level, place) => {
                self.compress(coding, level, pilot, landing).await;
                drop(place);
            }
            Craft::Decoding(coding, place) => {
                self.decode(coding, pilot, landing).await;
                drop(place);
            }
            Craft::Picture(announced) => self.render(announced, pilot, landing).await,
        }
    }
}

/// How long a form is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decline {
    /// It will end the same way.
    ForLong,
    /// It took too long.
    TimedOut,
    /// It may well work the next time.
    ForNow,
}

impl Cache {
    /// Remembers that the form of `id` is not to be had.
    pub(super) fn decline(&self, id: u128, reason: &'static str, decline: Decline) {
        let (mark, time) = match decline {
            Decline::ForLong => (Mark::Declined(reason), DECLINED_FOR),
            Decline::TimedOut => (Mark::Deferred(reason), TIMED_OUT_FOR),
            Decline::ForNow => (Mark::Deferred(reason), DEFERRED_FOR),
        };
        self.marks.set(id, mark, self.clock.uptime() + time);
    }

    /// Remembers that no picture can be made of `source`: ten widths of a broken one are one decoding.
    pub(super) fn decline_pictures(&self, source: &Object, reason: &'static str) {
        self.decline(self.picture_id(source), reason, Decline::ForLong);
    }
}
