use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::semantics::dictionary::{self, AVAILABLE_DICTIONARY};
use crate::semantics::list;
use crate::semantics::negotiate::AcceptEncoding;
use crate::variant::{DeltaCoding, DictionaryMode};

use super::super::{Ask, Zone};
use super::DeltaForm;

const CODINGS: [DeltaCoding; 2] = [DeltaCoding::Zstd, DeltaCoding::Brotli];

/// What `Use-As-Dictionary` says of the asset that is asked for, if the edge marks it. Only over TLS (RFC 9842 §8.3).
#[must_use]
pub fn marks(ask: &Ask) -> Option<&HeaderValue> {
    let dictionaries = &ask.zone.compression.dictionaries;
    let mut covering = dictionaries.covering(&ask.path);
    let first = covering.next().filter(|_| ask.secure)?;
    Some(first.marking())
}

/// The coding against a dictionary of the edge's that the client takes at least as gladly as any other. `can_read` tells
/// whether whoever asks may read the answer.
pub fn offered(ask: &Ask, can_read: impl FnOnce() -> bool) -> Option<DeltaForm> {
    let hash = dictionary::available(&ask.headers)?;
    marks(ask)?;
    let compression = &ask.zone.compression;
    let accepted = AcceptEncoding::of(&ask.headers);
    let quality = |coding: &DeltaCoding| accepted.quality(coding.token());
    let ordinary = compression.codings.iter();
    let least = ordinary
        .map(|coding| accepted.quality(coding.token()))
        .chain([accepted.quality("identity").min(accepted.identity())])
        .max()
        .unwrap_or(0);
    let ours = compression.codings.iter();
    let mut best = None;
    for coding in ours.filter_map(|coding| DeltaCoding::of_plain(*coding)) {
        let wanted = quality(&coding);
        if wanted > 0 && wanted >= least && best.is_none_or(|(most, _)| wanted > most) {
            best = Some((wanted, coding));
        }
    }
    let (_, coding) = best?;
    can_read().then_some(DeltaForm {
        coding,
        dictionary: hash,
    })
}

/// Whether a client's dictionary is told to the origin, which then answers against it. `allowed` gives the
/// `Access-Control-Allow-Origin` that the site has for the request: the origin does not see who will read its answer.
#[must_use]
pub fn passes_on(
    zone: &Zone,
    secure: bool,
    request: &HeaderMap,
    allowed: impl FnOnce() -> Option<HeaderValue>,
) -> bool {
    let is_theirs = zone.compression.dictionaries.mode == DictionaryMode::Passthrough;
    is_theirs
        && secure
        && dictionary::available(request).is_some()
        && !accepted_deltas(request).is_empty()
        && dictionary::is_readable(request, allowed)
}

/// The codings against dictionaries that a client takes.
pub(in super::super) fn accepted_deltas(request: &HeaderMap) -> SmallVec<[&'static str; 2]> {
    let accepted = AcceptEncoding::of(request);
    let tokens = CODINGS.iter().map(|coding| coding.token());
    tokens.filter(|token| accepted.quality(token) > 0).collect()
}

/// Whether an answer is coded against a dictionary.
pub(in super::super) fn is_delta(response: &HeaderMap) -> bool {
    list::members(response, &CONTENT_ENCODING).any(|member| {
        let token = std::str::from_utf8(member).ok();
        token.and_then(DeltaCoding::of_token).is_some()
    })
}

/// What is coded against a dictionary is for those who have it, whether the origin says so or not (RFC 9842 §6.2); and so
/// is all that was answered to a request that told of one (`was_told`), for no other key has that in it.
pub(in super::super) fn imply_vary(response: &mut HeaderMap, was_told: bool) {
    if !was_told && !is_delta(response) {
        return;
    }
    for name in ["accept-encoding", AVAILABLE_DICTIONARY.as_str()] {
        let is_said = list::members(response, &VARY)
            .any(|member| member.eq_ignore_ascii_case(name.as_bytes()) || member == b"*");
        if !is_said && let Ok(value) = HeaderValue::try_from(name) {
            response.append(VARY, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_against_a_dictionary_varies_by_it() {
        let varied = |coding: &'static str, vary: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
            if !vary.is_empty() {
                headers.insert(VARY, HeaderValue::from_static(vary));
            }
            imply_vary(&mut headers, false);
            let lines = headers.get_all(VARY).iter();
            let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
            lines.join(", ")
        };
        assert_eq!(varied("dcz", ""), "accept-encoding, available-dictionary");
        assert_eq!(
            varied("DCB", "Accept-Encoding"),
            "Accept-Encoding, available-dictionary"
        );
        assert_eq!(
            varied("dcb", "Available-Dictionary, accept-encoding"),
            "Available-Dictionary, accept-encoding"
        );
        assert_eq!(varied("dcb", "*"), "*");
        assert_eq!(varied("br", ""), "");
    }
}
