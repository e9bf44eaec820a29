use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, RANGE};

use crate::cache::{Ask, Cache, Derived, Form, Served};
use crate::semantics::negotiate::{AcceptEncoding, media_quality};
use crate::variant::{self, SourceFormat, Wish};

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
    fn as_it_is(served: Served) -> Self {
        Self {
            served,
            varies: Vec::new(),
            declined: None,
            provisional: false,
        }
    }
}

/// Chooses the form of `source` that this client gets, and has it made if need be.
pub(super) async fn choose(
    cache: &Arc<Cache>,
    ask: &Arc<Ask>,
    wish: Option<Wish>,
    source: Served,
) -> Formed {
    let object = &source.object;
    if variant::applies(&ask.zone.images, object.status, &object.headers())
        && (wish.is_some() || ask.zone.images.auto)
    {
        return picture(cache, ask, wish.unwrap_or_else(Wish::auto), source).await;
    }
    if variant::eligible(
        &ask.zone.compression,
        object.status,
        &object.headers(),
        source.length,
    ) {
        return coded(cache, ask, source).await;
    }
    Formed::as_it_is(source)
}

async fn picture(cache: &Arc<Cache>, ask: &Arc<Ask>, wish: Wish, source: Served) -> Formed {
    let images = &ask.zone.images;
    let mut varies = Vec::new();
    if wish.is_negotiated() {
        varies.push("Accept");
    }
    let accepts = |media_type| media_quality(&ask.headers, media_type) > 0;
    let recipe = variant::recipe(images, &wish, accepts("image/avif"), accepts("image/webp"))
        .declared(SourceFormat::of_headers(&source.object.headers()));
    // A picture is only made of an object that can be kept: making it again for each request is a gift to
    // whoever wants to keep the machine busy.
    let storable = source.story.stored || source.story.forward.is_none() || !source.is_growing();
    if !storable {
        return Formed {
            varies,
            declined: Some("not-stored"),
            ..Formed::as_it_is(source)
        };
    }
    let patience = images.background.then_some(images.first_answer);
    let derived = cache
        .derive(ask, source, Form::Picture(recipe), patience)
        .await;
    formed(derived, varies)
}

async fn coded(cache: &Arc<Cache>, ask: &Arc<Ask>, source: Served) -> Formed {
    let varies = vec!["Accept-Encoding"];
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
    let Some(coding) = coding else {
        return Formed {
            varies,
            ..Formed::as_it_is(source)
        };
    };
    let level = ask.zone.compression.first_level.of(coding);
    let derived = cache
        .derive(ask, source, Form::Coded(coding, level), None)
        .await;
    formed(derived, varies)
}

fn formed(derived: Derived, varies: Vec<&'static str>) -> Formed {
    let (served, declined, provisional) = match derived {
        Derived::Ready(served) => (served, None, false),
        Derived::Later(served) => (served, Some("making"), true),
        Derived::Declined(served, reason) => (served, Some(reason), false),
    };
    Formed {
        served,
        varies,
        declined,
        provisional,
    }
}
