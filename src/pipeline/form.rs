use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::cache::{Ask, CODING_CORRUPT, CODING_TOO_LARGE, Cache, Derived, Form, Served};
use crate::semantics::negotiate::media_quality;
use crate::store::Object;
use crate::variant::{self, Recipe, SourceFormat, Wish};

use super::Refusal;
use super::coding::{Coded, coding};

/// What an answer is made of, and what it varies by.
pub(super) struct Formed {
    pub(super) served: Served,
    /// Fields of the request that the choice of form looked at.
    pub(super) varies: Vec<&'static str>,
    /// Why the source serves although another form was wanted.
    pub(super) declined: Option<&'static str>,
    /// A better form is being made: clients should come back soon.
    pub(super) provisional: bool,
}

impl Formed {
    /// The same, chosen by these fields too.
    fn also_by(mut self, fields: Vec<&'static str>) -> Self {
        for name in fields {
            if !self.varies.contains(&name) {
                self.varies.push(name);
            }
        }
        self
    }
}

/// What memory has of the form that a client gets.
pub(super) enum AtHand {
    Formed(Formed),
    /// The source alone.
    Source(Served),
}

/// Chooses the form of `source` that this client gets, if memory has it; else gives `source` back.
pub(super) fn at_once(
    cache: &Cache,
    ask: &Ask,
    wish: Option<Wish>,
    source: Served,
) -> Result<AtHand, Refusal> {
    let mut choice = choice(cache, ask, wish, &source)?;
    let Some(form) = &choice.form else {
        return Ok(AtHand::Formed(choice.of_source(source)));
    };
    let Some(served) = cache.made(ask, &source, form) else {
        return Ok(AtHand::Source(source));
    };
    if !choice.goes_on {
        return Ok(AtHand::Formed(formed(
            Derived::Ready(served),
            choice.varies,
        )));
    }
    let varies = std::mem::take(&mut choice.varies);
    let coded = self::choice(cache, ask, wish, &served)?;
    let Some(form) = &coded.form else {
        return Ok(AtHand::Formed(coded.of_source(served).also_by(varies)));
    };
    Ok(match cache.made(ask, &served, form) {
        Some(served) => {
            AtHand::Formed(formed(Derived::Ready(served), coded.varies).also_by(varies))
        }
        None => AtHand::Source(source),
    })
}

/// Chooses the form of `source` that this client gets, and has it made if need be.
pub(super) async fn choose(
    cache: &Arc<Cache>,
    ask: &Arc<Ask>,
    wish: Option<Wish>,
    source: Served,
) -> Result<Formed, Refusal> {
    let mut choice = choice(cache, ask, wish, &source)?;
    let Some(form) = choice.form.take() else {
        return Ok(choice.of_source(source));
    };
    let derived = cache.derive(ask, source, form, choice.patience).await;
    if !choice.goes_on {
        return Ok(formed(derived, choice.varies));
    }
    // The origin's coding is undone; what follows is as for any plain source.
    let plain = match derived {
        Derived::Ready(plain) => plain,
        Derived::Declined(_, CODING_CORRUPT) => return Err(Refusal::Undecodable),
        Derived::Declined(served, CODING_TOO_LARGE) => {
            let derived = Derived::Declined(served, CODING_TOO_LARGE);
            return Ok(formed(derived, choice.varies));
        }
        Derived::Declined(..) | Derived::Later(..) => return Err(Refusal::Busy),
    };
    let mut coded = self::choice(cache, ask, wish, &plain)?;
    let formed = match coded.form.take() {
        Some(form) => {
            let derived = cache.derive(ask, plain, form, coded.patience).await;
            formed(derived, coded.varies)
        }
        None => coded.of_source(plain),
    };
    Ok(formed.also_by(choice.varies))
}

/// What is to be made of an object.
#[derive(Default)]
struct Choice {
    varies: Vec<&'static str>,
    /// `None` is the object as it is.
    form: Option<Form>,
    patience: Option<Duration>,
    declined: Option<&'static str>,
    /// Whether the form is a source in its turn: the content of what the origin has coded.
    goes_on: bool,
}

impl Choice {
    fn of_source(self, served: Served) -> Formed {
        Formed {
            served,
            varies: self.varies,
            declined: self.declined,
            provisional: false,
        }
    }
}

fn choice(
    cache: &Cache,
    ask: &Ask,
    wish: Option<Wish>,
    source: &Served,
) -> Result<Choice, Refusal> {
    let images = &ask.zone.images;
    let (status, headers) = (source.object.status, &source.object.headers());
    if variant::applies(images, status, headers) && (wish.is_some() || images.auto) {
        return Ok(picture(
            ask,
            &wish.unwrap_or_else(Wish::auto),
            headers,
            source,
        ));
    }
    let (form, goes_on) = match coding(cache, ask, source) {
        Coded::Untouched => return Ok(Choice::default()),
        Coded::NotAcceptable => return Err(Refusal::NotAcceptable),
        Coded::AsItIs => (None, false),
        Coded::Made(form) => (Some(form), false),
        Coded::Undone(form) => (Some(form), true),
    };
    Ok(Choice {
        varies: vec!["Accept-Encoding"],
        form,
        goes_on,
        ..Choice::default()
    })
}

fn picture(ask: &Ask, wish: &Wish, headers: &HeaderMap, source: &Served) -> Choice {
    let images = &ask.zone.images;
    let (recipe, varies) = recipe(ask, wish, headers);
    // A picture is only made of an object that can be kept: making it again for each request is a gift to
    // whoever wants to keep the machine busy.
    let storable = source.story.stored || source.story.forward.is_none() || !source.is_growing();
    if !storable {
        return Choice {
            varies,
            declined: Some("not-stored"),
            ..Choice::default()
        };
    }
    Choice {
        varies,
        form: Some(Form::Picture(recipe)),
        patience: images.background.then_some(images.first_answer),
        ..Choice::default()
    }
}

/// How the picture is made that this client gets of a source with these fields, and by what that varies.
fn recipe(ask: &Ask, wish: &Wish, headers: &HeaderMap) -> (Recipe, Vec<&'static str>) {
    let mut varies = Vec::new();
    if wish.is_negotiated() {
        varies.push("Accept");
    }
    let accepts = |media_type| media_quality(&ask.headers, media_type) > 0;
    let images = &ask.zone.images;
    let recipe = variant::recipe(images, wish, accepts("image/avif"), accepts("image/webp"))
        .declared(SourceFormat::of_headers(headers));
    (recipe, varies)
}

/// The recipe by which a client gets a picture of `source`; `None` if it gets it as it is.
pub(super) fn recipe_of(ask: &Ask, wish: Option<Wish>, source: &Object) -> Option<Recipe> {
    let (images, headers) = (&ask.zone.images, &source.headers());
    let is_wanted = wish.is_some() || images.auto;
    let applies = is_wanted && variant::applies(images, source.status, headers);
    applies.then(|| recipe(ask, &wish.unwrap_or_else(Wish::auto), headers).0)
}

fn formed(derived: Derived, varies: Vec<&'static str>) -> Formed {
    let (served, declined, provisional) = match derived {
        Derived::Ready(served) => (served, None, false),
        Derived::Later(served, reason) => (served, Some(reason), true),
        Derived::Declined(served, reason) => (served, Some(reason), false),
    };
    Formed {
        served,
        varies,
        declined,
        provisional,
    }
}
