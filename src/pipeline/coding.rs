use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};

use crate::cache::{Ask, Cache, DeltaForm, Form, Served, offered};
use crate::semantics::dictionary::{AVAILABLE_DICTIONARY, allowed_origin, is_readable};
use crate::semantics::etag::EntityTag;
use crate::semantics::media_type::type_of_extension;
use crate::semantics::negotiate::AcceptEncoding;
use crate::site::Site;
use crate::variant::{self, Coding};

use super::cors::decorate;
use super::ruling::Settings;

/// What content coding an answer gets.
pub(super) enum Coded {
    /// No coding of ours, and what the request accepts makes no difference.
    Untouched,
    /// No coding of ours for this client; others may get one.
    AsItIs,
    /// This form.
    Made(Form),
    /// The origin's coding is undone first.
    Undone(Form),
    /// The client refuses all that can be made.
    NotAcceptable,
}

/// Chooses by the client's wishes, then by size among what is stored, then by the site's order.
pub(super) fn coding(cache: &Cache, ask: &Ask, source: &Served) -> Coded {
    let config = &ask.zone.compression;
    let status = source.object.status;
    let headers = source.object.headers();
    if let Some(origins) = variant::undoable(config, status, &headers, source.length) {
        return of_coded(ask, source, origins);
    }
    let by_extension = type_of_extension(&ask.path);
    if variant::eligible(config, status, &headers, source.length, by_extension) {
        return of_plain(cache, ask, source);
    }
    let refuses_identity = config.enabled
        && !source.handed_on
        && ask.headers.contains_key(ACCEPT_ENCODING)
        && AcceptEncoding::of(&ask.headers).identity() == 0;
    if !refuses_identity {
        return Coded::Untouched;
    }
    match variant::eligible_at_need(config, status, &headers, source.length) {
        true => of_plain(cache, ask, source),
        // Codings that we do not know, parts and answers without a body are the origin's own choice.
        false if variant::is_uncoded(status, &headers) => Coded::NotAcceptable,
        false => Coded::Untouched,
    }
}

/// The origin has coded it: who takes that coding gets it so.
fn of_coded(ask: &Ask, source: &Served, origins: Coding) -> Coded {
    let is_taken = ask.headers.contains_key(ACCEPT_ENCODING)
        && AcceptEncoding::of(&ask.headers).quality(origins.token()) > 0;
    let max_bytes = ask.zone.compression.max_size_bytes;
    let is_too_large = source.length.is_some_and(|length| length > max_bytes);
    // What the origin answered to this very request may have no body to undo (HEAD), and has been acted upon.
    match is_taken || is_too_large || source.handed_on {
        true => Coded::AsItIs,
        false => Coded::Undone(Form::Plain(origins)),
    }
}

fn of_plain(cache: &Cache, ask: &Ask, source: &Served) -> Coded {
    if !ask.headers.contains_key(ACCEPT_ENCODING) {
        return Coded::AsItIs;
    }
    let config = &ask.zone.compression;
    let accepted = AcceptEncoding::of(&ask.headers);
    let made = |coding| Coded::Made(Form::Coded(coding, config.first_level.of(coding)));
    if ask.headers.contains_key(RANGE) {
        // A range counts against the identity coding (RFC 9110 §14.2), unless the client has a part of a coded form already.
        return match coding_of_part(ask) {
            Some(coding) if accepted.quality(coding.token()) > 0 => made(coding),
            Some(_) | None => Coded::AsItIs,
        };
    }
    let tied = variant::choose(
        config,
        &|token| accepted.quality(token),
        accepted.identity(),
    );
    match cache.smallest(&source.object, &tied) {
        Some(coding) => made(coding),
        None if accepted.identity() == 0 && !source.handed_on => Coded::NotAcceptable,
        None => Coded::AsItIs,
    }
}

/// The coding of the representation that `If-Range` names.
fn coding_of_part(ask: &Ask) -> Option<Coding> {
    Coding::of_token(part_of(ask)?)
}

/// How the representation was made that `If-Range` names.
fn part_of(ask: &Ask) -> Option<&str> {
    let tag = EntityTag::parse(ask.headers.get(IF_RANGE)?.as_bytes())?;
    std::str::from_utf8(tag.how()?).ok()
}

/// The coding against a dictionary of the edge's that this client gets of `source`, if it is there.
pub(super) fn delta(
    (site, settings): (&Site, &Settings),
    ask: &Ask,
    source: &Served,
) -> Option<DeltaForm> {
    if !ask.headers.contains_key(AVAILABLE_DICTIONARY) || source.handed_on {
        return None;
    }
    let allowed = || {
        let mut headers = HeaderMap::clone(&source.object.headers());
        if let Some(cors) = &site.cors {
            decorate(cors, &ask.headers, &mut headers);
        }
        for rules in &settings.headers {
            rules.apply(&mut headers);
        }
        allowed_origin(&headers)
    };
    let can_read = || is_readable(&ask.headers, allowed);
    let form = offered(ask, can_read)?;
    let is_whole = !ask.headers.contains_key(RANGE);
    (is_whole || part_of(ask) == Some(form.coding.token())).then_some(form)
}
