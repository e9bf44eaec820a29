use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cache::{Ask, CODING_CORRUPT, CODING_TOO_LARGE, Cache, Derived, Form, Served, marks};
use crate::semantics::negotiate::media_quality;
use crate::site::Site;
use crate::store::Object;
use crate::variant::{self, Asked, Fallback, Recipe, Refused, SourceFormat, Wish};

use super::Refusal;
use super::coding::{Coded, coding, delta};
use super::ruling::Settings;

const SAVE_DATA: HeaderName = HeaderName::from_static("save-data");

/// What an answer is made of, and what it varies by.
pub(super) struct Formed {
    pub(super) served: Served,
    /// Fields of the request that the choice of form looked at.
    pub(super) varies: Vec<&'static str>,
    /// Why the source serves although another form was wanted.
    pub(super) declined: Option<&'static str>,
    /// A better form is being made: clients should come back soon.
    pub(super) provisional: bool,
    /// Where it is a picture that the node may remake.
    pub(super) picture: Option<OfPicture>,
    /// What `Use-As-Dictionary` says of it, where the edge marks it as a dictionary.
    pub(super) marking: Option<HeaderValue>,
}

/// What an answer with a picture says besides.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfPicture {
    /// Pixels of the picture to a pixel of CSS, in thousandths, where it was made for that.
    pub(super) ratio: Option<u32>,
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
    /// The source's head alone.
    Nothing,
}

/// Chooses the form of `source` that this client gets, if memory has it; else gives `source` back. Only of what is served
/// itself the first bytes must be there.
pub(super) fn at_once(
    cache: &Cache,
    under: (&Site, &Settings),
    ask: &Ask,
    asked: &Asked,
    source: Served,
) -> Result<AtHand, Refusal> {
    let source_alone = |source: Served| match cache.begins_at_once(ask, &source) {
        true => AtHand::Source(source),
        false => AtHand::Nothing,
    };
    let mut choice = choice(cache, ask, asked, &source)?;
    if let Some(formed) = choice.against_dictionary(cache, under, ask, &source) {
        cache.note_at_once(ask, &source);
        return Ok(AtHand::Formed(formed));
    }
    let Some(form) = &choice.form else {
        return Ok(match cache.begins_at_once(ask, &source) {
            true => AtHand::Formed(choice.of_source(source)),
            false => AtHand::Nothing,
        });
    };
    let Some(served) = cache.made(ask, &source, form) else {
        return Ok(source_alone(source));
    };
    if !choice.goes_on {
        cache.note_at_once(ask, &source);
        let ready = choice.formed(Derived::Ready(served))?;
        return Ok(AtHand::Formed(ready));
    }
    let varies = std::mem::take(&mut choice.varies);
    let coded = self::choice(cache, ask, asked, &served)?;
    let Some(form) = &coded.form else {
        cache.note_at_once(ask, &source);
        return Ok(AtHand::Formed(coded.of_source(served).also_by(varies)));
    };
    Ok(match cache.made(ask, &served, form) {
        Some(served) => {
            cache.note_at_once(ask, &source);
            AtHand::Formed(coded.formed(Derived::Ready(served))?.also_by(varies))
        }
        None => source_alone(source),
    })
}

/// Chooses the form of `source` that this client gets, and has it made if need be.
pub(super) async fn choose(
    cache: &Arc<Cache>,
    under: (&Site, &Settings),
    ask: &Arc<Ask>,
    asked: &Asked,
    source: Served,
) -> Result<Formed, Refusal> {
    let mut choice = choice(cache, ask, asked, &source)?;
    if let Some(formed) = choice.against_dictionary(cache, under, ask, &source) {
        return Ok(formed);
    }
    let Some(form) = choice.form.take() else {
        return Ok(choice.of_source(source));
    };
    let derived = cache.derive(ask, source, form, choice.patience).await;
    if !choice.goes_on {
        return choice.formed(derived);
    }
    // The origin's coding is undone; what follows is as for any plain source.
    let plain = match derived {
        Derived::Ready(plain) => plain,
        Derived::Declined(_, CODING_CORRUPT) => return Err(Refusal::Undecodable),
        Derived::Declined(served, CODING_TOO_LARGE) => {
            let derived = Derived::Declined(served, CODING_TOO_LARGE);
            return choice.formed(derived);
        }
        // Who names no codings takes any (RFC 9110 §12.5.3).
        Derived::Declined(served, reason) | Derived::Later(served, reason)
            if !ask.headers.contains_key(ACCEPT_ENCODING) =>
        {
            return choice.formed(Derived::Declined(served, reason));
        }
        Derived::Declined(..) | Derived::Later(..) => return Err(Refusal::Busy),
    };
    let mut coded = self::choice(cache, ask, asked, &plain)?;
    let formed = match coded.form.take() {
        Some(form) => {
            let derived = cache.derive(ask, plain, form, coded.patience).await;
            coded.formed(derived)?
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
    picture: Option<Picture>,
    /// As in [`Formed`].
    marking: Option<HeaderValue>,
}

/// What becomes of a picture that is not made, and what is said of one that is.
#[derive(Clone, Copy)]
struct Picture {
    refused: Refused,
    fallback: Fallback,
    /// As asked for: the pixel ratio in thousandths, and the width that it led to.
    ratio: Option<u32>,
    width: Option<u32>,
}

impl Choice {
    /// What clients get who have a dictionary, as soon as it is there.
    fn against_dictionary(
        &mut self,
        cache: &Cache,
        under: (&Site, &Settings),
        ask: &Ask,
        source: &Served,
    ) -> Option<Formed> {
        self.marking.as_ref()?;
        let served = cache.delta(ask, source, delta(under, ask, source)?)?;
        Some(std::mem::take(self).of_source(served))
    }

    fn of_source(self, served: Served) -> Formed {
        Formed {
            served,
            varies: self.varies,
            declined: self.declined,
            provisional: false,
            picture: self.picture.map(|_| OfPicture { ratio: None }),
            marking: self.marking,
        }
    }

    fn formed(self, derived: Derived) -> Result<Formed, Refusal> {
        let (served, declined, provisional) = match derived {
            Derived::Ready(served) => (served, None, false),
            Derived::Later(served, reason) => (served, Some(reason), true),
            Derived::Declined(served, reason) => (served, Some(reason), false),
        };
        if let (Some(picture), Some(reason)) = (&self.picture, declined) {
            picture.check(reason)?;
        }
        let of_picture = |picture: Picture| OfPicture {
            ratio: match declined {
                None => picture.ratio_of(served.object.detail()),
                Some(_) => None,
            },
        };
        Ok(Formed {
            picture: self.picture.map(of_picture),
            served,
            varies: self.varies,
            declined,
            provisional,
            marking: self.marking,
        })
    }
}

impl Picture {
    /// Refuses where the site does not serve the picture as it is.
    fn check(&self, reason: &'static str) -> Result<(), Refusal> {
        let status = match self.refused {
            Refused::Original => None,
            Refused::UnsupportedMediaType => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Refused::UnprocessableContent => Some(StatusCode::UNPROCESSABLE_ENTITY),
        };
        match (status, self.fallback) {
            (Some(status), _) if UNFIT.contains(&reason) => {
                Err(Refusal::Picture { status, reason })
            }
            (_, Fallback::Error) if LATE.contains(&reason) => Err(Refusal::PictureLate { reason }),
            _ => Ok(()),
        }
    }

    /// The pixel ratio of what was made: less than what was asked for where the picture has no more pixels.
    fn ratio_of(&self, detail: &str) -> Option<u32> {
        let asked = self.ratio?;
        let made = detail
            .split(';')
            .find_map(|part| part.strip_prefix("w=")?.parse::<u32>().ok());
        match (made, self.width) {
            (Some(made), Some(width)) if made < width => {
                let exact = u64::from(asked) * u64::from(made) / u64::from(width.max(1));
                u32::try_from(exact).ok()
            }
            _ => Some(asked),
        }
    }
}

/// Reasons that lie in the picture.
const UNFIT: [&str; 5] = [
    "bad-picture",
    "too-large",
    "unsupported",
    "type-mismatch",
    "panicked",
];
/// Reasons that lie in the moment.
const LATE: [&str; 8] = [
    "queue-full",
    "queue-timeout",
    "timeout",
    "cancelled",
    "closed",
    "busy",
    "memory-short",
    "encoding-failed",
];

fn choice(cache: &Cache, ask: &Ask, asked: &Asked, source: &Served) -> Result<Choice, Refusal> {
    let images = &ask.zone.images;
    let (status, headers) = (source.object.status, &source.object.headers());
    if variant::applies(images, status, headers) && (asked.wish.is_some() || images.auto) {
        return Ok(picture(ask, asked, headers, source));
    }
    let (form, goes_on) = match coding(cache, ask, source) {
        Coded::Untouched => return Ok(Choice::default()),
        Coded::NotAcceptable => return Err(Refusal::NotAcceptable),
        Coded::AsItIs => (None, false),
        Coded::Made(form) => (Some(form), false),
        Coded::Undone(form) => (Some(form), true),
    };
    let marking = marks(ask).filter(|_| status == StatusCode::OK).cloned();
    let mut varies = vec!["Accept-Encoding"];
    if marking.is_some() {
        varies.push("Available-Dictionary");
        let is_stored = !source.handed_on && !source.is_growing();
        if is_stored && source.object.detail().is_empty() {
            cache.note_dictionary(ask, &source.object);
        }
    }
    Ok(Choice {
        varies,
        form,
        goes_on,
        marking,
        ..Choice::default()
    })
}

fn picture(ask: &Ask, asked: &Asked, headers: &HeaderMap, source: &Served) -> Choice {
    let images = &ask.zone.images;
    let (recipe, varies) = recipe(ask, asked, headers);
    // Who asks for nothing gets the original whenever there is nothing better.
    let (refused, fallback) = match asked.by_parameters {
        true => (images.refused, images.fallback),
        false => (Refused::Original, Fallback::Original),
    };
    let picture = Some(Picture {
        refused,
        fallback,
        ratio: asked.ratio,
        width: asked.wish.and_then(|wish| wish.width()),
    });
    // A picture is only made of an object that can be kept: making it again for each request is a gift to
    // whoever wants to keep the machine busy.
    let storable = source.story.stored || source.story.forward.is_none() || !source.is_growing();
    if !storable {
        return Choice {
            varies,
            declined: Some("not-stored"),
            picture,
            ..Choice::default()
        };
    }
    Choice {
        varies,
        picture,
        form: Some(Form::Picture(recipe)),
        patience: images.background.then_some(images.first_answer),
        ..Choice::default()
    }
}

/// How the picture is made that this client gets of a source with these fields, and by what that varies.
fn recipe(ask: &Ask, asked: &Asked, headers: &HeaderMap) -> (Recipe, Vec<&'static str>) {
    let wish = asked.wish.unwrap_or_else(Wish::auto);
    let mut varies = Vec::new();
    if wish.is_negotiated() {
        varies.push("Accept");
    }
    if wish.may_save_data() {
        varies.push("Save-Data");
    }
    varies.extend(&asked.varies);
    let accepts = |media_type| media_quality(&ask.headers, media_type) > 0;
    let images = &ask.zone.images;
    let recipe = variant::recipe(images, &wish, accepts("image/avif"), accepts("image/webp"))
        .declared(SourceFormat::of_headers(headers));
    match wish.may_save_data() && saves_data(&ask.headers) {
        true => (recipe.saving_data(), varies),
        false => (recipe, varies),
    }
}

/// The recipe by which a client gets a picture of `source`; `None` if it gets it as it is.
pub(super) fn recipe_of(ask: &Ask, asked: &Asked, source: &Object) -> Option<Recipe> {
    let (images, headers) = (&ask.zone.images, &source.headers());
    let is_wanted = asked.wish.is_some() || images.auto;
    let applies = is_wanted && variant::applies(images, source.status, headers);
    applies.then(|| recipe(ask, asked, headers).0)
}

/// `Save-Data: on` (Save Data API, WICG), perhaps with parameters.
fn saves_data(headers: &HeaderMap) -> bool {
    let value = headers.get(SAVE_DATA).map(HeaderValue::as_bytes);
    let token = value.and_then(|value| value.split(|byte| *byte == b';').next());
    token.is_some_and(|token| token.trim_ascii().eq_ignore_ascii_case(b"on"))
}
