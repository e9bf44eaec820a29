use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, RANGE};

use crate::cache::{Ask, Cache, Derived, Form, Served};
use crate::semantics::negotiate::{AcceptEncoding, media_quality};
use crate::store::Object;
use crate::variant::{self, Recipe, SourceFormat, Wish};

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

/// What memory has of the form that a client gets.
pub(super) enum AtHand {
    Formed(Formed),
    /// The source alone.
    Source(Served),
}

/// Chooses the form of `source` that this client gets, if memory has it; else gives `source` back.
pub(super) fn at_once(cache: &Cache, ask: &Ask, wish: Option<Wish>, source: Served) -> AtHand {
    let choice = choice(ask, wish, &source);
    let Some(form) = &choice.form else {
        return AtHand::Formed(choice.of_source(source));
    };
    match cache.made(ask, &source, form) {
        Some(served) => AtHand::Formed(formed(Derived::Ready(served), choice.varies)),
        None => AtHand::Source(source),
    }
}

/// Chooses the form of `source` that this client gets, and has it made if need be.
pub(super) async fn choose(
    cache: &Arc<Cache>,
    ask: &Arc<Ask>,
    wish: Option<Wish>,
    source: Served,
) -> Formed {
    let mut choice = choice(ask, wish, &source);
    let Some(form) = choice.form.take() else {
        return choice.of_source(source);
    };
    let derived = cache.derive(ask, source, form, choice.patience).await;
    formed(derived, choice.varies)
}

/// What is to be made of an object.
#[derive(Default)]
struct Choice {
    varies: Vec<&'static str>,
    /// `None` is the object as it is.
    form: Option<Form>,
    patience: Option<Duration>,
    declined: Option<&'static str>,
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

fn choice(ask: &Ask, wish: Option<Wish>, source: &Served) -> Choice {
    let (images, compression) = (&ask.zone.images, &ask.zone.compression);
    let (status, headers) = (source.object.status, &source.object.headers());
    if variant::applies(images, status, headers) && (wish.is_some() || images.auto) {
        picture(ask, &wish.unwrap_or_else(Wish::auto), headers, source)
    } else if variant::eligible(compression, status, headers, source.length) {
        coded(ask)
    } else {
        Choice::default()
    }
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
        declined: None,
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

fn coded(ask: &Ask) -> Choice {
    // A range counts against the identity coding (RFC 9110 §14.2); a 206 is never coded.
    let plain = ask.headers.contains_key(RANGE) || !ask.headers.contains_key(ACCEPT_ENCODING);
    let coding = if plain {
        None
    } else {
        let accepted = AcceptEncoding::of(&ask.headers);
        variant::choose(
            &ask.zone.compression,
            &|token| accepted.quality(token),
            accepted.identity(),
        )
    };
    let level = |coding| ask.zone.compression.first_level.of(coding);
    Choice {
        varies: vec!["Accept-Encoding"],
        form: coding.map(|coding| Form::Coded(coding, level(coding))),
        ..Choice::default()
    }
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
